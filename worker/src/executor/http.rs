//! One call to the outside: redirects through the guard, answers bounded, failures sorted.

use std::io;

use bytes::{Bytes, BytesMut};
use reqwest::{
    Method, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION},
};
use serde_json::{Value, json};
use toolroom_domain::{ErrorCategory, JobId, limits, tool::depth};
use url::Url;

use super::{
    egress::{Egress, denied, is_denied},
    error::{CallError, DETAILS_BYTES, beginning, cause},
    secrets::Secrets,
};

/// The largest answer that is read, after decompression: ten times what a job keeps, so that a
/// mapping can pick the useful part out of a large answer.
pub(super) const ANSWER_BYTES: usize = 10 * 1024 * 1024;
/// How much of an error's answer is read; more than is kept, so that masking sees whole secrets.
const ERROR_BYTES: usize = 64 * 1024;
/// How many redirects are followed: honest services need one or two.
const REDIRECTS: usize = 5;
/// From this size on an answer is parsed on a thread where it may take its time.
const PARSE_INLINE_BYTES: usize = 256 * 1024;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A request to send.
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
}

impl Outgoing {
    /// A request that asks for JSON, and that the other side can tell from its repetition.
    pub(super) fn new(method: Method, url: Url, job: JobId) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Ok(key) = HeaderValue::from_str(&job.to_string()) {
            headers.insert(IDEMPOTENCY_KEY, key);
        }
        Self {
            method,
            url,
            headers,
            body: None,
        }
    }

    /// The same request with a JSON body.
    pub(super) fn with_json(mut self, body: &Value) -> Self {
        self.body = Some(Bytes::from(body.to_string()));
        self.headers
            .entry(CONTENT_TYPE)
            .or_insert(HeaderValue::from_static("application/json"));
        self
    }
}

/// Sends a request and gives its JSON answer; nothing at all is `null`.
pub(super) async fn call(
    egress: &Egress,
    outgoing: Outgoing,
    secrets: &Secrets,
) -> Result<Value, CallError> {
    let response = follow(egress, outgoing).await?;
    let status = response.status();
    if !status.is_success() {
        return Err(refused(status, response, secrets).await);
    }
    check_content_type(&response)?;
    let mut body = BytesMut::new();
    if read(response, &mut body, ANSWER_BYTES).await? == Read::Cut {
        return Err(CallError::too_large(format!(
            "the endpoint's answer is larger than {} MiB",
            ANSWER_BYTES / 1024 / 1024
        )));
    }
    parse(body.freeze()).await
}

/// Sends, and follows redirects: each through the guard, none from https to http, and with none of
/// the caller's headers to another origin.
pub(super) async fn follow(egress: &Egress, outgoing: Outgoing) -> Result<Response, CallError> {
    let Outgoing {
        mut method,
        mut url,
        mut headers,
        mut body,
    } = outgoing;
    for _ in 0..=REDIRECTS {
        let mut request = egress
            .client_for(&url)?
            .request(method.clone(), url.clone())
            .headers(headers.clone());
        if let Some(body) = &body {
            request = request.body(body.clone());
        }
        let response = request.send().await.map_err(|e| unreachable(&e))?;
        let status = response.status();
        let Some(next) = redirect_target(&response, &url)? else {
            return Ok(response);
        };
        check_hop(&url, &next)?;
        if next.origin() != url.origin() {
            headers = shareable(&headers);
        }
        let becomes_get = status == StatusCode::SEE_OTHER && method != Method::HEAD
            || matches!(status, StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND)
                && method == Method::POST;
        if becomes_get {
            method = Method::GET;
            body = None;
            headers.remove(CONTENT_TYPE);
        }
        url = next;
    }
    Err(CallError::failed(
        ErrorCategory::ServerError,
        format!("the endpoint redirects more than {REDIRECTS} times"),
    ))
}

fn check_hop(from: &Url, to: &Url) -> Result<(), CallError> {
    if from.scheme() == "https" && to.scheme() == "http" {
        return Err(CallError::egress_denied(
            "the endpoint redirects from https to http, which is not followed",
        ));
    }
    Ok(())
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

/// How much of an answer was read.
#[derive(PartialEq)]
pub(super) enum Read {
    Whole,
    Cut,
}

/// Reads an answer as it is decompressed, and stops at the bound.
pub(super) async fn read(
    mut response: Response,
    into: &mut BytesMut,
    bound: usize,
) -> Result<Read, CallError> {
    while let Some(chunk) = response.chunk().await.map_err(|e| unreachable(&e))? {
        let room = bound - into.len();
        into.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok(Read::Cut);
        }
    }
    Ok(Read::Whole)
}

fn check_content_type(response: &Response) -> Result<(), CallError> {
    let Some(content_type) = response.headers().get(CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = content_type
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    // Some services send JSON as text or as mere bytes; the parser will tell.
    let may_be_json = essence.ends_with("/json")
        || essence.ends_with("+json")
        || matches!(
            essence.as_str(),
            "" | "text/plain" | "application/octet-stream"
        );
    if may_be_json {
        return Ok(());
    }
    Err(CallError::failed(
        ErrorCategory::ServerError,
        "the endpoint answered with something that is not JSON; it must answer `application/json`",
    )
    .with_details(json!({ "contentType": beginning(&essence, 200) })))
}

async fn parse(body: Bytes) -> Result<Value, CallError> {
    let garbage = |problem: &str| {
        CallError::failed(
            ErrorCategory::ServerError,
            format!("the endpoint's answer is not valid JSON: {problem}"),
        )
    };
    if body.is_empty() {
        return Ok(Value::Null);
    }
    let parsed = if body.len() <= PARSE_INLINE_BYTES {
        serde_json::from_slice::<Value>(&body)
    } else {
        tokio::task::spawn_blocking(move || serde_json::from_slice::<Value>(&body))
            .await
            .map_err(|_| garbage("it could not be parsed"))?
    };
    // The parser's messages name places and expectations, never what the answer holds.
    let value = parsed.map_err(|e| garbage(&e.to_string()))?;
    if depth(&value) > limits::JSON_DEPTH {
        return Err(garbage(&format!(
            "it nests more than {} levels",
            limits::JSON_DEPTH
        )));
    }
    Ok(value)
}

async fn refused(status: StatusCode, response: Response, secrets: &Secrets) -> CallError {
    let mut body = BytesMut::new();
    // What it said is a help, not a need: an answer that breaks off is told as far as it came.
    let _ = read(response, &mut body, ERROR_BYTES).await;
    let said = secrets.mask(&String::from_utf8_lossy(&body));
    let error = CallError::failed(
        category(status),
        format!("the endpoint answered {}", status.as_u16()),
    );
    error.with_details(json!({
        "status": status.as_u16(),
        "body": beginning(&said, DETAILS_BYTES),
    }))
}

fn category(status: StatusCode) -> ErrorCategory {
    match status.as_u16() {
        401 => ErrorCategory::Authentication,
        403 => ErrorCategory::Authorization,
        408 | 504 => ErrorCategory::Timeout,
        429 => ErrorCategory::RateLimit,
        400..=499 => ErrorCategory::Validation,
        500..=599 => ErrorCategory::ServerError,
        _ => ErrorCategory::Unknown,
    }
}

/// Why there is no answer. The client's own words name URLs, so only their kind is passed on.
fn unreachable(error: &reqwest::Error) -> CallError {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_never_leads_from_https_to_http() {
        let url = |text: &str| Url::parse(text).unwrap();
        let (safe, plain) = (url("https://a.test/x"), url("http://a.test/x"));
        assert!(check_hop(&safe, &plain).is_err());
        for (from, to) in [(&safe, &safe), (&plain, &safe), (&plain, &plain)] {
            assert!(check_hop(from, to).is_ok());
        }
    }
}
