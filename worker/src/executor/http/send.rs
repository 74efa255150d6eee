//! Sends a request, follows redirects, and knows of a failure whether the request had left.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use reqwest::{
    Method, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, LOCATION},
};
use toolroom_domain::ErrorCategory;
use url::Url;

use super::outgoing::{IDEMPOTENCY_KEY, Outgoing};
use crate::executor::{
    egress::{Egress, denied, is_denied},
    error::{CallError, cause},
};

/// How many redirects are followed: honest services need one or two.
const REDIRECTS: usize = 5;
/// How often a request is sent anew because a connection was closed to it before it was looked at,
/// as HTTP/2 servers do in passing: each time on another connection.
const NACKS: usize = 2;

/// A request without its place in a run.
pub(in crate::executor) struct Request {
    pub(in crate::executor) method: Method,
    pub(in crate::executor) url: Url,
    pub(in crate::executor) headers: HeaderMap,
    pub(in crate::executor) body: Option<Bytes>,
}

impl From<Outgoing> for Request {
    fn from(outgoing: Outgoing) -> Self {
        Self {
            method: outgoing.method,
            url: outgoing.url,
            headers: outgoing.headers,
            body: outgoing.body,
        }
    }
}

/// Whether a request may have left: its body was handed to a connection.
#[derive(Clone, Debug, Default)]
pub(in crate::executor) struct Departure(Arc<AtomicBool>);

impl Departure {
    pub(super) fn has_left(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self, left: bool) {
        self.0.store(left, Ordering::Release);
    }
}

/// Sends, and follows redirects: each through the guard, none from https to http, and to another
/// origin with none of the caller's headers and with no body, which may carry a credential too (RFC
/// 9700, section 4.12). Gives the answer and the URL that gave it.
pub(in crate::executor) async fn follow(
    egress: &Egress,
    mut request: Request,
    repeatable: bool,
    departure: &Departure,
) -> Result<(Response, Url), CallError> {
    // Whether an earlier hop may have carried the request out.
    let mut done = false;
    for _ in 0..=REDIRECTS {
        let response = hop(egress, &request, repeatable, done, departure).await?;
        let status = response.status();
        let Some(next) = redirect_target(&response, &request.url)? else {
            return Ok((response, request.url));
        };
        let becomes_get = status == StatusCode::SEE_OTHER && request.method != Method::HEAD
            || matches!(status, StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND)
                && request.method == Method::POST;
        if becomes_get {
            done = true;
            request.method = Method::GET;
            request.body = None;
            request.headers.remove(CONTENT_TYPE);
        }
        // Who sends a request elsewhere as it is has not carried it out.
        departure.set(done);
        check_hop(&request, &next)?;
        if next.origin() != request.url.origin() {
            request.headers = shareable(&request.headers);
        }
        request.url = next;
    }
    Err(CallError::failed(
        ErrorCategory::ServerError,
        format!("the endpoint redirects more than {REDIRECTS} times"),
    ))
}

async fn hop(
    egress: &Egress,
    request: &Request,
    repeatable: bool,
    done: bool,
    departure: &Departure,
) -> Result<Response, CallError> {
    let client = egress.client_for(&request.url);
    let client = client.inspect_err(|_| departure.set(done))?;
    let mut nacks = 0;
    loop {
        // Without a body there is nothing by which to see it leave.
        let watched = !repeatable && !done && request.body.is_some();
        departure.set(!watched);
        let mut builder = client
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone());
        if let Some(body) = &request.body {
            builder = builder.body(if watched {
                reqwest::Body::wrap(Watched::new(body.clone(), departure.clone()))
            } else {
                reqwest::Body::from(body.clone())
            });
        }
        let error = match builder.send().await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        let nacked = is_nack(&error);
        if nacked || error.is_connect() || error.is_builder() || is_denied(&error) {
            departure.set(done);
        }
        if !nacked || nacks == NACKS {
            return Err(unreachable(&error));
        }
        nacks += 1;
    }
}

/// Whether an HTTP/2 server says that it has not looked at the request (RFC 9113, section 8.7).
/// The client repeats such requests by itself, but not those whose body is watched.
fn is_nack(error: &reqwest::Error) -> bool {
    cause::<h2::Error>(error).is_some_and(|error| {
        let graceful = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (graceful || refused)
    })
}

fn check_hop(request: &Request, to: &Url) -> Result<(), CallError> {
    let from = &request.url;
    if from.scheme() == "https" && to.scheme() == "http" {
        return Err(CallError::egress_denied(
            "the endpoint redirects from https to http, which is not followed",
        ));
    }
    if request.body.is_some() && to.origin() != from.origin() && !is_upgrade(from, to) {
        return Err(CallError::egress_denied(
            "the endpoint redirects what was sent to it to another host, which does not get it; if \
             that host is meant, have the tool name it",
        ));
    }
    Ok(())
}

/// Whether the same host is meant, over TLS: it has had the request already.
fn is_upgrade(from: &Url, to: &Url) -> bool {
    let usual = |url: &Url, scheme: &str| url.scheme() == scheme && url.port().is_none();
    usual(from, "http") && usual(to, "https") && from.host() == to.host()
}

fn shareable(headers: &HeaderMap) -> HeaderMap {
    [ACCEPT, CONTENT_TYPE, IDEMPOTENCY_KEY]
        .into_iter()
        .filter_map(|name| Some((name.clone(), headers.get(name)?.clone())))
        .collect()
}

fn redirect_target(response: &Response, from: &Url) -> Result<Option<Url>, CallError> {
    let redirects = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let Some(location) = response.headers().get(LOCATION).filter(|_| redirects) else {
        return Ok(None);
    };
    let next = location.to_str().ok().and_then(|l| from.join(l).ok());
    next.map(Some).ok_or_else(|| {
        CallError::failed(
            ErrorCategory::ServerError,
            "the endpoint redirects to something that is not a URL",
        )
    })
}

/// Why there is no answer. The client's own words name URLs, so only their kind is passed on.
pub(super) fn unreachable(error: &reqwest::Error) -> CallError {
    if is_denied(error) {
        return denied();
    }
    let (category, message) = if error.is_timeout() {
        (
            ErrorCategory::Timeout,
            "the endpoint could not be connected to in time",
        )
    } else if error.is_dns() {
        (
            ErrorCategory::Network,
            "the endpoint's name could not be resolved",
        )
    } else if error.is_decode() && io_kind(error) == Some(io::ErrorKind::InvalidData) {
        (
            ErrorCategory::ServerError,
            "the endpoint's answer is not what its encoding says",
        )
    } else if error.is_builder() {
        (
            ErrorCategory::Validation,
            "the request could not be formed; check its URL and headers",
        )
    } else {
        (ErrorCategory::Network, network_problem(error))
    };
    CallError::failed(category, message)
}

fn network_problem(error: &reqwest::Error) -> &'static str {
    match io_kind(error) {
        Some(io::ErrorKind::ConnectionRefused) => "the endpoint refused the connection",
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            "the endpoint broke the connection"
        }
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
            "there is no way to the endpoint"
        }
        _ if error.is_connect() => "the endpoint could not be connected to",
        _ => "the endpoint broke off before it had answered, or does not speak HTTP",
    }
}

/// What the operating system, or whoever reads the stream, had to say.
fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    cause::<io::Error>(error).map(io::Error::kind)
}

/// A body that tells when a connection takes it.
struct Watched {
    bytes: Option<Bytes>,
    departure: Departure,
}

impl Watched {
    fn new(bytes: Bytes, departure: Departure) -> Self {
        Self {
            bytes: Some(bytes),
            departure,
        }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.departure.set(true);
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop_is_taken(from: &str, to: &str, body: Option<&'static str>) -> bool {
        let request = Request {
            method: Method::POST,
            url: Url::parse(from).unwrap(),
            headers: HeaderMap::new(),
            body: body.map(Bytes::from),
        };
        check_hop(&request, &Url::parse(to).unwrap()).is_ok()
    }

    #[test]
    fn a_redirect_never_leads_from_https_to_http() {
        let (safe, plain) = ("https://a.test/x", "http://a.test/x");
        assert!(!hop_is_taken(safe, plain, None));
        for (from, to) in [(safe, safe), (plain, safe), (plain, plain)] {
            assert!(hop_is_taken(from, to, None));
        }
    }

    #[test]
    fn what_was_sent_to_a_host_goes_to_no_other() {
        let from = "http://a.test/x";
        for (to, taken) in [
            ("http://a.test/y", true),
            ("https://a.test/y", true),
            ("https://a.test:8443/y", false),
            ("http://a.test:81/y", false),
            ("http://b.test/x", false),
            ("https://b.test/x", false),
        ] {
            assert_eq!(hop_is_taken(from, to, Some("secret")), taken, "{to}");
            assert!(hop_is_taken(from, to, None), "{to}");
        }
        assert!(!hop_is_taken(
            "https://a.test/",
            "https://b.test/",
            Some("")
        ));
    }
}
