//! The headers that keep browsers from doing what nobody meant: guessing types, framing, leaking
//! addresses, falling back to plain HTTP. What a page needs beyond that it says itself.

use axum::{Extension, extract::Request, middleware::Next, response::Response};
use http::{HeaderMap, HeaderValue, header};

use super::client::Client;

/// What no answer needs: an API shows nothing, and its page shows text.
const NO_FEATURES: &str = "accelerometer=(), autoplay=(), browsing-topics=(), camera=(), \
    display-capture=(), encrypted-media=(), fullscreen=(self), geolocation=(), gyroscope=(), \
    hid=(), idle-detection=(), magnetometer=(), microphone=(), midi=(), payment=(), \
    picture-in-picture=(), publickey-credentials-get=(), screen-wake-lock=(), serial=(), usb=(), \
    xr-spatial-tracking=()";

/// A year. Names below ours are not ours to speak for.
const ONLY_HTTPS: &str = "max-age=31536000";

const HEADERS: [(&str, &str); 9] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("x-permitted-cross-domain-policies", "none"),
    ("referrer-policy", "no-referrer"),
    ("permissions-policy", NO_FEATURES),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
    ("cache-control", "no-store"),
];

/// Adds the headers that an answer does not set itself.
pub(crate) async fn with_headers(
    Extension(client): Extension<Client>,
    request: Request,
    next: Next,
) -> Response {
    let only_https = client.is_secure && !names_this_machine(&request);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        insert_if_absent(headers, name, value);
    }
    if only_https {
        insert_if_absent(headers, "strict-transport-security", ONLY_HTTPS);
    }
    response
}

/// A browser would refuse plain HTTP to every port of that name, other programs' included.
fn names_this_machine(request: &Request) -> bool {
    let header = request.headers().get(header::HOST);
    let header = header.and_then(|host| host.to_str().ok());
    let host = request.uri().authority().map(|host| host.as_str());
    let host = host.or(header).unwrap_or("");
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let top = name.rsplit('.').next().unwrap_or(name);
    top.eq_ignore_ascii_case("localhost")
}

fn insert_if_absent(headers: &mut HeaderMap, name: &'static str, value: &'static str) {
    headers
        .entry(name)
        .or_insert_with(|| HeaderValue::from_static(value));
}
