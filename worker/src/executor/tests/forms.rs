//! Bodies and answers of other forms than JSON.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use toolroom_domain::{ErrorCategory, tool::Definition};

use super::support::{Reports, Server, call, executor, external, response, rest, run};

#[tokio::test]
async fn a_body_is_sent_in_its_form() {
    for (api, content_type, body) in [
        (
            json!({"body_type": "form", "body": {"a": "{{ a }}", "n": "{{ n }}", "l": ["x", "{{ n }}"]}}),
            "application/x-www-form-urlencoded",
            "a=%C3%A9+%26&l=x&l=3&n=3",
        ),
        (
            json!({"body_type": "form"}),
            "application/x-www-form-urlencoded",
            "a=%C3%A9+%26&n=3",
        ),
        (
            json!({"body_type": "text", "body": "<a>{{ a }}</a>", "headers": {"Content-Type": "application/xml"}}),
            "application/xml",
            "<a>é &</a>",
        ),
        (
            json!({"body_type": "text", "body": "{{ n }}"}),
            "text/plain; charset=utf-8",
            "3",
        ),
    ] {
        let server = Server::json(json!({})).await;
        let mut api = api;
        api["base_url"] = server.url("/").into();
        api["method"] = "POST".into();
        run(
            &executor(),
            &rest(api, json!({})),
            json!({"a": "é &", "n": 3}),
        )
        .await
        .unwrap();
        let request = server.request();
        assert!(
            request.contains(&format!("content-type: {content_type}\r\n")),
            "{request}"
        );
        assert!(request.ends_with(&format!("\r\n\r\n{body}")), "{request}");
        assert!(
            request.contains(&format!("content-length: {}\r\n", body.len())),
            "{request}"
        );
    }
}

#[tokio::test]
async fn files_are_sent_as_parts() {
    let server = Server::json(json!({})).await;
    let api = json!({
        "base_url": server.url("/"), "method": "POST", "body_type": "multipart",
        "body": {
            "title": "{{ title }}",
            "file": {"filename": "{{ title }}.txt", "content": "{{ data }}", "encoding": "base64", "content_type": "text/plain"},
        },
    });
    run(
        &executor(),
        &rest(api, json!({})),
        json!({"title": "hi", "data": "aGVsbG8="}),
    )
    .await
    .unwrap();
    let request = server.request();
    let boundary = request
        .split("boundary=")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    assert!(
        request.contains(&format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"hi.txt\"\r\n\
         Content-Type: text/plain\r\n\r\nhello\r\n--{boundary}\r\n"
        )),
        "{request}"
    );
    assert!(
        request.ends_with(&format!("name=\"title\"\r\n\r\nhi\r\n--{boundary}--\r\n")),
        "{request}"
    );
}

fn reading(server: &Server, format: Value) -> Definition {
    let mut api = json!({"base_url": server.url("/")});
    if !format.is_null() {
        api["response_format"] = format;
    }
    rest(api, json!({}))
}

#[tokio::test]
async fn an_answer_is_read_by_its_type_or_as_declared() {
    for (content_type, declared, body, output) in [
        (
            "application/xml",
            json!(null),
            "<a><b>1</b></a>",
            json!({"a": {"b": "1"}}),
        ),
        (
            "application/atom+xml",
            json!(null),
            "<a/>",
            json!({"a": ""}),
        ),
        (
            "text/html",
            json!("xml"),
            "<html><p>x</p></html>",
            json!({"html": {"p": "x"}}),
        ),
        (
            "text/csv; charset=utf-8",
            json!(null),
            "a,b\n1,é",
            json!([{"a": "1", "b": "é"}]),
        ),
        (
            "application/octet-stream",
            json!("csv"),
            "a\n1",
            json!([{"a": "1"}]),
        ),
        ("text/plain", json!(null), "hello", json!("hello")),
        ("text/plain", json!(null), "{\"a\": 1}", json!({"a": 1})),
        (
            "text/plain",
            json!("text"),
            "{\"a\": 1}",
            json!("{\"a\": 1}"),
        ),
        ("text/html", json!("text"), "<p>", json!("<p>")),
        ("text/html", json!("json"), "[1]", json!([1])),
        ("text/html", json!("text"), "", json!(null)),
    ] {
        let server = Server::answering(response("200 OK", content_type, body)).await;
        let output_of = run(&executor(), &reading(&server, declared), json!({})).await;
        assert_eq!(output_of, Ok(output), "{content_type} {body}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_what_it_should_be_is_told_without_its_content() {
    for (content_type, declared, body) in [
        ("text/html", json!(null), "<p>hunter2</p>"),
        ("image/png", json!(null), "hunter2"),
        ("text/plain", json!("json"), "hunter2"),
        ("application/xml", json!(null), "<hunter2>"),
        ("text/csv", json!(null), "a,b\nhunter2"),
    ] {
        let server = Server::answering(response("200 OK", content_type, body)).await;
        let error = run(&executor(), &reading(&server, declared), json!({}))
            .await
            .unwrap_err();
        assert_eq!(
            (error.category, error.retryable),
            (ErrorCategory::ServerError, true)
        );
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn charsets_are_understood() {
    let latin: &[u8] = b"caf\xe9";
    for (content_type, declared, body, output) in [
        (
            "text/plain; charset=ISO-8859-1",
            json!("text"),
            latin.to_vec(),
            json!("café"),
        ),
        (
            "text/plain; charset=\"latin1\"",
            json!(null),
            latin.to_vec(),
            json!("café"),
        ),
        (
            "text/plain",
            json!("text"),
            latin.to_vec(),
            json!("caf\u{fffd}"),
        ),
        (
            "text/xml",
            json!(null),
            [
                b"<?xml version='1.0' encoding='ISO-8859-1'?><a>",
                latin,
                b"</a>",
            ]
            .concat(),
            json!({"a": "café"}),
        ),
    ] {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n",
            body.len()
        );
        let server = Server::answering([head.into_bytes(), body].concat()).await;
        let read = run(&executor(), &reading(&server, declared), json!({})).await;
        assert_eq!(read, Ok(output), "{content_type}");
    }
}

#[tokio::test]
async fn a_slow_download_tells_how_far_it_is() {
    let server = Server::start(|mut stream| {
        Box::pin(async move {
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 40960\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(10));
            for _ in 0..40 {
                ticks.tick().await;
                stream.write_all(&[b'x'; 1024]).await?;
            }
            Ok(())
        })
    })
    .await;
    let (tool, input, reports) = (
        reading(&server, json!("text")),
        json!({}),
        Reports::default(),
    );
    let output = executor().run(call(&tool, &input, &reports)).await.unwrap();
    assert_eq!(output.as_str().map(str::len), Some(40960));
    let told = reports.progress.into_inner().unwrap();
    // Forty chunks in 400 ms or more: a report every 100 ms, and never one for each chunk.
    assert!((1..30).contains(&told.len()), "{told:?}");
    for (earlier, later) in told.iter().zip(told.iter().skip(1)) {
        assert!(earlier.percentage <= later.percentage);
    }
    let last = told.last().unwrap();
    assert!(last.percentage.is_some_and(|p| p > 0.0 && p <= 100.0));
    assert!(
        last.step.as_ref().unwrap().ends_with("KiB of 40.0 KiB"),
        "{last:?}"
    );
}

#[tokio::test]
async fn an_external_endpoint_answers_json_and_nothing_else() {
    let server = Server::answering(response("200 OK", "application/xml", "<a/>")).await;
    let error = run(&executor(), &external(&server.url("/")), json!({}))
        .await
        .unwrap_err();
    assert!(
        error.message.contains("must answer `application/json`"),
        "{error}"
    );
}
