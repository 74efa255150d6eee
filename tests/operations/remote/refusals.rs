//! What people are told when a server does not do as it was asked.

use axum::response::IntoResponse as _;
use hyper::{StatusCode, header};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::{KEY, StandIn, TOKEN, ran, stand_in};
use crate::support::{Operator, Ran};

async fn whoami(server: &str) -> Ran {
    let operator = Operator::new();
    let mut whoami = operator.client(&["whoami", "--server", server]);
    let ran = ran(whoami.env("TOOLROOM_API_KEY", TOKEN)).await;
    assert_eq!(ran.code(), 1, "{ran:?}");
    assert!(!ran.words().contains(TOKEN), "{ran:?}");
    ran
}

#[tokio::test]
async fn a_refusal_is_told_with_its_code_and_details() {
    let server = StandIn::new(|_| {
        let error = json!({"message": "too many requests", "extensions": {
            "code": "RATE_LIMIT_EXCEEDED",
            "details": [{"path": "name", "message": "must not be empty"}],
            "requestId": "r1",
            "retryAfterMs": 1_500,
        }});
        stand_in::json(
            StatusCode::TOO_MANY_REQUESTS,
            &json!({"data": null, "errors": [error]}),
        )
    })
    .await;
    let refused = whoami(&server.url).await.words();
    for part in [
        "too many requests (RATE_LIMIT_EXCEEDED)",
        "name: must not be empty",
        "try again in 2 s",
        "request r1",
    ] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
}

#[tokio::test]
async fn who_is_not_known_is_told_how_to_log_in() {
    let server = StandIn::new(|_| {
        let error = json!({"message": "no", "extensions": {"code": "UNAUTHENTICATED"}});
        stand_in::json(StatusCode::UNAUTHORIZED, &json!({"errors": [error]}))
    })
    .await;
    let refused = whoami(&server.url).await.words();
    let login = format!("toolroom login --server {}", server.url);
    assert!(
        refused.contains(&login) && refused.contains("TOOLROOM_API_KEY"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_the_key() {
    let elsewhere = StandIn::with_data(|_| json!({})).await;
    let target = format!("{}/graphql", elsewhere.url);
    let server = StandIn::new(move |_| {
        (
            StatusCode::TEMPORARY_REDIRECT,
            [(header::LOCATION, target.clone())],
        )
            .into_response()
    })
    .await;
    let refused = whoami(&server.url).await.words();
    assert!(refused.contains(&elsewhere.url), "{refused}");
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn something_else_that_answers_is_told_from_a_server() {
    let server = StandIn::new(|_| (StatusCode::NOT_FOUND, "<h1>nginx</h1>").into_response()).await;
    let refused = whoami(&server.url).await.words();
    assert!(
        refused.contains("404") && refused.contains("is there a Toolroom server"),
        "{refused}"
    );
    let server = StandIn::with_data(|_| json!({"viewer": {"secret": KEY}})).await;
    let refused = whoami(&server.url).await.words();
    assert!(
        refused.contains("another version") && !refused.contains(KEY),
        "{refused}"
    );
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let server = StandIn::new(|_| vec![b' '; 9 * 1024 * 1024].into_response()).await;
    let refused = whoami(&server.url).await.words();
    assert!(refused.contains("larger than 8 MiB"), "{refused}");
}

#[tokio::test]
async fn where_nobody_listens_is_told_with_how_to_start() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let refused = whoami(&url).await.words();
    assert!(
        refused.contains(&url) && refused.contains("toolroom serve"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_connection_that_is_not_private_is_told_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let plain = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        stream
    });
    let refused = whoami(&url).await.words();
    assert!(
        refused.contains("no private connection") && refused.contains("SSL_CERT_FILE"),
        "{refused}"
    );
    drop(plain.await.unwrap());
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_the_outcome_open() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let breaking = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let begun = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{";
        stream.write_all(begun).await.unwrap();
    });
    let refused = whoami(&url).await.words();
    assert!(
        refused.contains("broke") && refused.contains("look before you ask again"),
        "{refused}"
    );
    breaking.await.unwrap();
}
