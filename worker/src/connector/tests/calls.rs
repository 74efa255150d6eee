//! Calls: which request is made, what it carries, what its answer means.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use toolroom_domain::{ErrorCategory, ErrorCode, connector::TEST_CONNECTION};

use super::support::{Story, action, file};
use crate::executor::tests::support::{Server, response};

const TOKEN: &str = "token-4711";

/// Answers the requests with these bytes, one after the other; the last stays.
async fn answering(answers: Vec<String>) -> Server {
    let next = AtomicUsize::new(0);
    Server::start(move |mut stream| {
        let number = next.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
        let answer = answers[number].clone();
        Box::pin(async move { stream.write_all(answer.as_bytes()).await })
    })
    .await
}

fn json_answer(status: &str, body: &Value) -> String {
    response(status, "application/json", &body.to_string())
}

fn body_of(request: &str) -> Value {
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

#[tokio::test]
async fn the_first_alternative_that_fits_the_credentials_is_sent() {
    let server = Server::json(json!({"ok": true, "id": 7})).await;
    let act = action(json!({"requests": [
        {
            "when": "credentials.hook is defined",
            "method": "POST", "url": "{{ credentials.hook }}", "auth": false,
            "body": {"json": {"text": "{{ input.text }}"}},
            "output": {"by": "hook"},
        },
        {
            "when": "credentials.token is defined",
            "method": "POST", "path": "items/{{ input.id }}/x",
            "query": {"tag": ["{{ input.text }}", "b"], "none": "{{ input.none | default(none) }}"},
            "headers": {"X-Retries": "{{ credentials.retries }}"},
            "body": {"json": {
                "text": "{{ input.text }}", "n": "{{ input.n }}", "at": "{{ DATE }}",
                "none": "{{ input.none | default(none) }}",
            }},
            "output": {"by": "token", "id": "{{ body.id }}", "status": "{{ status }}"},
        },
    ]}));
    let file = file(json!({
        "headers": {"X-Version": "1"},
        "auth": {"method": "bearer", "token": "{{ credentials.token }}"},
        "actions": [act],
    }));
    let with_token = Story::new(&file, json!({"url": server.url("/v1"), "token": TOKEN}));
    let input = json!({"text": "a&b", "id": "x/../y?z", "n": 3});
    let output = with_token.run(input.clone()).await.unwrap();
    assert_eq!(output, json!({"by": "token", "id": 7, "status": 200}));
    let request = server.request();
    let head = request.to_ascii_lowercase();
    assert!(
        request.starts_with("POST /v1/items/x%2F..%2Fy%3Fz/x?tag=a%26b&tag=b HTTP/1.1\r\n"),
        "{request}"
    );
    for header in [
        "authorization: bearer token-4711\r\n",
        "x-version: 1\r\n",
        "x-retries: 3\r\n",
        "content-type: application/json\r\n",
    ] {
        assert!(head.contains(header), "{header} in {head}");
    }
    assert_eq!(
        body_of(&request),
        json!({"text": "a&b", "n": 3, "at": "2026-07-01"})
    );
    let used = with_token.told.secrets.lock().unwrap()[0].clone();
    assert_eq!(
        (used.name.as_str(), used.version),
        ("credentials/tool/1", 3)
    );

    let hook = server.url("/hook/secret-path-0815");
    let with_hook = Story::new(&file, json!({"hook": hook}));
    assert_eq!(with_hook.run(input).await.unwrap(), json!({"by": "hook"}));
    let receipts = with_hook.told.receipts.lock().unwrap().clone();
    assert!(
        !receipts[0].url.contains("secret-path-0815"),
        "{receipts:?}"
    );
    let neither = Story::new(&file, json!({"url": server.url("/v1")}));
    let refused = neither.run(json!({})).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ValidationFailed);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn errors_mean_what_the_file_says_and_never_tell_a_secret() {
    let refusals = json!([
        {
            "when": "body.error in ['invalid_auth', 'expired']",
            "category": "AUTHENTICATION", "message": "the service says {{ body.error }}",
        },
        {
            "when": "body.error == 'slow_down'", "category": "RATE_LIMIT",
            "message": "too fast", "retry_after_s": "{{ body.wait }}",
        },
        {
            "when": "body.about is defined", "category": "VALIDATION",
            "message": "refused {{ body.about }} ({{ body.code }}, {{ 'as ' ~ body.about }})",
        },
        {"when": "status == 200 and body.ok == false", "category": "UNKNOWN", "message": "no"},
    ]);
    let cases = [
        ("200 OK", json!({"ok": true}), None),
        (
            "200 OK",
            json!({"ok": false, "error": "expired", "echo": TOKEN}),
            Some((
                ErrorCategory::Authentication,
                "the service says expired",
                false,
                None,
            )),
        ),
        (
            "200 OK",
            json!({"ok": false, "error": "slow_down", "wait": 1.5}),
            Some((ErrorCategory::RateLimit, "too fast", true, Some(1500))),
        ),
        (
            "400 Bad Request",
            json!({"about": "ann@home.test", "code": 21211}),
            Some((
                ErrorCategory::Validation,
                "refused … (21211, as …)",
                false,
                None,
            )),
        ),
        (
            "404 Not Found",
            json!({"error": "what"}),
            Some((
                ErrorCategory::Validation,
                "the endpoint answered 404",
                false,
                None,
            )),
        ),
        (
            "503 Service Unavailable",
            json!(null),
            Some((
                ErrorCategory::ServerError,
                "the endpoint answered 503",
                false,
                None,
            )),
        ),
    ];
    for (status, body, expected) in cases {
        let server = answering(vec![json_answer(status, &body)]).await;
        let file = file(json!({
            "auth": {"method": "bearer", "token": "{{ credentials.token }}"},
            "errors": refusals,
            "actions": [action(json!({"requests": [{"method": "POST"}]}))],
        }));
        let story = Story::new(&file, json!({"url": server.url(""), "token": TOKEN}));
        let outcome = story.run(json!({})).await;
        let Some((category, message, retryable, wait)) = expected else {
            assert_eq!(outcome, Ok(body));
            continue;
        };
        let error = outcome.unwrap_err();
        assert_eq!(
            (error.category, error.message.as_str()),
            (category, message)
        );
        assert_eq!(error.retryable, retryable, "{message}");
        assert_eq!(error.retry_after, wait.map(Duration::from_millis));
        assert!(!format!("{error:?}").contains(TOKEN), "{error:?}");
    }
}

#[tokio::test]
async fn an_output_that_says_a_secret_back_where_no_field_may_be_tells_it_to_nobody() {
    let server = answering(vec![json_answer("200 OK", &json!({ TOKEN: 1 }))]).await;
    let file = file(json!({
        "auth": {"method": "bearer", "token": "{{ credentials.token }}"},
        "actions": [action(json!({
            "output": {"type": "object", "properties": {}, "additionalProperties": false},
        }))],
    }));
    let story = Story::new(&file, json!({"url": server.url(""), "token": TOKEN}));
    let error = story.run(json!({})).await.unwrap_err();
    assert!(error.message.contains("output schema"), "{error}");
    let details = error.details.unwrap().to_string();
    assert!(
        details.contains("***") && !details.contains(TOKEN),
        "{details}"
    );
}

#[tokio::test]
async fn names_that_an_input_gives_stay_out_of_messages() {
    let file = file(json!({
        "actions": [action(json!({"requests": [{"headers": "{{ input.headers }}"}]}))],
    }));
    let story = Story::new(&file, json!({"url": "http://127.0.0.1:1"}));
    for value in [json!("x"), json!({"a": 1})] {
        let input = json!({"headers": {"ann@home.test": value}});
        let error = story.run(input).await.unwrap_err();
        assert!(error.message.contains("headers"), "{error}");
        assert!(!error.message.contains("ann@"), "{error}");
        assert_eq!(error.details, Some(json!({"name": "ann@home.test"})));
    }
}

#[tokio::test]
async fn steps_see_what_came_before_and_each_has_its_own_key() {
    let server = answering(vec![
        json_answer("200 OK", &json!({"upload": "/put/here", "id": "f1"})),
        response("200 OK", "text/plain", "OK - 5"),
        json_answer("200 OK", &json!({"ok": true})),
    ])
    .await;
    let act = action(json!({"requests": [{"steps": [
        {
            "id": "reserve", "method": "POST", "path": "reserve",
            "body": {"form": {"length": "{{ input.content | bytes }}"}},
            "output": {"file": "{{ body.id }}"},
        },
        {
            "id": "upload", "method": "POST", "auth": false,
            "url": "{{ credentials.url }}{{ steps.reserve.body.upload | path }}",
            "body": {"text": "{{ input.content }}"},
        },
        {"id": "skipped", "when": "input.notify is defined", "path": "never"},
        {
            "id": "complete", "method": "POST", "path": "complete",
            "body": {"json": {"id": "{{ steps.reserve.output.file }}", "said": "{{ steps.upload.body }}"}},
            "output": {"file": "{{ steps.reserve.output.file }}", "ok": "{{ body.ok }}"},
        },
    ]}]}));
    let file = file(json!({
        "auth": {"method": "bearer", "token": "{{ credentials.token }}"},
        "actions": [act],
    }));
    let story = Story::new(&file, json!({"url": server.url(""), "token": TOKEN}));
    let output = story.run(json!({"content": "häl"})).await.unwrap();
    assert_eq!(output, json!({"file": "f1", "ok": true}));
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen[0].ends_with("\r\n\r\nlength=4"), "{}", seen[0]);
    assert!(seen[1].starts_with("POST /put/here "), "{}", seen[1]);
    assert!(!seen[1].contains(TOKEN), "{}", seen[1]);
    assert_eq!(body_of(&seen[2]), json!({"id": "f1", "said": "OK - 5"}));
    assert_eq!(story.told.requests.load(Ordering::Relaxed), 3);
    let receipts = story.told.receipts.lock().unwrap();
    let mut keys: Vec<&str> = receipts
        .iter()
        .map(|r| r.idempotency_key.as_str())
        .collect();
    keys.dedup();
    let job = keys[0];
    assert_eq!(keys[1..], [format!("{job}/2"), format!("{job}/3")]);
    let steps: Vec<_> = {
        let told = story.told.progress.lock().unwrap();
        told.iter().filter_map(|p| p.step.clone()).collect()
    };
    assert_eq!(steps, ["reserve", "upload", "complete"]);
}

#[tokio::test]
async fn a_list_is_followed_to_its_end_or_to_its_bound() {
    let page = |items: Value, next: Value| {
        json_answer("200 OK", &json!({"items": items, "meta": {"next": next}}))
    };
    let answers = vec![
        page(json!([{"id": 1, "x": 0}, {"id": 2}]), json!("c2")),
        page(json!([{"id": 3}]), json!("c3")),
        page(json!([{"id": 4}]), json!("")),
    ];
    for (max, ids, next, calls) in [
        (
            10,
            json!([{"id": 1}, {"id": 2}, {"id": 3}, {"id": 4}]),
            Value::Null,
            3,
        ),
        (2, json!([{"id": 1}, {"id": 2}, {"id": 3}]), json!("c3"), 2),
    ] {
        let server = answering(answers.clone()).await;
        let act = action(json!({"requests": [{
            "query": {"cursor": "{{ page.next }}", "page": "{{ page.number }}"},
            "pages": {"items": "body.items", "next": "body.meta.next", "max": max},
            "output": {"all": "{{ items | pick('id') }}", "next": "{{ page.next | default(none) }}"},
        }]}));
        let story = Story::new(
            &file(json!({"actions": [act]})),
            json!({"url": server.url("")}),
        );
        let output = story.run(json!({})).await.unwrap();
        assert_eq!(output["all"], ids);
        assert_eq!(output.get("next").cloned().unwrap_or_default(), next);
        let seen = server.seen();
        assert_eq!(seen.len(), calls);
        let asked = story.told.requests.load(Ordering::Relaxed);
        assert_eq!(asked as usize, calls, "each counts by the rate");
        assert!(seen[0].starts_with("GET /?page=1 "), "{}", seen[0]);
        assert!(
            seen[1].starts_with("GET /?cursor=c2&page=2 "),
            "{}",
            seen[1]
        );
    }
}

#[tokio::test]
async fn what_the_service_says_of_its_limit_is_handed_on() {
    let server = Server::answering(
        "HTTP/1.1 200 OK\r\nx-left: 0\r\nx-reset: 2.5\r\ncontent-length: 0\r\n\
         connection: close\r\n\r\n",
    )
    .await;
    let file = file(json!({
        "rate_limit": {"requests": 60, "window_s": 60,
            "headers": {"remaining": "x-left", "reset_s": "x-reset"}},
        "actions": [action(json!({}))],
    }));
    let story = Story::new(&file, json!({"url": server.url("")}));
    assert_eq!(story.run(json!({})).await, Ok(Value::Null));
    let told = story.told.announced.lock().unwrap();
    assert_eq!(told[0].remaining, Some(0));
    assert_eq!(told[0].reset_after, Some(Duration::from_millis(2500)));
}

#[tokio::test]
async fn what_a_file_does_not_name_is_read_as_it_is_commonly_told() {
    let server = Server::answering(
        "HTTP/1.1 200 OK\r\nratelimit: \"a\";r=4;t=9\r\nx-left: 1\r\ncontent-length: 0\r\n\
         connection: close\r\n\r\n",
    )
    .await;
    for (headers, expected) in [
        (json!({}), (Some(4), Some(Duration::from_secs(9)))),
        // For as long as the file's window, where the service does not say for how long.
        (
            json!({"remaining": "x-left"}),
            (Some(1), Some(Duration::from_secs(60))),
        ),
        (json!({"remaining": "x-none"}), (None, None)),
    ] {
        let of = file(json!({
            "rate_limit": {"requests": 60, "window_s": 60, "headers": headers},
            "actions": [action(json!({}))],
        }));
        let story = Story::new(&of, json!({"url": server.url("")}));
        story.run(json!({})).await.unwrap();
        let told = *story.told.announced.lock().unwrap().last().unwrap();
        assert_eq!((told.remaining, told.reset_after), expected, "{headers}");
    }
}

#[tokio::test]
async fn an_idempotency_key_goes_where_the_service_takes_it() {
    for (idempotency, repeatable, place) in [
        (
            json!({"header": "x-request-id"}),
            true,
            "x-request-id: job_",
        ),
        (json!({"header": "{{ 'x-key' }}"}), true, "x-key: job_"),
        (
            json!({"header": "{{ credentials.token | default('') }}"}),
            false,
            "",
        ),
        (json!({"body": "meta.nonce"}), true, "\"nonce\":\"job_"),
        (json!("natural"), true, ""),
        (json!("none"), false, ""),
    ] {
        let server = Server::json(json!({})).await;
        let act = action(json!({"idempotency": idempotency, "requests": [
            {"method": "POST", "body": {"json": {"a": 1}}},
        ]}));
        let story = Story::new(
            &file(json!({"actions": [act]})),
            json!({"url": server.url("")}),
        );
        story.run(json!({})).await.unwrap();
        assert!(server.request().contains(place), "{}", server.request());
        assert_eq!(
            story.told.receipts.lock().unwrap()[0].repeatable,
            repeatable,
            "{place}"
        );
    }
}

#[tokio::test]
async fn a_rehearsal_shows_the_request_and_sends_only_what_is_harmless() {
    let server = Server::json(json!({"echo": TOKEN, "id": 1})).await;
    let requests = json!([{
        "method": "POST", "path": "x", "body": {"json": {"t": "{{ input.t }} {{ credentials.token }}"}},
    }]);
    let change = action(json!({"id": "story.change", "requests": requests}));
    let look = action(json!({"id": "story.look", "requests": requests, "harmless": true}));
    let file = file(json!({
        "auth": {"method": "bearer", "token": "{{ credentials.token }}"},
        "actions": [change, look],
    }));
    let story = Story::new(&file, json!({"url": server.url(""), "token": TOKEN}));
    let input = json!({"t": "hi"});
    let shown = story
        .call(Some("change"), input.clone(), true)
        .await
        .unwrap();
    assert_eq!(shown["sent"], false);
    assert_eq!(shown["request"]["method"], "POST");
    assert_eq!(shown["request"]["url"], server.url("/x"));
    assert_eq!(shown["request"]["headers"]["authorization"], "Bearer ***");
    assert_eq!(shown["request"]["body"], json!({"t": "hi ***"}));
    assert_eq!(server.seen().len(), 0);
    let sent = story.call(Some("story.look"), input, true).await.unwrap();
    assert_eq!(
        (&sent["sent"], &sent["request"]),
        (&json!(true), &shown["request"])
    );
    assert_eq!(sent["output"], json!({"echo": "***", "id": 1}));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn an_action_must_be_named_where_there_are_several() {
    let file = file(json!({"actions": [
        action(json!({"id": "story.one"})), action(json!({"id": "story.two"})),
    ]}));
    let story = Story::new(&file, json!({"url": "https://a.test"}));
    for named in [None, Some("three")] {
        let refused = story.call(named, json!({}), false).await.unwrap_err();
        assert!(
            refused.message.contains("story.one, story.two"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_connection_test_makes_the_harmless_call_and_says_so_when_there_is_none() {
    let server = Server::json(json!({"team": "Moles"})).await;
    let test = json!({
        "requests": [{"when": "credentials.token is defined", "path": "whoami",
            "output": {"team": "{{ body.team }}"}}],
        "message": "connected to {{ body.team }}",
        "needs": "a token",
    });
    let with_test = file(json!({"actions": [action(json!({}))], "test": test}));
    let story = Story::new(&with_test, json!({"url": server.url(""), "token": TOKEN}));
    let outcome = story
        .call(Some(TEST_CONNECTION), json!({}), true)
        .await
        .unwrap();
    assert_eq!(
        outcome,
        json!({"success": true, "message": "connected to Moles",
            "details": {"sent": true, "answer": {"team": "Moles"}}})
    );
    let story = Story::new(&with_test, json!({"url": server.url("")}));
    let outcome = story
        .call(Some(TEST_CONNECTION), json!({}), true)
        .await
        .unwrap();
    assert_eq!(outcome["details"], json!({"sent": false}));
    assert!(
        outcome["message"]
            .as_str()
            .unwrap()
            .contains("needs a token"),
        "{outcome}"
    );
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn an_output_that_breaks_its_promise_is_a_failure() {
    let server = Server::json(json!({"id": "x"})).await;
    let act = action(json!({"output": {"properties": {"id": {"type": "integer"}}}}));
    let story = Story::new(
        &file(json!({"actions": [act]})),
        json!({"url": server.url("")}),
    );
    let failed = story.run(json!({})).await.unwrap_err();
    assert_eq!(failed.category, ErrorCategory::Validation);
    assert_eq!(failed.details.unwrap()["violations"][0]["path"], "id");
}

#[tokio::test]
async fn a_value_never_reaches_another_place_than_the_file_names() {
    let act = action(json!({"requests": [{"path": "items/{{ input.p | path }}"}]}));
    let story = Story::new(
        &file(json!({"actions": [act]})),
        json!({"url": "https://a.test/v1"}),
    );
    for path in ["../admin", "a/./b", "a/%2e%2e/b", "..\\b"] {
        let outcome = story.call(None, json!({"p": path}), true).await;
        match outcome {
            Err(error) => assert_eq!(error.code, ErrorCode::ValidationFailed, "{path}"),
            Ok(shown) => {
                let url = shown["request"]["url"].as_str().unwrap();
                assert!(url.starts_with("https://a.test/v1/items/"), "{url}");
            }
        }
    }
    let act = action(json!({"requests": [{"url": "{{ input.url }}"}]}));
    let story = Story::new(&file(json!({"actions": [act]})), json!({}));
    for url in [
        "ftp://a.test",
        "https://user:pw@a.test",
        "nonsense",
        "file:///etc/passwd",
    ] {
        let refused = story
            .call(None, json!({"url": url}), true)
            .await
            .unwrap_err();
        assert_eq!(refused.code, ErrorCode::ValidationFailed, "{url}");
    }
}
