use serde_json::json;
use toolroom_domain::{ErrorCategory, ErrorCode};

use super::support::{Server, executor, external, job, redirect, response, run};

#[tokio::test]
async fn the_input_is_posted_and_the_answer_is_the_output() {
    let server = Server::json(json!({"temperature": 21})).await;
    let tool = external(&server.url("/forecast?v=1"));
    let output = run(&executor(), &tool, json!({"location": "Rome"})).await;
    assert_eq!(output, Ok(json!({"temperature": 21})));
    let request = server.request().to_ascii_lowercase();
    assert!(
        request.starts_with("post /forecast?v=1 http/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.ends_with("\r\n\r\n{\"location\":\"rome\"}"),
        "{request}"
    );
    for header in [
        "content-type: application/json",
        "accept: application/json",
        "user-agent: toolroom/",
        &format!("idempotency-key: {}", job()),
    ] {
        assert!(request.contains(header), "{header} in {request}");
    }
}

#[tokio::test]
async fn a_refusal_is_sorted_by_its_status() {
    for (status, category, retryable) in [
        ("401 Unauthorized", ErrorCategory::Authentication, false),
        ("403 Forbidden", ErrorCategory::Authorization, false),
        ("404 Not Found", ErrorCategory::Validation, false),
        ("408 Request Timeout", ErrorCategory::Timeout, true),
        ("429 Too Many Requests", ErrorCategory::RateLimit, true),
        (
            "500 Internal Server Error",
            ErrorCategory::ServerError,
            false,
        ),
        ("304 Not Modified", ErrorCategory::Unknown, false),
    ] {
        let answer = response(status, "text/html", "<b>no</b>");
        let server = Server::answering(answer).await;
        let error = run(&executor(), &external(&server.url("/")), json!({}))
            .await
            .unwrap_err();
        assert_eq!(error.code, ErrorCode::ToolFailed);
        assert_eq!(
            (error.category, error.retryable),
            (category, retryable),
            "{status}"
        );
        let number = &status[..3];
        assert_eq!(error.message, format!("the endpoint answered {number}"));
        let details = error.details.unwrap();
        assert_eq!(details["status"].to_string(), number);
    }
}

#[tokio::test]
async fn what_the_other_side_said_is_kept_up_to_a_bound() {
    let said = "é".repeat(100_000);
    let server = Server::answering(response("500 Oh", "text/plain", &said)).await;
    let error = run(&executor(), &external(&server.url("/")), json!({}))
        .await
        .unwrap_err();
    let body = error.details.unwrap()["body"].as_str().unwrap().to_owned();
    assert_eq!(body.len(), crate::executor::DETAILS_BYTES);
    assert!(said.starts_with(&body));
}

#[tokio::test]
async fn no_content_is_null() {
    let server = Server::answering("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
    let output = run(&executor(), &external(&server.url("/")), json!({})).await;
    assert_eq!(output, Ok(json!(null)));
}

#[tokio::test]
async fn a_redirect_keeps_the_body_only_where_its_status_says_so() {
    for (status, method) in [
        ("307 Temporary Redirect", "POST"),
        ("303 See Other", "GET"),
        ("302 Found", "GET"),
    ] {
        let server = Server::replying(move |request| match request.contains(" /old ") {
            true => redirect(status, "/new"),
            false => response("200 OK", "application/json", "\"there\""),
        })
        .await;
        let output = run(&executor(), &external(&server.url("/old")), json!({"a": 1})).await;
        assert_eq!(output, Ok(json!("there")));
        let request = server.seen().remove(1);
        assert!(request.starts_with(&format!("{method} /new ")), "{request}");
        assert_eq!(
            request.ends_with("{\"a\":1}"),
            method == "POST",
            "{request}"
        );
    }
}

#[tokio::test]
async fn what_a_tool_is_given_follows_no_redirect_to_another_host() {
    for status in ["307 Temporary Redirect", "308 Permanent Redirect"] {
        let other = Server::json(json!("there")).await;
        let server = Server::answering(redirect(status, &other.url("/"))).await;
        let error = run(&executor(), &external(&server.url("/")), json!({"a": 1})).await;
        let error = error.unwrap_err();
        assert_eq!(
            (error.code, error.retryable),
            (ErrorCode::EgressDenied, false)
        );
        assert!(error.message.contains("another host"), "{error}");
        assert!(other.seen().is_empty());
    }
    // A page that tells what came of it may lie anywhere; nothing is sent there.
    let other = Server::json(json!("there")).await;
    let server = Server::answering(redirect("303 See Other", &other.url("/"))).await;
    let output = run(&executor(), &external(&server.url("/")), json!({"a": 1})).await;
    assert_eq!(output, Ok(json!("there")));
}
