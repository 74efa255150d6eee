//! Keeps web pages away from a server that trusts whoever reaches its loopback address.
//!
//! A page of another origin can make a browser send requests here (CSRF, cross-site WebSockets),
//! and by rebinding its own name to 127.0.0.1 even read the answers. Both show in headers that a
//! page cannot set: `Host` names what the browser believes to talk to, `Origin` and
//! `Sec-Fetch-Site` where the request comes from.

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Method, StatusCode, Uri, header, uri::Authority};
use toolroom_domain::ErrorCode;
use url::Url;

use super::{Problem, Shell};

/// Refuses what does not come from this machine's own programs or from our own page.
pub(crate) async fn only_local_callers(
    State(shell): State<Shell>,
    request: Request,
    next: Next,
) -> Response {
    let checked = check(
        request.method(),
        request.uri(),
        request.headers(),
        shell.options.public_url.as_ref(),
    );
    match checked {
        Ok(()) => next.run(request).await,
        Err(why) => {
            tracing::debug!(why, "refused a request that may come from a web page");
            Problem::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, why).into_response()
        }
    }
}

fn check(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    public_url: Option<&Url>,
) -> Result<(), &'static str> {
    let host = named_host(uri, headers)
        .ok_or("the request must name exactly one `Host`, with or without a port")?;
    if !is_ours(&host, public_url) {
        return Err(
            "this `Host` is not served; use localhost or a loopback address, or set `public_url`",
        );
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let ours = origin
            .to_str()
            .ok()
            .and_then(|origin| Url::parse(origin).ok())
            .is_some_and(|origin| is_same_origin(&origin, &host, public_url));
        if !ours {
            return Err(
                "requests of web pages of another origin are not accepted; call from a program, or serve the page from here",
            );
        }
    }
    match headers
        .get("sec-fetch-site")
        .map(http::HeaderValue::as_bytes)
    {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) if is_following_a_link(method, uri, headers) => Ok(()),
        Some(_) => Err(
            "requests that a web page of another site causes are not accepted; call from a program, or serve the page from here",
        ),
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

fn is_same_origin(origin: &Url, host: &Authority, public_url: Option<&Url>) -> bool {
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
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                http::HeaderName::try_from(*name).unwrap(),
                value.parse().unwrap(),
            );
        }
        let public = public.map(|url| Url::parse(url).unwrap());
        check(&Method::GET, &path.parse().unwrap(), &map, public.as_ref()).map_err(|_| ())
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
