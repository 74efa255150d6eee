//! The cookie of a session: its name and attributes, and when one that came counts.
//!
//! A browser sends a cookie with whatever a page causes, so the cookie alone proves nothing. It
//! counts when no page of another origin caused the request, and when a request that changes
//! something carries `X-CSRF-Token` too, which only a page that may read our answers knows.

use axum::extract::Request;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::{HttpOptions, client::Client, guard};
use crate::auth::{Cookie, Csrf, sessions};

const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");

/// Over TLS the prefix keeps other hosts of the same domain, and plain HTTP, from setting it.
fn name(is_secure: bool) -> &'static str {
    match is_secure {
        true => "__Host-toolroom",
        false => "toolroom",
    }
}

/// What sets the cookie.
pub(crate) fn set(client: Client, value: &str) -> Option<HeaderValue> {
    header(client, value, sessions::AT_MOST.as_secs())
}

/// What removes the cookie.
pub(crate) fn remove(client: Client) -> Option<HeaderValue> {
    header(client, "", 0)
}

fn header(client: Client, value: &str, max_age: u64) -> Option<HeaderValue> {
    let name = name(client.is_secure);
    let secure = if client.is_secure { "; Secure" } else { "" };
    let text =
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age}{secure}");
    HeaderValue::try_from(text).ok()
}

/// The cookie that a request shows, if it counts.
pub(crate) fn shown(request: &Request, client: Client, options: &HttpOptions) -> Option<Cookie> {
    let headers = request.headers();
    let value = find(headers, name(client.is_secure))?;
    if !guard::may_use_cookies(request.uri(), headers, client.is_secure, options) {
        tracing::debug!("a session's cookie does not count: a page of another origin sent it");
        return None;
    }
    let is_safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    let csrf = match is_safe {
        true => Csrf::NotNeeded,
        false => {
            let shown = headers.get(CSRF).and_then(|shown| shown.to_str().ok());
            Csrf::Needed(shown.map(str::to_owned))
        }
    };
    Some(Cookie {
        value: value.to_owned(),
        csrf,
    })
}

/// The value of a cookie. Of two by one name one may be another host's doing, and neither counts.
fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    let pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let mut found = pairs.filter(|(given, _)| *given == name);
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    const OWN: &str = "https://tools.example.org";

    fn secure(is_secure: bool) -> Client {
        Client {
            address: None,
            is_secure,
        }
    }

    fn read(method: &str, headers: &[(&str, &str)]) -> Option<Cookie> {
        let mut request = http::Request::builder()
            .method(method)
            .uri("/graphql")
            .header("host", "tools.example.org");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut options = HttpOptions::default();
        options.cors.origins = vec!["https://app.example.org".parse().unwrap()];
        options.cors.cookies = headers.iter().any(|(name, _)| *name == "x-cookies-allowed");
        shown(
            &request.body(Body::empty()).unwrap(),
            secure(true),
            &options,
        )
    }

    #[test]
    fn the_cookie_has_all_that_protects_it() {
        assert_eq!(
            set(secure(true), "v").unwrap(),
            "__Host-toolroom=v; Path=/; HttpOnly; SameSite=Strict; Max-Age=604800; Secure"
        );
        assert_eq!(
            remove(secure(false)).unwrap(),
            "toolroom=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
        );
    }

    #[test]
    fn a_cookie_is_found_among_others_and_two_are_none() {
        let value = |cookies: &[(&str, &str)]| read("GET", cookies).map(|cookie| cookie.value);
        let v = Some("v".to_owned());
        assert_eq!(value(&[("cookie", "a=b; __Host-toolroom=v; c")]), v);
        assert_eq!(
            value(&[("cookie", "a=b"), ("cookie", "__Host-toolroom=v")]),
            v
        );
        for odd in [
            "toolroom=v",
            "__host-toolroom=v",
            "x__Host-toolroom=v",
            "__Host-toolroom",
            "__Host-toolroom=v; __Host-toolroom=w",
        ] {
            assert_eq!(value(&[("cookie", odd)]), None, "{odd}");
        }
    }

    #[test]
    fn a_page_of_another_origin_has_no_use_of_it() {
        let cookie = ("cookie", "__Host-toolroom=v");
        let counts = |more: &[(&str, &str)]| {
            let headers: Vec<_> = [cookie].iter().chain(more).copied().collect();
            ["GET", "POST"].map(|method| read(method, &headers).is_some())
        };
        assert_eq!(
            counts(&[("origin", OWN), ("sec-fetch-site", "same-origin")]),
            [true; 2]
        );
        assert_eq!(counts(&[]), [true; 2], "a program");
        for foreign in [
            ("origin", "https://evil.example"),
            ("origin", "https://evil.example.org"),
            ("origin", "http://tools.example.org"),
            ("origin", "https://app.example.org"),
            ("origin", "null"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "cross-site"),
        ] {
            assert_eq!(counts(&[foreign]), [false; 2], "{foreign:?}");
        }
        let allowed = ("x-cookies-allowed", "");
        assert_eq!(
            counts(&[allowed, ("origin", "https://app.example.org")]),
            [true; 2]
        );
        assert_eq!(
            counts(&[allowed, ("origin", "https://evil.example")]),
            [false; 2]
        );
    }

    #[test]
    fn a_websocket_must_say_where_it_comes_from() {
        let open = |more: &[(&str, &str)]| {
            let upgrade = [("cookie", "__Host-toolroom=v"), ("upgrade", "websocket")];
            let headers: Vec<_> = upgrade.iter().chain(more).copied().collect();
            read("GET", &headers).is_some()
        };
        assert!(open(&[("origin", OWN)]));
        assert!(!open(&[]));
        assert!(!open(&[("origin", "https://evil.example")]));
    }

    #[test]
    fn what_changes_something_needs_more() {
        let csrf = |method, headers: &[(&str, &str)]| {
            let cookie = [("cookie", "__Host-toolroom=v")];
            let headers: Vec<_> = cookie.iter().chain(headers).copied().collect();
            match read(method, &headers).unwrap().csrf {
                Csrf::NotNeeded => None,
                Csrf::Needed(shown) => Some(shown),
            }
        };
        assert_eq!(csrf("GET", &[]), None);
        for method in ["POST", "PUT", "PATCH", "DELETE", "BREW"] {
            assert_eq!(csrf(method, &[]), Some(None), "{method}");
        }
        let shown = csrf("POST", &[("x-csrf-token", "t")]);
        assert_eq!(shown, Some(Some("t".to_owned())));
    }
}
