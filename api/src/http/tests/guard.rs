//! Who is let in, and what every answer carries.

use axum::body::Body;
use http::Request;

use super::support::*;

#[tokio::test]
async fn a_page_of_another_origin_is_turned_away_from_every_path() {
    let router = router();
    for path in ["/graphql", "/", "/busy", "/nothing-here"] {
        let request = request("GET", path)
            .header("origin", "https://evil.example")
            .body(Body::empty())
            .unwrap();
        let response = send(&router, request).await;
        assert_eq!(response.status(), 403, "{path}");
        assert!(
            response
                .headers()
                .get("access-control-allow-origin")
                .is_none()
        );
    }
}

#[tokio::test]
async fn a_rebound_name_is_turned_away() {
    let request = Request::builder()
        .uri("/graphql?query={hello}")
        .header("host", "rebound.example:8000")
        .body(Body::empty())
        .unwrap();
    let response = send(&router(), request).await;
    assert_eq!(response.status(), 403);
    let answer = json(response).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN");
}

#[tokio::test]
async fn a_websocket_of_another_origin_is_turned_away() {
    let request = request("GET", "/graphql")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")
        .header("sec-websocket-protocol", "graphql-transport-ws")
        .header("origin", "http://localhost:3000")
        .body(Body::empty())
        .unwrap();
    assert_eq!(send(&router(), request).await.status(), 403);
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_the_security_headers() {
    let router = router();
    for path in ["/", "/graphql", "/nothing-here", "/panic"] {
        let request = request("GET", path)
            .header("x-request-id", "mine-1")
            .body(Body::empty())
            .unwrap();
        let response = send(&router, request).await;
        assert_eq!(header_of(&response, "x-request-id"), "mine-1", "{path}");
        assert_eq!(header_of(&response, "x-content-type-options"), "nosniff");
        assert_eq!(header_of(&response, "x-frame-options"), "DENY");
        assert!(header_of(&response, "content-security-policy").contains("default-src 'none'"));
    }
}

#[tokio::test]
async fn graphiql_is_served_whole_and_calls_nobody_else() {
    let router = router();
    let page = text(send(&router, get_path("/")).await).await;
    assert!(!page.contains("//"), "no address of another host: {page}");
    let files: Vec<_> = page
        .split('"')
        .filter(|part| part.starts_with("assets/"))
        .collect();
    assert_eq!(files.len(), 7);
    for file in files {
        let response = send(&router, get_path(&format!("/{file}"))).await;
        assert_eq!(response.status(), 200, "{file}");
        assert!(header_of(&response, "cache-control").contains("immutable"));
        assert!(!text(response).await.is_empty());
    }
}

#[tokio::test]
async fn errors_have_the_one_body_of_rest() {
    let response = send(&router(), get_path("/nothing-here")).await;
    assert_eq!(response.status(), 404);
    let id = header_of(&response, "x-request-id").to_owned();
    let answer = json(response).await;
    assert_eq!(answer["error"], answer["detail"]);
    assert_eq!(answer["code"], "NOT_FOUND");
    assert_eq!(answer["timestamp"], "1970-01-01T00:00:00Z");
    assert_eq!(answer["requestId"], id);
    let response = send(&router(), get_path("/busy")).await;
    assert_eq!(response.status(), 503);
    assert_eq!(header_of(&response, "retry-after"), "1");
}

#[tokio::test]
async fn a_position_that_is_none_is_refused() {
    let request = request("GET", "/busy")
        .header("x-min-position", "soon")
        .body(Body::empty())
        .unwrap();
    let response = send(&router(), request).await;
    assert_eq!(response.status(), 400);
    assert_eq!(json(response).await["details"][0]["path"], "X-Min-Position");
}
