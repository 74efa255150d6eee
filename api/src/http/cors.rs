//! Which web pages of other origins may call, and what they may see of the answers.

use std::{fmt, str::FromStr, time::Duration};

use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};
use url::Url;

/// How long a browser may remember what a preflight told: a change of the list takes this long to
/// reach open pages.
const PREFLIGHT_AGE: Duration = Duration::from_secs(600);

/// What pages may send, beyond what every page may.
const REQUEST_HEADERS: [HeaderName; 9] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-workspace-id"),
    HeaderName::from_static("x-csrf-token"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-min-position"),
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
];

/// What pages may read, beyond what every page may.
const RESPONSE_HEADERS: [HeaderName; 10] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-toolroom-position"),
    HeaderName::from_static("x-total-count"),
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
    header::LINK,
    header::RETRY_AFTER,
];

const METHODS: [Method; 6] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];

/// Which web pages of other origins may call. None by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    /// Their origins. [`AllowedOrigin::Any`] stands alone, and never in local mode.
    pub origins: Vec<AllowedOrigin>,
    /// Whether they may use the cookie of a session too; never together with
    /// [`AllowedOrigin::Any`].
    pub cookies: bool,
}

/// An entry of the list of origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// Every page there is, with credentials that it has by itself.
    Any,
    /// Pages of this origin, as browsers write it in `Origin`.
    Exactly(String),
}

/// What is written as an origin and is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an origin is a scheme, a host and maybe a port, such as https://app.example.org")]
pub struct NoOrigin;

impl FromStr for AllowedOrigin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let url = Url::parse(text).map_err(|_| NoOrigin)?;
        let is_bare = matches!(url.scheme(), "http" | "https")
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
            // A pattern, which no browser ever sends.
            && !text.contains('*');
        match is_bare {
            true => Ok(Self::Exactly(url.origin().ascii_serialization())),
            false => Err(NoOrigin),
        }
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exactly(origin) => f.write_str(origin),
        }
    }
}

impl Cors {
    /// Whether every page may call.
    pub fn is_open(&self) -> bool {
        self.origins.contains(&AllowedOrigin::Any)
    }

    /// Whether pages of this origin are on the list by name.
    pub(crate) fn names(&self, origin: &HeaderValue) -> bool {
        self.origins.iter().any(|allowed| {
            matches!(allowed, AllowedOrigin::Exactly(name) if name.as_bytes() == origin.as_bytes())
        })
    }

    /// Whether pages of this origin may call.
    pub(crate) fn allows(&self, origin: &HeaderValue) -> bool {
        self.is_open() || self.names(origin)
    }

    /// What answers preflights and marks answers; none when no page of another origin may call.
    pub(crate) fn layer(&self) -> Option<CorsLayer> {
        let origins = match self.origins.as_slice() {
            [] => return None,
            _ if self.is_open() => AllowOrigin::any(),
            named => AllowOrigin::list(
                named
                    .iter()
                    .filter_map(|origin| HeaderValue::try_from(origin.to_string()).ok()),
            ),
        };
        let layer = CorsLayer::new()
            .allow_origin(origins)
            .allow_methods(METHODS)
            .allow_headers(REQUEST_HEADERS)
            .expose_headers(RESPONSE_HEADERS)
            .max_age(PREFLIGHT_AGE);
        // The two together are refused by browsers, and by the layer with a panic.
        Some(layer.allow_credentials(self.cookies && !self.is_open()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for (text, written) in [
            ("*", "*"),
            ("https://app.example.org", "https://app.example.org"),
            ("https://App.Example.org:443/", "https://app.example.org"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
        ] {
            assert_eq!(text.parse::<AllowedOrigin>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "null",
            "app.example.org",
            "https://*.example.org",
            "https://app.example.org/path",
            "https://app.example.org?a",
            "https://app.example.org#a",
            "https://user@app.example.org",
            "file:///",
            "chrome-extension://abc",
        ] {
            assert_eq!(text.parse::<AllowedOrigin>(), Err(NoOrigin), "{text}");
        }
    }

    #[test]
    fn only_the_very_origin_is_allowed() {
        let cors = Cors {
            origins: vec!["https://app.example.org".parse().unwrap()],
            cookies: false,
        };
        let allows = |origin: &'static str| cors.allows(&HeaderValue::from_static(origin));
        assert!(allows("https://app.example.org"));
        for other in [
            "http://app.example.org",
            "https://app.example.org:8443",
            "https://app.example.org.evil.example",
            "https://evil.app.example.org",
            "https://APP.example.org",
            "null",
            "*",
            "",
        ] {
            assert!(!allows(other), "{other}");
        }
    }
}
