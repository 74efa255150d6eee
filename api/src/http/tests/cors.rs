//! What web pages of other origins get, and what every answer carries.

use std::sync::Arc;

use axum::{Router, body::Body};
use http::Request;

use super::support::*;
use crate::http::{HttpOptions, Shell};

const APP: &str = "https://app.example.org";

fn options(origins: &[&str], cookies: bool) -> HttpOptions {
    let mut options = HttpOptions::default();
    options.cors.origins = origins.iter().map(|text| text.parse().unwrap()).collect();
    options.cors.cookies = cookies;
    options
}

/// A server that is not in local mode.
fn asking(options: HttpOptions) -> (Router, Shell) {
    router_for(options, Arc::new(Trusting { is_local: false }))
}

fn from(origin: &str, method: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "tools.example.org")
        .header("origin", origin)
}

fn preflight(origin: &str) -> Request<Body> {
    from(origin, "OPTIONS", "/graphql")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,content-type,x-workspace-id",
        )
        .body(Body::empty())
        .unwrap()
}

fn listed<'a>(response: &'a axum::response::Response, name: &str) -> Vec<&'a str> {
    header_of(response, name)
        .split(',')
        .map(str::trim)
        .collect()
}

#[tokio::test]
async fn a_preflight_of_a_listed_origin_is_answered() {
    let (router, _) = asking(options(&[APP], false));
    let response = send(&router, preflight(APP)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(header_of(&response, "access-control-allow-origin"), APP);
    assert_eq!(header_of(&response, "access-control-allow-credentials"), "");
    assert_eq!(header_of(&response, "access-control-max-age"), "600");
    let headers = listed(&response, "access-control-allow-headers");
    for header in [
        "authorization",
        "content-type",
        "x-api-key",
        "x-workspace-id",
        "x-csrf-token",
        "x-min-position",
        "idempotency-key",
        "last-event-id",
    ] {
        assert!(headers.contains(&header), "{header} in {headers:?}");
    }
    assert!(listed(&response, "access-control-allow-methods").contains(&"DELETE"));
    assert!(header_of(&response, "vary").contains("origin"));
}

#[tokio::test]
async fn any_other_origin_learns_nothing_from_a_preflight() {
    for origins in [&[APP][..], &[]] {
        let (router, _) = asking(options(origins, true));
        for origin in [
            "https://evil.example",
            "http://app.example.org",
            "https://app.example.org.evil.example",
            "null",
        ] {
            let response = send(&router, preflight(origin)).await;
            let allowed = header_of(&response, "access-control-allow-origin");
            assert_eq!(allowed, "", "{origin}");
        }
    }
}

#[tokio::test]
async fn a_page_reads_answers_and_errors_and_their_headers() {
    let (router, _) = asking(options(&[APP], true));
    for (path, status) in [("/graphql?query={hello}", 200), ("/nothing-here", 404)] {
        let request = from(APP, "GET", path).body(Body::empty()).unwrap();
        let response = send(&router, request).await;
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(header_of(&response, "access-control-allow-origin"), APP);
        let credentials = header_of(&response, "access-control-allow-credentials");
        assert_eq!(credentials, "true");
        let exposed = listed(&response, "access-control-expose-headers");
        for header in [
            "x-request-id",
            "x-toolroom-position",
            "x-total-count",
            "link",
            "ratelimit",
            "ratelimit-policy",
            "retry-after",
        ] {
            assert!(exposed.contains(&header), "{header} in {exposed:?}");
        }
    }
}

#[tokio::test]
async fn everybodys_pages_are_let_in_without_cookies_only() {
    let (router, _) = asking(options(&["*"], true));
    let response = send(&router, preflight("https://anybody.example")).await;
    assert_eq!(header_of(&response, "access-control-allow-origin"), "*");
    assert_eq!(header_of(&response, "access-control-allow-credentials"), "");
}

#[tokio::test]
async fn in_local_mode_a_page_is_let_in_by_name() {
    let (router, _) = router_with(options(&["http://localhost:3000"], false));
    let ask = async |origin| {
        let request = request("GET", "/graphql?query={hello}").header("origin", origin);
        send(&router, request.body(Body::empty()).unwrap()).await
    };
    let response = ask("http://localhost:3000").await;
    assert_eq!(response.status(), 200);
    assert_eq!(
        header_of(&response, "access-control-allow-origin"),
        "http://localhost:3000"
    );
    assert_eq!(ask("https://evil.example").await.status(), 403);
}

#[tokio::test]
async fn a_websocket_of_an_origin_that_is_not_listed_is_turned_away() {
    let (router, _) = asking(options(&[APP], false));
    let open = async |origin| {
        let request = from(origin, "GET", "/graphql")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")
            .header("sec-websocket-protocol", "graphql-transport-ws");
        send(&router, request.body(Body::empty()).unwrap()).await
    };
    assert_eq!(open("https://evil.example").await.status(), 403);
    // Without a connection below there is nothing to upgrade; but it came as far as that.
    assert_ne!(open(APP).await.status(), 403);
    assert_ne!(open("https://tools.example.org").await.status(), 403);
}

fn security_headers(response: &axum::response::Response) -> String {
    let mut lines: Vec<_> = response
        .headers()
        .iter()
        .filter(|(name, _)| {
            !["content-length", "x-request-id", "content-type"].contains(&name.as_str())
        })
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    lines.join("\n")
}

const API_HEADERS: &str = "\
cache-control: no-store
content-security-policy: default-src 'none'; frame-ancestors 'none'
cross-origin-opener-policy: same-origin
cross-origin-resource-policy: same-origin
permissions-policy: accelerometer=(), autoplay=(), browsing-topics=(), camera=(), display-capture=(), encrypted-media=(), fullscreen=(self), geolocation=(), gyroscope=(), hid=(), idle-detection=(), magnetometer=(), microphone=(), midi=(), payment=(), picture-in-picture=(), publickey-credentials-get=(), screen-wake-lock=(), serial=(), usb=(), xr-spatial-tracking=()
referrer-policy: no-referrer
x-content-type-options: nosniff
x-frame-options: DENY
x-permitted-cross-domain-policies: none";

#[tokio::test]
async fn the_apis_answers_and_errors_carry_all_security_headers() {
    for path in ["/graphql?query={hello}", "/nothing-here", "/panic"] {
        let response = send(&router(), get_path(path)).await;
        assert_eq!(security_headers(&response), API_HEADERS, "{path}");
    }
}

#[tokio::test]
async fn the_page_differs_in_what_its_own_scripts_need() {
    let page = security_headers(&send(&router(), get_path("/")).await);
    let expected = API_HEADERS
        .replace("cache-control: no-store", "cache-control: no-cache")
        .replace(
            "default-src 'none'; frame-ancestors 'none'",
            "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
             font-src data:; img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
        );
    assert_eq!(page, expected);
}

#[tokio::test]
async fn browsers_are_told_to_stay_with_https_where_it_is_served() {
    let mut options = options(&[], false);
    options.public_url = Some("https://tools.example.org".parse().unwrap());
    let (router, _) = asking(options);
    let told = async |host: &str| {
        let request = Request::builder().uri("/").header("host", host);
        let response = send(&router, request.body(Body::empty()).unwrap()).await;
        header_of(&response, "strict-transport-security").to_owned()
    };
    assert_eq!(told("tools.example.org").await, "max-age=31536000");
    for own in ["localhost:8000", "localhost", "tools.localhost:8000"] {
        assert_eq!(told(own).await, "", "{own}");
    }
}
