//! Endpoints that fail and recover, and endpoints that mean harm: what each call comes to, what its
//! receipt says, and that it takes neither long nor much.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use toolroom_domain::{
    ErrorCategory, ErrorCode,
    job::ReceiptOutcome::{self, Answered, NotSent, Unknown},
    tool::Definition,
};

use super::support::{
    Reports, Server, call, executor, external, job, names, options, redirect, response, rest,
};
use crate::executor::{CallError, Executor};

/// However busy the machine is, an attack must be over by then.
const SOON: Duration = Duration::from_secs(30);

/// A call that changes nothing.
fn reading(url: &str) -> Definition {
    rest(json!({"base_url": url}), json!({}))
}

async fn attempt(executor: &Executor, tool: &Definition) -> (Result<Value, CallError>, Reports) {
    let (begun, reports) = (Instant::now(), Reports::default());
    let outcome = executor.run(call(tool, &json!({}), &reports)).await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    (outcome, reports)
}

/// Asserts how an attack on a plain POST and on a GET ends.
async fn ends(
    executor: &Executor,
    url: &str,
    code: ErrorCode,
    category: ErrorCategory,
    outcome: ReceiptOutcome,
) {
    for (tool, repeatable) in [(external(url), false), (reading(url), true)] {
        let (result, reports) = attempt(executor, &tool).await;
        let error = result.unwrap_err();
        assert_eq!(error.category, category, "{error}");
        assert_eq!(reports.outcome(), outcome, "{error}");
        let unknown = error.code == ErrorCode::OutcomeUnknown;
        if !repeatable && code == ErrorCode::OutcomeUnknown {
            assert!(unknown && !error.retryable, "{error}");
        } else if code == ErrorCode::OutcomeUnknown {
            assert!(!unknown && error.retryable, "{error}");
        } else {
            assert_eq!(error.code, code, "{error}");
        }
    }
}

#[tokio::test]
async fn a_failure_that_passes_is_over_at_the_next_attempt_under_the_same_key() {
    let count = AtomicUsize::new(0);
    let server = Server::replying(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => response("500 Oh", "application/json", "{}"),
        1 => response("503 Busy", "application/json", "{}"),
        _ => response("200 OK", "application/json", "\"done\""),
    })
    .await;
    let (executor, tool) = (executor(), reading(&server.url("/")));
    for status in [500, 503] {
        let (outcome, reports) = attempt(&executor, &tool).await;
        let error = outcome.unwrap_err();
        assert_eq!(
            (error.category, error.retryable),
            (ErrorCategory::ServerError, true)
        );
        assert_eq!(
            reports.outcomes(),
            [(job().to_string(), Answered, Some(status))]
        );
    }
    let (outcome, reports) = attempt(&executor, &tool).await;
    assert_eq!(outcome, Ok(json!("done")));
    assert_eq!(
        reports.outcomes(),
        [(job().to_string(), Answered, Some(200))]
    );
    let key = format!("idempotency-key: {}\r\n", job());
    assert!(server.seen().iter().all(|request| request.contains(&key)));
}

#[tokio::test]
async fn a_storm_of_refusals_is_one_refusal_for_each_attempt() {
    let head = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 2\r\ncontent-length: 0\r\n\
                connection: close\r\n\r\n";
    let server = Server::answering(head).await;
    let (executor, tool) = (executor(), external(&server.url("/")));
    let attempts = (0..50).map(|_| attempt(&executor, &tool));
    for (outcome, reports) in futures::future::join_all(attempts).await {
        let error = outcome.unwrap_err();
        assert_eq!(
            (error.code, error.category),
            (ErrorCode::ToolFailed, ErrorCategory::RateLimit)
        );
        assert_eq!(
            (error.retryable, error.retry_after),
            (true, Some(Duration::from_secs(2)))
        );
        assert_eq!(reports.outcome(), Answered);
    }
    assert_eq!(server.seen().len(), 50);
}

#[tokio::test]
async fn headers_without_end_are_given_up() {
    let written = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&written);
    let server = Server::start(move |mut stream| {
        let counted = Arc::clone(&counted);
        Box::pin(async move {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            loop {
                let line = format!(
                    "x-{}: {}\r\n",
                    counted.load(Ordering::SeqCst),
                    "y".repeat(1000)
                );
                stream.write_all(line.as_bytes()).await?;
                counted.fetch_add(line.len(), Ordering::SeqCst);
            }
        })
    })
    .await;
    let url = server.url("/");
    ends(
        &executor(),
        &url,
        ErrorCode::OutcomeUnknown,
        ErrorCategory::Network,
        Unknown,
    )
    .await;
    // What was written lies in the buffers of both sides, and was not kept.
    let mebibytes = written.load(Ordering::SeqCst) / 1024 / 1024;
    assert!(mebibytes < 32, "{mebibytes}");
}

#[tokio::test]
async fn a_byte_at_a_time_ends_at_the_limit_wherever_it_comes() {
    for head in [
        "HTTP/1.1 200 OK\r\nx-slow: ",
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n",
    ] {
        let server = Server::start(move |mut stream| {
            Box::pin(async move {
                stream.write_all(head.as_bytes()).await?;
                let mut ticks = tokio::time::interval(Duration::from_millis(10));
                loop {
                    ticks.tick().await;
                    stream.write_all(b"1").await?;
                }
            })
        })
        .await;
        let outcome = if head.ends_with("\r\n\r\n") {
            Answered
        } else {
            Unknown
        };
        for (mut tool, once) in [
            (external(&server.url("/")), true),
            (reading(&server.url("/")), false),
        ] {
            tool.policy.timeout_ms = Some(150);
            let (result, reports) = attempt(&executor(), &tool).await;
            let error = result.unwrap_err();
            assert_eq!(error.category, ErrorCategory::Timeout);
            assert_eq!(
                (error.code == ErrorCode::OutcomeUnknown, error.retryable),
                (once, !once)
            );
            assert_eq!(reports.outcome(), outcome);
        }
    }
}

fn packed(content_type: &str, body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).unwrap();
    let packed = encoder.finish().unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-encoding: gzip\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        packed.len()
    );
    [head.into_bytes(), packed].concat()
}

#[tokio::test]
async fn bombs_do_not_go_off() {
    let gzip = Server::answering(packed("application/json", &vec![b' '; 50_000_000])).await;
    let url = gzip.url("/");
    ends(
        &executor(),
        &url,
        ErrorCode::PayloadTooLarge,
        ErrorCategory::Validation,
        Answered,
    )
    .await;

    let mut laughs = "<!DOCTYPE x [<!ENTITY a \"ha\">".to_owned();
    for (name, of) in [
        ("b", "a"),
        ("c", "b"),
        ("d", "c"),
        ("e", "d"),
        ("f", "e"),
        ("g", "f"),
    ] {
        laughs.push_str(&format!(
            "<!ENTITY {name} \"{}\">",
            format!("&{of};").repeat(100)
        ));
    }
    laughs.push_str("]><x>&g;</x>");
    let wide = format!("<x>{}</x>", "<y/>".repeat(2_000_000));
    for bomb in [laughs, wide] {
        let server = Server::answering(packed("application/xml", bomb.as_bytes())).await;
        let (result, reports) = attempt(&executor(), &reading(&server.url("/"))).await;
        let error = result.unwrap_err();
        assert_eq!(
            (error.code, error.category),
            (ErrorCode::ToolFailed, ErrorCategory::ServerError)
        );
        assert_eq!(reports.outcome(), Answered);
    }
}

#[tokio::test]
async fn a_way_inside_is_never_taken_and_the_receipt_says_so() {
    let inside = Server::json(json!("secret")).await;
    let port = inside.address.port();
    let mut options_of = options(&["127.0.0.2"]);
    options_of.egress.resolver = names(&[&["127.0.0.2"], &["127.0.0.1"]]);
    let rebinding = Executor::try_new(options_of).unwrap();
    let outside = Server::start_at(&format!("127.0.0.2:{port}"), |mut stream| {
        let answer = response("200 OK", "application/json", "\"outside\"");
        Box::pin(async move { stream.write_all(answer.as_bytes()).await })
    })
    .await;
    let url = format!("http://rebind.example.test:{port}/");
    let (first, _) = attempt(&rebinding, &external(&url)).await;
    assert_eq!(first, Ok(json!("outside")));
    let (denied, category) = (ErrorCode::EgressDenied, ErrorCategory::Authorization);
    ends(&rebinding, &url, denied, category, NotSent).await;

    let lure = Server::answering(redirect("307 Inside", &inside.url("/"))).await;
    let opened = Executor::try_new(options(&[&lure.address.to_string()])).unwrap();
    ends(&opened, &lure.url("/"), denied, category, NotSent).await;
    assert_eq!((outside.seen().len(), inside.seen().len()), (1, 0));
}
