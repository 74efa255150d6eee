use std::{
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use toolroom_domain::{ErrorCategory, ErrorCode, job::ReceiptOutcome, tool::Definition};

use super::support::{Server, executor, external, names, options, redirect, response, rest, run};
use crate::executor::{CallError, Executor};

/// A limit that a test waits for.
const LIMIT_MS: u64 = 150;

async fn error_of(executor: &Executor, tool: &Definition) -> CallError {
    run(executor, tool, json!({})).await.unwrap_err()
}

async fn answered(answer: impl Into<Vec<u8>>) -> CallError {
    let server = Server::answering(answer).await;
    error_of(&executor(), &external(&server.url("/"))).await
}

fn hurried(mut tool: Definition) -> Definition {
    tool.policy.timeout_ms = Some(LIMIT_MS);
    tool
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_left_at_the_limit() {
    let server = Server::start(|stream| {
        Box::pin(async move {
            let _open = stream;
            std::future::pending().await
        })
    })
    .await;
    let error = error_of(&executor(), &hurried(external(&server.url("/")))).await;
    assert_eq!(error.category, ErrorCategory::Timeout);
}

#[tokio::test]
async fn an_endpoint_that_drips_is_left_at_the_limit() {
    let server = Server::start(|mut stream| {
        Box::pin(async move {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
                .await?;
            let mut drop_by_drop = tokio::time::interval(Duration::from_millis(10));
            loop {
                drop_by_drop.tick().await;
                stream.write_all(b" ").await?;
            }
        })
    })
    .await;
    let begun = Instant::now();
    let error = error_of(&executor(), &hurried(external(&server.url("/")))).await;
    assert_eq!(error.category, ErrorCategory::Timeout);
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn garbage_is_told_as_such() {
    for garbage in [
        response("200 OK", "application/json", "{\"a\": hunter2"),
        response("200 OK", "application/json", "hunter2"),
        response("200 OK", "text/html", "<html>hunter2"),
        response(
            "200 OK",
            "application/json",
            &format!("{}1{}", "[".repeat(100), "]".repeat(100)),
        ),
        response("200 OK", "application/json", &"[".repeat(100_000)),
    ] {
        let error = answered(garbage).await;
        assert_eq!(error.category, ErrorCategory::ServerError);
        assert!(error.message.contains("JSON"), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
    for garbage in ["no http at all\r\n\r\n", "HTTP/1.1 200 OK\r\n: \r\n\r\n"] {
        assert_eq!(answered(garbage).await.category, ErrorCategory::Network);
    }
    let cut = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{";
    assert_eq!(answered(cut).await.category, ErrorCategory::Network);
}

#[tokio::test]
async fn json_under_a_vague_type_is_still_json() {
    for content_type in [
        "application/problem+json; charset=utf-8",
        "text/plain",
        "Application/JSON",
    ] {
        let server = Server::answering(response("200 OK", content_type, "[1]")).await;
        assert_eq!(
            run(&executor(), &external(&server.url("/")), json!({})).await,
            Ok(json!([1]))
        );
    }
}

#[tokio::test]
async fn fifty_megabytes_are_not_read() {
    let server = Server::start(|mut stream| {
        Box::pin(async move {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
                .await?;
            let block = [b' '; 64 * 1024];
            for _ in 0..800 {
                stream.write_all(&block).await?;
            }
            Ok(())
        })
    })
    .await;
    let error = error_of(&executor(), &external(&server.url("/"))).await;
    assert_eq!(error.code, ErrorCode::PayloadTooLarge);
    assert_eq!(error.message, "the endpoint's answer is larger than 16 MiB");
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).unwrap();
    let packed = encoder.finish().unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        packed.len()
    );
    [head.into_bytes(), packed].concat()
}

#[tokio::test]
async fn a_packed_answer_counts_unpacked() {
    let server = Server::answering(gzip(b"{\"a\": 1}")).await;
    let output = run(&executor(), &external(&server.url("/")), json!({})).await;
    assert_eq!(output, Ok(json!({"a": 1})));
    let bomb = gzip(&vec![b' '; 50_000_000]);
    assert!(bomb.len() < 1_000_000);
    assert_eq!(answered(bomb).await.code, ErrorCode::PayloadTooLarge);
    let mut broken = gzip(b"{\"a\": 1}");
    let last = broken.len() - 12;
    broken[last] ^= 0xff;
    broken[last - 1] ^= 0xff;
    assert!(!answered(broken).await.message.is_empty());
}

#[tokio::test]
async fn a_reset_or_closed_port_is_a_network_failure() {
    let server = Server::start(|stream| {
        Box::pin(async move {
            stream.set_zero_linger()?;
            drop(stream);
            Ok(())
        })
    })
    .await;
    let error = error_of(&executor(), &external(&server.url("/"))).await;
    assert_eq!(
        (error.code, error.category, error.retryable),
        (ErrorCode::OutcomeUnknown, ErrorCategory::Network, false)
    );
    let closed = external("http://127.0.0.1:1/");
    let error = error_of(&executor(), &closed).await;
    assert_eq!(error.message, "the endpoint refused the connection");
    let nameless = external("http://nowhere.example.test/");
    let error = error_of(&executor(), &nameless).await;
    assert_eq!(error.message, "the endpoint's name could not be resolved");
}

#[tokio::test]
async fn private_addresses_are_refused_however_they_are_written() {
    let closed = Executor::try_new(options(&[])).unwrap();
    let server = Server::json(json!({})).await;
    let port = server.address.port();
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "0.0.0.0",
        "169.254.169.254",
        "１２７.0.0.1",
    ] {
        let error = error_of(&closed, &external(&format!("http://{host}:{port}/"))).await;
        assert_eq!(error.code, ErrorCode::EgressDenied, "{host}: {error}");
        assert!(!error.message.contains("127"), "{error}");
    }
    assert!(server.seen().is_empty());
}

async fn with_names(allow: &[&str], answers: &[&[&str]]) -> Executor {
    let mut options = options(allow);
    options.egress.resolver = names(answers);
    Executor::try_new(options).unwrap()
}

#[tokio::test]
async fn a_name_with_one_closed_address_is_refused() {
    let server = Server::json(json!({})).await;
    let executor = with_names(&[], &[&["93.184.216.34", "127.0.0.1"]]).await;
    let url = format!("http://rebind.example.test:{}/", server.address.port());
    let error = error_of(&executor, &external(&url)).await;
    assert_eq!(error.code, ErrorCode::EgressDenied);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_name_that_changes_its_mind_gains_nothing() {
    let open = Server::start_at("127.0.0.2:0", |mut stream| {
        let answer = response("200 OK", "application/json", "\"open\"");
        Box::pin(async move { stream.write_all(answer.as_bytes()).await })
    })
    .await;
    let port = open.address.port();
    let closed =
        Server::start_at(&format!("127.0.0.1:{port}"), |_| Box::pin(async { Ok(()) })).await;
    let executor = with_names(&["127.0.0.2"], &[&["127.0.0.2"], &["127.0.0.1"]]).await;
    let tool = external(&format!("http://rebind.example.test:{port}/"));
    assert_eq!(run(&executor, &tool, json!({})).await, Ok(json!("open")));
    assert_eq!(
        error_of(&executor, &tool).await.code,
        ErrorCode::EgressDenied
    );
    assert_eq!((open.seen().len(), closed.seen().len()), (1, 0));
}

#[tokio::test]
async fn a_host_that_the_operator_names_is_reached_whatever_it_resolves_to() {
    let server = Server::json(json!("in")).await;
    let port = server.address.port();
    let rule = format!("intranet.example.test:{port}");
    let executor = with_names(&[&rule], &[&["127.0.0.1"]]).await;
    let tool = external(&format!("http://intranet.example.test:{port}/"));
    assert_eq!(run(&executor, &tool, json!({})).await, Ok(json!("in")));
    let other = external(&format!("http://other.example.test:{port}/"));
    assert_eq!(
        error_of(&executor, &other).await.code,
        ErrorCode::EgressDenied
    );
}

#[tokio::test]
async fn a_redirect_to_a_closed_address_is_refused() {
    let inside = Server::json(json!("secret")).await;
    for target in [
        inside.url("/").replace("127.0.0.1", "localhost"),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "http://[::1]:80/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "http://user:pass@127.0.0.1/".to_owned(),
    ] {
        let outside = Server::answering(redirect("302 Found", &target)).await;
        let rule = outside.address.to_string();
        let executor = with_names(&[&rule], &[&["127.0.0.1"]]).await;
        let error = error_of(&executor, &external(&outside.url("/"))).await;
        assert_eq!(error.code, ErrorCode::EgressDenied, "{target}: {error}");
    }
    assert!(inside.seen().is_empty());
}

#[tokio::test]
async fn redirects_come_to_an_end() {
    let address = Arc::new(std::sync::OnceLock::new());
    let told = Arc::clone(&address);
    let server = Server::start(move |mut stream| {
        let told: Arc<std::sync::OnceLock<String>> = Arc::clone(&told);
        Box::pin(async move {
            let to = told.get().cloned().unwrap_or_default();
            stream
                .write_all(redirect("302 Found", &to).as_bytes())
                .await
        })
    })
    .await;
    address.set(server.url("/again")).unwrap();
    let error = error_of(&executor(), &external(&server.url("/"))).await;
    assert_eq!(error.message, "the endpoint redirects more than 5 times");
    assert_eq!(server.seen().len(), 6);
    assert!(
        answered(redirect("302 Found", "http://["))
            .await
            .message
            .contains("not a URL")
    );
}

#[tokio::test]
async fn a_tool_without_network_stays_at_home() {
    let server = Server::json(json!({})).await;
    for mut tool in [
        external(&server.url("/")),
        rest(json!({"base_url": server.url("/")}), json!({})),
    ] {
        tool.policy.network = Some(false);
        assert_eq!(
            error_of(&executor(), &tool).await.code,
            ErrorCode::EgressDenied
        );
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_cancelled_call_hangs_up() {
    let (hung_up, on_hang_up) = tokio::sync::oneshot::channel::<()>();
    let hung_up = Arc::new(std::sync::Mutex::new(Some(hung_up)));
    let (asked, on_asked) = tokio::sync::oneshot::channel::<()>();
    let asked = Arc::new(std::sync::Mutex::new(Some(asked)));
    let server = Server::start(move |mut stream| {
        let (asked, hung_up) = (asked.lock().unwrap().take(), hung_up.lock().unwrap().take());
        Box::pin(async move {
            drop(asked);
            let mut byte = [0];
            // Nothing comes but the end.
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut byte).await;
            drop(hung_up);
            Ok(())
        })
    })
    .await;
    let (executor, tool, input) = (executor(), external(&server.url("/")), Value::Null);
    let reports = super::support::Reports::default();
    let call = super::support::call(&tool, &input, &reports);
    let cancel = call.cancel.clone();
    let (outcome, ()) = tokio::join!(executor.run(call), async {
        let _ = on_asked.await;
        cancel.cancel();
    });
    assert_eq!(outcome.unwrap_err().code, ErrorCode::OutcomeUnknown);
    assert_eq!(reports.outcome(), ReceiptOutcome::Unknown);
    let _ = on_hang_up.await;
}
