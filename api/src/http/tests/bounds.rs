//! What is too large, too slow or too much.

use axum::body::Body;
use futures::stream;

use super::support::*;

#[tokio::test]
async fn a_large_body_is_413_in_the_paths_shape() {
    let (router, _) = router_with(tight());
    let large = format!(r#"{{"query":"{{hello}} # {}"}}"#, "x".repeat(300));
    let response = send(&router, post(large.clone())).await;
    assert_eq!(response.status(), 413);
    let answer = json(response).await;
    assert_eq!(
        answer["errors"][0]["extensions"]["code"],
        "PAYLOAD_TOO_LARGE"
    );
    let chunks = stream::iter([Ok::<_, std::io::Error>(large)]);
    let unannounced = post(Body::from_stream(chunks));
    assert_eq!(send(&router, unannounced).await.status(), 413);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_408() {
    let (router, _) = router_with(crate::http::HttpOptions {
        request_timeout: std::time::Duration::from_secs(300),
        ..tight()
    });
    let silent = stream::pending::<Result<String, std::io::Error>>();
    let response = send(&router, post(Body::from_stream(silent))).await;
    assert_eq!(response.status(), 408);
}

#[tokio::test]
async fn deep_json_is_400_with_its_code() {
    let body = format!(
        r#"{{"query":"{{hello}}","variables":{{"a":{}{}}}}}"#,
        "[".repeat(500_000),
        "]".repeat(500_000)
    );
    let response = send(&router(), post(body)).await;
    assert_eq!(response.status(), 400);
    let answer = json(response).await;
    assert_eq!(
        answer["errors"][0]["extensions"]["code"],
        "VALIDATION_FAILED"
    );
}

#[tokio::test]
async fn a_document_of_nothing_but_brackets_is_400() {
    for open in ["{", "{a(b:", "[", "{a(b:["] {
        let body = serde_json::json!({ "query": open.repeat(200_000) }).to_string();
        let response = send(&router(), post(body)).await;
        assert_eq!(response.status(), 400);
    }
}

#[tokio::test]
async fn a_panic_is_500_and_tells_nothing() {
    let response = send(&router(), get_path("/panic")).await;
    assert_eq!(response.status(), 500);
    let answer = json(response).await;
    assert_eq!(answer["code"], "INTERNAL_ERROR");
    assert!(!answer.to_string().contains("secret"));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_given_up() {
    let (router, _) = router_with(tight());
    let response = send(&router, get_path("/slow")).await;
    assert_eq!(response.status(), 504);
}

#[tokio::test]
async fn more_at_once_than_allowed_is_503_with_retry_after() {
    let (router, _) = router_with(crate::http::HttpOptions {
        request_timeout: std::time::Duration::from_secs(300),
        ..tight()
    });
    let mut first = Box::pin(send(&router, get_path("/slow")));
    assert!(futures::poll!(&mut first).is_pending());
    let second = send(&router, get_path("/graphql?query={hello}")).await;
    assert_eq!(second.status(), 503);
    assert_eq!(header_of(&second, "retry-after"), "1");
    drop(first);
    let third = send(&router, get_path("/graphql?query={hello}")).await;
    assert_eq!(third.status(), 200);
}
