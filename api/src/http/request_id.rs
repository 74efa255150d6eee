//! The name by which a request is found again: in its answer, in the log, in the events it caused.

use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue};
use tracing::Instrument as _;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Characters of a request id that a client may choose: two UUIDs with room to spare.
const MAX_CHARS: usize = 128;

/// A request's name: the client's if it sent one that is fit for logs, else our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// The written form.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn of(headers: &HeaderMap) -> Self {
        let sent = headers.get(HEADER).and_then(|value| value.to_str().ok());
        match sent {
            Some(sent) if is_sane(sent) => Self(sent.to_owned()),
            _ => Self(toolroom_eventlog::ids::new_uuid().simple().to_string()),
        }
    }
}

fn is_sane(id: &str) -> bool {
    (1..=MAX_CHARS).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'))
}

/// Names each request and its answer.
pub(crate) async fn name_requests(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    let span = tracing::info_span!(
        "request",
        id = id.as_str(),
        method = %request.method(),
        path = request.uri().path(),
    );
    let header = HeaderValue::try_from(id.as_str());
    request.extensions_mut().insert(id);
    let mut response = next.run(request).instrument(span).await;
    if let Ok(header) = header {
        response.headers_mut().insert(HEADER, header);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_id_is_kept_and_any_other_replaced() {
        let of = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, id.parse().unwrap());
            RequestId::of(&headers).0
        };
        assert_eq!(of("trace-1:a.b_c"), "trace-1:a.b_c");
        for odd in ["", "a b", "a\"b", &"x".repeat(129)] {
            assert_ne!(of(odd), odd);
            assert!(is_sane(&of(odd)));
        }
    }
}
