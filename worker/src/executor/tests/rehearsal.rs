//! Test mode and connection tests of tools that are no connector's.

use serde_json::{Value, json};
use toolroom_domain::{ErrorCategory, connector::TEST_CONNECTION, tool::Definition};

use super::support::{API_KEY, Reports, Server, call, executor, external, native, response, rest};
use crate::executor::{Call, CallError};

async fn run(
    definition: &Definition,
    input: Value,
    action: Option<&str>,
) -> Result<Value, CallError> {
    let reports = Reports::default();
    let call = Call {
        action,
        is_test: true,
        ..call(definition, &input, &reports)
    };
    executor().run(call).await
}

#[tokio::test]
async fn what_may_change_something_is_shown_and_not_sent() {
    let server = Server::json(json!({})).await;
    let api = json!({
        "base_url": server.url(""), "path": "/items", "method": "POST",
        "auth": {"method": "bearer", "secret_ref": "${API_KEY}"},
    });
    let shown = run(&rest(api, json!({})), json!({"a": "b"}), None)
        .await
        .unwrap();
    assert_eq!(shown["sent"], false);
    assert_eq!(shown["request"]["url"], server.url("/items"));
    assert_eq!(shown["request"]["body"], json!({"a": "b"}));
    assert_eq!(shown["request"]["headers"]["authorization"], "Bearer ***");
    assert!(!shown.to_string().contains(API_KEY));
    let shown = run(&external(&server.url("/x")), json!({"a": 1}), None)
        .await
        .unwrap();
    assert_eq!(
        (&shown["sent"], &shown["request"]["body"]),
        (&json!(false), &json!({"a": 1}))
    );
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn what_reads_is_sent_and_shown() {
    let server = Server::json(json!({"n": 1})).await;
    let api = json!({"base_url": server.url("/x"), "method": "GET"});
    let answer = run(&rest(api, json!({})), json!({"q": "a b"}), None)
        .await
        .unwrap();
    assert_eq!(answer["sent"], true);
    assert_eq!(answer["request"]["url"], server.url("/x?q=a+b"));
    assert_eq!(answer["output"], json!({"n": 1}));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_connection_test_sends_the_most_that_changes_nothing() {
    let server = Server::json(json!({"n": 1})).await;
    let test = Some(TEST_CONNECTION);
    let api = json!({"base_url": server.url("/x"), "method": "GET"});
    let tested = run(&rest(api, json!({})), json!({}), test).await.unwrap();
    assert_eq!(tested["success"], true);
    assert!(
        server.request().starts_with("GET /x "),
        "{}",
        server.request()
    );
    let tested = run(&external(&server.url("/hook")), json!({}), test)
        .await
        .unwrap();
    assert_eq!(tested["details"], json!({"sent": true, "status": 200}));
    assert!(
        server.seen()[1].starts_with("HEAD /hook "),
        "{}",
        server.seen()[1]
    );
    let tested = run(&native("echo"), json!({}), test).await.unwrap();
    assert_eq!(tested["details"], json!({"sent": false}));

    let broken = Server::answering(response("503 Service Unavailable", "text/plain", "")).await;
    let failed = run(&external(&broken.url("/")), json!({}), test)
        .await
        .unwrap_err();
    assert_eq!(failed.category, ErrorCategory::ServerError);
}
