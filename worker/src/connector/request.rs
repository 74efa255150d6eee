//! From a request of the file to the request that goes out.

use reqwest::{Method, header::HeaderValue};
use url::Url;

use super::{
    auth::{self, Around},
    body,
    compiled::Connector,
    fill::{Filler, faulty},
    format::{Action, Idempotency, Request},
};
use crate::executor::{
    error::CallError,
    http::{Outgoing, Step, header_name, header_value},
};

/// Bytes of a URL: what common servers accept.
const URL_BYTES: usize = 8 * 1024;
/// The methods that a template may give.
const METHODS: [Method; 6] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];

/// Fills a request in and adds the credentials.
///
/// # Errors
/// What cannot be filled in, naming its place in the file; what an authentication says.
pub(super) async fn build(
    connector: &Connector,
    action: Option<&Action>,
    place: &str,
    request: &Request,
    filler: &Filler<'_>,
    step: Step,
    around: &mut Around<'_, '_>,
) -> Result<Outgoing, CallError> {
    let at = |field: &str| format!("{place}.{field}");
    let method = match &request.method {
        None => Method::GET,
        Some(source) => method(&at("method"), &filler.text(&at("method"), source)?)?,
    };
    let (url, written) = url(connector, place, request, filler)?;
    let mut outgoing = Outgoing::new(method, url, step).written_as(written);
    for (place, map) in [
        ("headers".to_owned(), &connector.file.headers),
        (at("headers"), &request.headers),
    ] {
        for (name, value) in filler.pairs(&place, map)?.unwrap_or_default() {
            let header = header_name(&name).zip(header_value(&value));
            let Some((name, value)) = header else {
                // The name may be the input's: it stays out of the message, which is in the clear.
                let problem = "gives a header that cannot be sent; see `details`";
                return Err(faulty(&place, problem).about(&name));
            };
            outgoing.headers.insert(name, value);
        }
    }
    let idempotency = request
        .idempotency
        .as_ref()
        .or_else(|| action.and_then(|action| action.idempotency.as_ref()));
    let body = match &request.body {
        None => None,
        Some(body) => {
            let key = outgoing.step.key().to_owned();
            let key = match idempotency {
                Some(Idempotency::Body(path)) => Some((path.as_str(), key.as_str())),
                _ => None,
            };
            body::build(filler, &at("body"), body, key)?
        }
    };
    if let Some(body) = body {
        let content_type = header_value(&body.content_type)
            .ok_or_else(|| faulty(&at("body.content_type"), "is not a content type"))?;
        outgoing = outgoing.with_body(content_type, body.bytes);
    }
    outgoing = repeated(&at("idempotency"), outgoing, idempotency, filler)?;
    if request.auth {
        auth::apply(connector, filler, &mut outgoing, around).await?;
    }
    if outgoing.url.as_str().len() > URL_BYTES {
        let problem = format!("the request's URL is longer than {URL_BYTES} bytes");
        return Err(CallError::invalid(problem));
    }
    Ok(outgoing)
}

fn repeated(
    place: &str,
    mut outgoing: Outgoing,
    idempotency: Option<&Idempotency>,
    filler: &Filler<'_>,
) -> Result<Outgoing, CallError> {
    Ok(match idempotency {
        None => outgoing,
        Some(Idempotency::None) => {
            outgoing.repeatable = false;
            outgoing
        }
        Some(Idempotency::Natural) => outgoing.safe_to_repeat(),
        Some(Idempotency::Body(_)) if outgoing.body.is_none() => outgoing,
        Some(Idempotency::Body(_)) => outgoing.safe_to_repeat(),
        Some(Idempotency::Header(name)) => match filler.text(place, name)?.trim() {
            "" => outgoing,
            name => {
                let unfit = || faulty(place, "must name a header that a tool may set");
                outgoing.with_idempotency_header(header_name(name).ok_or_else(unfit)?)
            }
        },
    })
}

fn method(place: &str, text: &str) -> Result<Method, CallError> {
    let mut known = METHODS.into_iter();
    known
        .find(|method| method.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| faulty(place, "must give GET, HEAD, POST, PUT, PATCH or DELETE"))
}

/// The URL, and as the file writes it.
fn url(
    connector: &Connector,
    place: &str,
    request: &Request,
    filler: &Filler<'_>,
) -> Result<(Url, String), CallError> {
    let at = |field: &str| format!("{place}.{field}");
    let (base_place, source) = match (&request.url, &connector.file.base_url) {
        (Some(url), _) => (at("url"), url),
        (None, Some(base)) => ("base_url".to_owned(), base),
        (None, None) => return Err(faulty(place, "names no `url`, and there is no `base_url`")),
    };
    let mut url = base(&base_place, source, filler)?;
    let mut written = source.trim().to_owned();
    if let Some(source) = &request.path {
        let path = filler.url_part(&at("path"), source)?;
        refuse_dots(&at("path"), &path)?;
        let whole = format!(
            "{}/{}",
            url.path().trim_end_matches('/'),
            path.trim_start_matches('/')
        );
        url.set_path(&whole);
        let base = written.trim_end_matches('/');
        written = format!("{base}/{}", source.trim_start_matches('/'));
    }
    let pairs = filler.pairs(&at("query"), &request.query)?;
    let pairs = pairs.unwrap_or_default();
    if !pairs.is_empty() {
        url.query_pairs_mut().extend_pairs(&pairs);
    }
    Ok((url, written))
}

/// An expression at the very beginning is a URL, and goes in as it stands.
fn base(place: &str, source: &str, filler: &Filler<'_>) -> Result<Url, CallError> {
    let source = source.trim();
    let end = match source.strip_prefix("{{") {
        Some(inner) => inner.find("}}").map_or(source.len(), |end| end + 4),
        None => 0,
    };
    let (head, tail) = source.split_at(end);
    let head = filler.text(place, head)?;
    let tail = filler.url_part(place, tail)?;
    refuse_dots(place, tail.split(['?', '#']).next().unwrap_or_default())?;
    let url = Url::parse(&format!("{}{tail}", head.trim())).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let mut url = url.ok_or_else(|| faulty(place, "must give a URL of http or https"))?;
    if !url.username().is_empty() || url.password().is_some() {
        let problem = "gives a URL that carries credentials, which belong into `credentials`";
        return Err(faulty(place, problem));
    }
    url.set_fragment(None);
    Ok(url)
}

/// With dot segments a value would reach another resource than the one that the file names.
fn refuse_dots(place: &str, path: &str) -> Result<(), CallError> {
    let is_dots = |segment: &str| {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        plain == "." || plain == ".."
    };
    if path.split(['/', '\\']).any(is_dots) {
        let problem = "gives a path with `.` or `..`, which is not allowed";
        return Err(faulty(place, problem));
    }
    Ok(())
}

/// A header that carries a credential.
pub(super) fn sensitive(text: &str) -> Result<HeaderValue, CallError> {
    let mut value = header_value(text).ok_or_else(|| {
        CallError::invalid("a credential holds line breaks or control characters; set it without")
    })?;
    value.set_sensitive(true);
    Ok(value)
}
