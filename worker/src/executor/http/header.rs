//! Which headers a tool may set.

use reqwest::header::{HeaderName, HeaderValue};

/// Headers that belong to the connection, or to whoever sends the request.
const OWN_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The name of a header that a tool may set.
pub(crate) fn header_name(name: &str) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let own = OWN_HEADERS.contains(&name.as_str()) || name.as_str().starts_with("proxy-");
    (!own).then_some(name)
}

/// A header's value; none where it holds line breaks or other control characters.
pub(crate) fn header_value(value: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(value.as_bytes()).ok()
}

/// What is wrong with the header that a definition names for the idempotency key.
pub(crate) fn idempotency_problem(name: Option<&str>) -> Option<&'static str> {
    let unfit = header_name(name?).is_none();
    unfit.then_some("is not a header that a tool may set; most services call it Idempotency-Key")
}
