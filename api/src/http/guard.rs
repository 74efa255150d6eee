//! Keeps web pages from what they may not do by a browser's hand.
//!
//! In local mode the server trusts whoever reaches its loopback address. A page of another origin
//! can make a browser send requests there (CSRF, cross-site WebSockets), and by rebinding its own
//! name to 127.0.0.1 even read the answers. Both show in headers that a page cannot set: `Host`
//! names what the browser believes to talk to, `Origin` and `Sec-Fetch-Site` where the request
//! comes from.
//!
//! Elsewhere a page has only the credentials that it brings, and a browser asks before it sends
//! them (CORS). It does not ask for WebSockets, so their `Origin` is checked here.

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, uri::Authority};
use toolroom_domain::ErrorCode;
use url::Url;

use super::{HttpOptions, Problem, Shell};

/// What the guard goes by.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) shell: Shell,
    /// Whether whoever reaches the server is its owner. Web pages must be kept away then; elsewhere
    /// they bring credentials or get nothing.
    pub(crate) is_local: bool,
}

/// Refuses what a web page has no right to cause.
pub(crate) async fn only_own_pages(
    State(guard): State<Guard>,
    request: Request,
    next: Next,
) -> Response {
    let check = match guard.is_local {
        true => check_local,
        false => check_websocket,
    };
    let (method, uri) = (request.method(), request.uri());
    match check(method, uri, request.headers(), &guard.shell.options) {
        Ok(()) => next.run(request).await,
        Err(why) => {
            tracing::debug!(why, "refused a request that may come from a web page");
            Problem::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, why).into_response()
        }
    }
}

const FETCH_SITE: &str = "sec-fetch-site";

const HOSTLESS: &str = "the request must name exactly one `Host`, with or without a port";

fn check_local(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    options: &HttpOptions,
) -> Result<(), &'static str> {
    let public_url = options.public_url.as_ref();
    let host = named_host(uri, headers).ok_or(HOSTLESS)?;
    if !is_ours(&host, public_url) {
        return Err(
            "this `Host` is not served; use localhost or a loopback address, or set `public_url`",
        );
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        if options.cors.names(origin) {
            return Ok(());
        }
        if !is_same_origin(origin, &host, public_url) {
            return Err(
                "requests of web pages of another origin are not accepted; call from a program, serve the page from here, or name its origin in `cors.origins`",
            );
        }
    }
    match headers.get(FETCH_SITE).map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) if is_following_a_link(method, uri, headers) => Ok(()),
        Some(_) => Err(
            "requests that a web page of another site causes are not accepted; call from a program, or serve the page from here",
        ),
    }
}

/// Whether whatever causes this request may use cookies: a page of ours, one that the operator
/// named for it, or a program. A WebSocket must say where it comes from: browsers always do.
pub(crate) fn may_use_cookies(
    uri: &Uri,
    headers: &HeaderMap,
    is_secure: bool,
    options: &HttpOptions,
) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        let site = headers.get(FETCH_SITE).map(HeaderValue::as_bytes);
        let is_own = matches!(site, None | Some(b"same-origin" | b"none"));
        return is_own && !headers.contains_key(header::UPGRADE);
    };
    if options.cors.cookies && options.cors.names(origin) {
        return true;
    }
    // Whoever can change what comes by plain HTTP is no page of ours.
    let is_guarded = !is_secure || origin.as_bytes().starts_with(b"https://");
    is_guarded
        && named_host(uri, headers)
            .is_some_and(|host| is_same_origin(origin, &host, options.public_url.as_ref()))
}

fn check_websocket(
    _: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    options: &HttpOptions,
) -> Result<(), &'static str> {
    let host = named_host(uri, headers).ok_or(HOSTLESS)?;
    match headers.get(header::ORIGIN) {
        Some(origin)
            if headers.contains_key(header::UPGRADE)
                && !options.cors.allows(origin)
                && !is_same_origin(origin, &host, options.public_url.as_ref()) =>
        {
            Err(
                "WebSockets of web pages of another origin are not accepted; serve the page from here, or name its origin in `cors.origins`",
            )
        }
        _ => Ok(()),
    }
}

/// HTTP/2 names the host in the request's target, HTTP/1 in a header. Two hosts that differ could
/// be judged by one and served as the other.
fn named_host(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let header: Option<Authority> = match (hosts.next(), hosts.next()) {
        (None, _) => None,
        (Some(host), None) => Some(host.to_str().ok()?.parse().ok()?),
        (Some(_), Some(_)) => return None,
    };
    let host = match (uri.authority().cloned(), header) {
        (Some(target), Some(header)) if target != header => return None,
        (Some(host), _) | (None, Some(host)) => host,
        (None, None) => return None,
    };
    (!host.as_str().contains('@')).then_some(host)
}

fn is_ours(host: &Authority, public_url: Option<&Url>) -> bool {
    let name = host.host();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
        || public_url
            .and_then(Url::host_str)
            .is_some_and(|public| public.eq_ignore_ascii_case(name))
}

fn is_same_origin(origin: &HeaderValue, host: &Authority, public_url: Option<&Url>) -> bool {
    let origin = origin.to_str().ok().map(Url::parse);
    let Some(Ok(origin)) = origin else {
        return false;
    };
    if public_url.is_some_and(|public| public.origin() == origin.origin()) {
        return true;
    }
    // The scheme is left open: TLS may have ended at a proxy.
    let requested = Url::parse(&format!("{}://{host}", origin.scheme()));
    matches!(origin.scheme(), "http" | "https")
        && requested.is_ok_and(|requested| requested.origin() == origin.origin())
}

/// A link on some page that leads to our own page: the person sees where they are, and the page
/// that had the link sees nothing.
fn is_following_a_link(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|given| given == value);
    method == Method::GET
        && uri.path() == "/"
        && is("sec-fetch-mode", "navigate")
        && is("sec-fetch-dest", "document")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_with(path: &str, headers: &[(&str, &str)], public: Option<&str>) -> Result<(), ()> {
        let options = HttpOptions {
            public_url: public.map(|url| Url::parse(url).unwrap()),
            ..HttpOptions::default()
        };
        try_on(check_local, &options, path, headers)
    }

    fn try_on(
        check: impl Fn(&Method, &Uri, &HeaderMap, &HttpOptions) -> Result<(), &'static str>,
        options: &HttpOptions,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<(), ()> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                http::HeaderName::try_from(*name).unwrap(),
                value.parse().unwrap(),
            );
        }
        check(&Method::GET, &path.parse().unwrap(), &map, options).map_err(|_| ())
    }

    fn with_cors(origin: &str) -> HttpOptions {
        let mut options = HttpOptions::default();
        options.cors.origins = vec![origin.parse().unwrap()];
        options
    }

    #[test]
    fn in_local_mode_only_a_page_that_is_named_may_call() {
        let from = |options: &HttpOptions, host, origin| {
            let headers = [
                ("host", host),
                ("origin", origin),
                ("sec-fetch-site", "same-site"),
            ];
            try_on(check_local, options, "/graphql", &headers)
        };
        let named = with_cors("http://localhost:3000");
        let (ours, theirs) = ("localhost:8000", "http://localhost:3000");
        assert_eq!(from(&named, ours, theirs), Ok(()));
        assert_eq!(from(&named, ours, "http://localhost:3001"), Err(()));
        assert_eq!(from(&named, "rebound.example", theirs), Err(()));
        assert_eq!(from(&with_cors("*"), ours, theirs), Err(()));
    }

    #[test]
    fn where_credentials_are_asked_for_any_host_and_page_may_try() {
        let options = HttpOptions::default();
        let page = [
            ("host", "10.0.0.7:8000"),
            ("origin", "https://evil.example"),
            ("sec-fetch-site", "cross-site"),
        ];
        assert_eq!(try_on(check_websocket, &options, "/tools", &page), Ok(()));
        let hosts = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(try_on(check_websocket, &options, "/tools", &hosts), Err(()));
    }

    #[test]
    fn a_websocket_is_opened_by_the_pages_that_may_call() {
        let open = |options: &HttpOptions, origin| {
            let headers = [
                ("host", "tools.example.org"),
                ("upgrade", "websocket"),
                ("origin", origin),
            ];
            try_on(check_websocket, options, "/graphql", &headers)
        };
        let named = with_cors("https://app.example.org");
        assert_eq!(open(&named, "https://app.example.org"), Ok(()));
        assert_eq!(open(&named, "https://tools.example.org"), Ok(()));
        for other in ["https://evil.example", "null", "http://app.example.org"] {
            assert_eq!(open(&named, other), Err(()), "{other}");
        }
        assert_eq!(open(&with_cors("*"), "https://evil.example"), Ok(()));
        let program = [("host", "tools.example.org"), ("upgrade", "websocket")];
        assert_eq!(
            try_on(check_websocket, &named, "/graphql", &program),
            Ok(())
        );
    }

    #[test]
    fn loopback_names_are_served() {
        for host in [
            "localhost",
            "LOCALHOST:8000",
            "127.0.0.1:8000",
            "127.9.9.9",
            "[::1]:8000",
        ] {
            assert_eq!(try_with("/", &[("host", host)], None), Ok(()), "{host}");
        }
    }

    #[test]
    fn a_rebound_name_is_refused() {
        for host in [
            "evil.example",
            "localhost.evil.example:8000",
            "127.0.0.1.evil.example",
            "192.168.0.7",
            "localhost@evil.example",
            "0.0.0.0:8000",
            "",
        ] {
            assert_eq!(try_with("/", &[("host", host)], None), Err(()), "{host}");
        }
        assert_eq!(try_with("/", &[], None), Err(()));
    }

    #[test]
    fn two_hosts_are_refused() {
        let hosts = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(try_with("/", &hosts, None), Err(()));
        let target = try_with("http://evil.example/", &[("host", "localhost")], None);
        assert_eq!(target, Err(()));
    }

    #[test]
    fn the_public_url_is_served() {
        let public = Some("https://tools.example.org");
        let ours = [
            ("host", "tools.example.org"),
            ("origin", "https://tools.example.org"),
        ];
        assert_eq!(try_with("/", &ours, public), Ok(()));
        let others = [
            ("host", "tools.example.org"),
            ("origin", "https://example.org"),
        ];
        assert_eq!(try_with("/", &others, public), Err(()));
    }

    #[test]
    fn only_the_same_origin_may_call() {
        let from = |origin| {
            try_with(
                "/graphql",
                &[("host", "localhost:8000"), ("origin", origin)],
                None,
            )
        };
        assert_eq!(from("http://localhost:8000"), Ok(()));
        for origin in [
            "http://localhost:3000",
            "http://127.0.0.1:8000",
            "https://evil.example",
            "null",
            "file://",
            "chrome-extension://abc",
        ] {
            assert_eq!(from(origin), Err(()), "{origin}");
        }
    }

    #[test]
    fn what_a_page_of_another_site_causes_is_refused() {
        let site = |site| {
            try_with(
                "/tools",
                &[("host", "localhost"), ("sec-fetch-site", site)],
                None,
            )
        };
        assert_eq!(site("same-origin"), Ok(()));
        assert_eq!(site("none"), Ok(()));
        assert_eq!(site("same-site"), Err(()));
        assert_eq!(site("cross-site"), Err(()));
    }

    #[test]
    fn a_link_may_lead_to_our_page_and_nowhere_else() {
        let link = [
            ("host", "localhost"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert_eq!(try_with("/", &link, None), Ok(()));
        assert_eq!(try_with("/tools", &link, None), Err(()));
        let framed = [link[0], link[1], link[2], ("sec-fetch-dest", "iframe")];
        assert_eq!(try_with("/", &framed, None), Err(()));
    }
}
