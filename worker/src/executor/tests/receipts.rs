//! What is known of a call, and whether it may be repeated, however it ends.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use toolroom_domain::{
    ErrorCategory, ErrorCode,
    job::ReceiptOutcome::{self, Answered, NotSent, Unknown},
    tool::{Definition, ToolConfig},
};

use super::support::{
    API_KEY, Reports, Server, call, executor, external, job, names, options, redirect, response,
    rest,
};
use crate::executor::{CallError, Executor};

/// A limit that a test waits for.
const LIMIT_MS: u64 = 150;

/// Runs a tool and gives what came of it and what was told.
async fn told(executor: &Executor, tool: &Definition) -> (Result<Value, CallError>, Reports) {
    let reports = Reports::default();
    let outcome = executor.run(call(tool, &json!({"a": 1}), &reports)).await;
    (outcome, reports)
}

/// The same call in three ways: one that must not be doubled, one of which the endpoint knows a
/// repetition, one that changes nothing.
fn ways(url: &str) -> [Definition; 3] {
    let once = external(url);
    let mut known = external(url);
    if let ToolConfig::External(config) = &mut known.config {
        config.idempotency_header = Some("X-Once".to_owned());
    }
    let reading = rest(json!({"base_url": url}), json!({}));
    [once, known, reading].map(|mut tool| {
        tool.policy.timeout_ms = Some(LIMIT_MS);
        tool
    })
}

/// How a failed call ended: code, whether to repeat it, receipt.
type Ending = (ErrorCode, bool, ReceiptOutcome);

/// Asserts of the three ways how a call ends: one that must not be doubled, and the others.
async fn ends(
    executor: &Executor,
    url: &str,
    category: ErrorCategory,
    once: Ending,
    else_: Ending,
) {
    for (tool, ending) in ways(url).iter().zip([once, else_, else_]) {
        let (outcome, reports) = told(executor, tool).await;
        let error = outcome.unwrap_err();
        let seen = (error.code, error.retryable, reports.outcome());
        assert_eq!((error.category, seen), (category, ending), "{error}");
        let sent = reports.sent.lock().unwrap();
        assert_eq!((sent.len(), sent[0].outcome), (1, Unknown));
    }
}

const UNKNOWN: Ending = (ErrorCode::OutcomeUnknown, false, Unknown);
const AGAIN: Ending = (ErrorCode::ToolFailed, true, Unknown);
const NEVER_LEFT: Ending = (ErrorCode::ToolFailed, true, NotSent);

#[tokio::test]
async fn a_hang_before_the_answer_leaves_a_call_unknown() {
    let server = Server::start(|stream| {
        Box::pin(async move {
            let _open = stream;
            std::future::pending().await
        })
    })
    .await;
    ends(
        &executor(),
        &server.url("/"),
        ErrorCategory::Timeout,
        UNKNOWN,
        AGAIN,
    )
    .await;
}

#[tokio::test]
async fn a_hang_within_the_answer_leaves_what_it_said_unknown() {
    let server = Server::start(|mut stream| {
        Box::pin(async move {
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{";
            stream.write_all(head).await?;
            std::future::pending().await
        })
    })
    .await;
    let once = (ErrorCode::OutcomeUnknown, false, Answered);
    let again = (ErrorCode::ToolFailed, true, Answered);
    ends(
        &executor(),
        &server.url("/"),
        ErrorCategory::Timeout,
        once,
        again,
    )
    .await;
}

#[tokio::test]
async fn a_reset_after_the_request_leaves_a_call_unknown() {
    let server = Server::start(|stream| {
        Box::pin(async move {
            stream.set_zero_linger()?;
            drop(stream);
            Ok(())
        })
    })
    .await;
    ends(
        &executor(),
        &server.url("/"),
        ErrorCategory::Network,
        UNKNOWN,
        AGAIN,
    )
    .await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_was_carried_out_perhaps() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{";
    let server = Server::answering(cut).await;
    let once = (ErrorCode::OutcomeUnknown, false, Answered);
    let again = (ErrorCode::ToolFailed, true, Answered);
    ends(
        &executor(),
        &server.url("/"),
        ErrorCategory::Network,
        once,
        again,
    )
    .await;
}

#[tokio::test]
async fn what_was_never_connected_may_be_repeated() {
    let nobody = "http://127.0.0.1:1/";
    ends(
        &executor(),
        nobody,
        ErrorCategory::Network,
        NEVER_LEFT,
        NEVER_LEFT,
    )
    .await;
    let nameless = "http://nowhere.example.test/";
    ends(
        &executor(),
        nameless,
        ErrorCategory::Network,
        NEVER_LEFT,
        NEVER_LEFT,
    )
    .await;
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broken = format!("https://{}/", plain.local_addr().unwrap());
    let _answering = tokio::task::JoinSet::from_iter([async move {
        while let Ok((mut stream, _)) = plain.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    }]);
    let outcomes = told(&executor(), &external(&broken)).await;
    let error = outcomes.0.unwrap_err();
    assert_eq!(
        (error.category, error.retryable),
        (ErrorCategory::Network, true)
    );
    assert_eq!(outcomes.1.outcome(), NotSent);
}

#[tokio::test]
async fn a_connection_that_never_comes_about_is_no_unknown_outcome() {
    let listener = socket_that_answers_nobody();
    let url = format!("http://{}/", listener.0);
    let begun = Instant::now();
    let [once, known, _] = ways(&url);
    for tool in [once, known] {
        let (outcome, reports) = told(&executor(), &tool).await;
        let error = outcome.unwrap_err();
        let seen = (error.code, error.category, error.retryable);
        assert_eq!(seen, (ErrorCode::ToolFailed, ErrorCategory::Timeout, true));
        let expected = if tool == ways(&url)[0] {
            NotSent
        } else {
            Unknown
        };
        assert_eq!(reports.outcome(), expected);
    }
    assert!(begun.elapsed() < Duration::from_secs(30));
}

/// An address whose queue of connections is full, so that nobody gets through to it.
fn socket_that_answers_nobody() -> (std::net::SocketAddr, Vec<Box<dyn std::any::Any>>) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut kept: Vec<Box<dyn std::any::Any>> = vec![Box::new(listener)];
    while let Ok(stream) =
        std::net::TcpStream::connect_timeout(&address, Duration::from_millis(LIMIT_MS))
    {
        kept.push(Box::new(stream));
    }
    (address, kept)
}

#[tokio::test]
async fn a_refusal_is_repeated_only_where_that_doubles_nothing() {
    let answers = [
        ("400 Bad Request", ErrorCategory::Validation, false, false),
        (
            "401 Unauthorized",
            ErrorCategory::Authentication,
            false,
            false,
        ),
        ("403 Forbidden", ErrorCategory::Authorization, false, false),
        ("408 Request Timeout", ErrorCategory::Timeout, true, true),
        (
            "429 Too Many Requests",
            ErrorCategory::RateLimit,
            true,
            true,
        ),
        ("500 Oh", ErrorCategory::ServerError, false, true),
        ("503 Busy", ErrorCategory::ServerError, false, true),
    ];
    for (status, category, once, else_) in answers {
        let server = Server::answering(response(status, "text/plain", "no")).await;
        let ending = |again| (ErrorCode::ToolFailed, again, Answered);
        ends(
            &executor(),
            &server.url("/"),
            category,
            ending(once),
            ending(else_),
        )
        .await;
    }
    let server = Server::answering(response("504 Oh", "text/plain", "no")).await;
    let once = (ErrorCode::OutcomeUnknown, false, Answered);
    let again = (ErrorCode::ToolFailed, true, Answered);
    ends(
        &executor(),
        &server.url("/"),
        ErrorCategory::Timeout,
        once,
        again,
    )
    .await;
}

#[tokio::test]
async fn garbage_from_a_call_that_was_carried_out_does_not_double_it() {
    for body in ["{", "<html>"] {
        let kind = if body.starts_with('<') {
            "text/html"
        } else {
            "application/json"
        };
        let server = Server::answering(response("200 OK", kind, body)).await;
        let ending = |again| (ErrorCode::ToolFailed, again, Answered);
        let url = server.url("/");
        ends(
            &executor(),
            &url,
            ErrorCategory::ServerError,
            ending(false),
            ending(true),
        )
        .await;
    }
}

#[tokio::test]
async fn it_is_waited_for_as_long_as_the_endpoint_says() {
    for (header, wait) in [
        ("retry-after: 7", Some(7)),
        ("retry-after: Wed, 01 Jul 2026 12:00:30 GMT", Some(30)),
        ("retry-after: 9999999", Some(24 * 3600)),
        ("x-retry: 1", None),
    ] {
        let head = "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\nconnection: close\r\n";
        let server = Server::answering(format!("{head}{header}\r\n\r\n")).await;
        let (outcome, _) = told(&executor(), &external(&server.url("/"))).await;
        let error = outcome.unwrap_err();
        assert!(error.retryable);
        assert_eq!(error.retry_after, wait.map(Duration::from_secs), "{header}");
    }
}

#[tokio::test]
async fn after_a_redirect_to_a_page_nobody_knows_what_was_done() {
    let target = "http://127.0.0.1:1/";
    let server = Server::answering(redirect("303 See Other", target)).await;
    let (outcome, reports) = told(&executor(), &external(&server.url("/"))).await;
    assert_eq!(outcome.unwrap_err().code, ErrorCode::OutcomeUnknown);
    assert_eq!(reports.outcome(), Unknown);
    let server = Server::answering(redirect("307 Elsewhere", target)).await;
    let (outcome, reports) = told(&executor(), &external(&server.url("/"))).await;
    assert_eq!(outcome.unwrap_err().code, ErrorCode::EgressDenied);
    assert_eq!(reports.outcome(), NotSent);
}

#[tokio::test]
async fn what_the_guard_refuses_has_not_left() {
    let mut closed = options(&[]);
    closed.egress.resolver = names(&[&["10.0.0.1"]]);
    let closed = Executor::try_new(closed).unwrap();
    for url in ["http://127.0.0.1:1/", "http://inside.example.test/"] {
        let (outcome, reports) = told(&closed, &external(url)).await;
        assert_eq!(outcome.unwrap_err().code, ErrorCode::EgressDenied);
        assert_eq!(reports.outcome(), NotSent);
    }
}

#[tokio::test]
async fn a_receipt_says_what_was_sent_and_holds_no_secret() {
    let server = Server::json(json!({})).await;
    let api = json!({
        "base_url": server.url("/a"),
        "path": "b/{{ input.a }}",
        "method": "POST",
        "query": {"who": "{{ input.a }}", "q q": "hidden"},
        "auth": {"method": "api_key_query", "key_name": "key", "secret_ref": "${API_KEY}"},
        "idempotency_header": "X-Once",
    });
    let tool = rest(api, json!({}));
    let (outcome, reports) = told(&executor(), &tool).await;
    assert_eq!(outcome, Ok(json!({})));
    let sent = reports.sent.lock().unwrap().remove(0);
    let received = reports.receipts.lock().unwrap().remove(0);
    // In the clear nothing that the tool was given.
    assert_eq!(sent.url, server.url("/a/b/{{ input.a }}"));
    assert_eq!(
        reports.urls.lock().unwrap()[0],
        server.url("/a/b/1?q+q=hidden&who=1&key=***")
    );
    assert_eq!((sent.method.as_str(), sent.repeatable), ("POST", true));
    assert_eq!(sent.idempotency_key, job().to_string());
    assert_eq!(sent.sent_at.to_string(), "2026-07-01T12:00:00Z");
    assert_eq!((sent.outcome, sent.status), (Unknown, None));
    assert_eq!((received.outcome, received.status), (Answered, Some(200)));
    assert_eq!(sent.request_sha256, received.request_sha256);
    assert!(sent.request_sha256.len() == 64 && !format!("{sent:?}").contains(API_KEY));
    assert!(server.request().contains(&format!("x-once: {}\r\n", job())));

    let again = told(&executor(), &tool).await.1.sent.into_inner().unwrap();
    assert_eq!(again[0].request_sha256, sent.request_sha256);
    let reports = Reports::default();
    let other = executor()
        .run(call(&tool, &json!({"a": 2}), &reports))
        .await;
    assert!(other.is_ok());
    let other = reports.sent.into_inner().unwrap();
    assert_ne!(other[0].request_sha256, sent.request_sha256);
}
