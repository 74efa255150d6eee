use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value, json};
use toolroom_domain::{ErrorCategory, ErrorCode, tool::Definition};

use super::support::{API_KEY, Reports, Server, call, executor, job, response, rest, run};
use crate::executor::{Call, CallError, Level, Pacing};

fn paged(server: &Server, pagination: Value) -> Definition {
    let api = json!({"base_url": server.url("/list?a=1"), "pagination": pagination});
    rest(api, json!({}))
}

/// The value of a parameter in a request's first line.
fn parameter(request: &str, name: &str) -> Option<String> {
    let line = request.lines().next()?.split(' ').nth(1)?;
    let url = reqwest::Url::parse(&format!("http://a.test{line}")).ok()?;
    let mut pairs = url.query_pairs();
    pairs.find_map(|(key, value)| (key == name).then(|| value.into_owned()))
}

fn json_answer(body: &Value) -> String {
    response("200 OK", "application/json", &body.to_string())
}

fn first_lines(server: &Server) -> Vec<String> {
    let seen = server.seen();
    let lines = seen
        .iter()
        .map(|r| r.lines().next().unwrap_or_default().to_owned());
    lines.collect()
}

#[tokio::test]
async fn pages_are_followed_by_number_until_one_is_empty() {
    let server = Server::replying(|request| {
        let page: u32 = parameter(request, "page").unwrap().parse().unwrap();
        let items: Vec<u32> = (0..3).filter(|_| page < 3).map(|i| page * 10 + i).collect();
        json_answer(&json!({"data": {"list": items}, "page": page}))
    })
    .await;
    let pagination = json!({"type": "page", "param": "page", "items": "data.list", "start": 0});
    let reports = Reports::default();
    let tool = paged(&server, pagination);
    let output = executor()
        .run(call(&tool, &json!({"q": "x"}), &reports))
        .await;
    let items = [0, 1, 2, 10, 11, 12, 20, 21, 22];
    assert_eq!(output, Ok(json!({"data": {"list": items}, "page": 0})));
    assert_eq!(
        first_lines(&server),
        [0, 1, 2, 3].map(|n| format!("GET /list?a=1&q=x&page={n} HTTP/1.1"))
    );
    let keys: Vec<_> = reports
        .outcomes()
        .into_iter()
        .map(|(key, ..)| key)
        .collect();
    let job = job();
    assert_eq!(
        keys,
        [
            format!("{job}"),
            format!("{job}/2"),
            format!("{job}/3"),
            format!("{job}/4")
        ]
    );
    assert!(server.seen()[2].contains(&format!("idempotency-key: {job}/3\r\n")));
    let steps: Vec<_> = reports
        .progress
        .lock()
        .unwrap()
        .iter()
        .filter_map(|p| p.step.clone())
        .collect();
    assert_eq!(steps[0], "page 2 of at most 10");
}

#[tokio::test]
async fn pages_are_followed_by_cursor_in_the_body_too() {
    let server = Server::replying(|request| {
        let body: Value = serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!(body["q"], "x");
        json_answer(&match body["start"].as_str() {
            None => json!({"results": ["a"], "meta": {"next": "c/2"}}),
            Some("c/2") => json!({"results": ["b", "c"], "meta": {"next": "c3"}}),
            _ => json!({"results": ["d"], "meta": {"next": null}}),
        })
    })
    .await;
    let api = json!({
        "base_url": server.url("/"), "method": "POST", "idempotency_header": "Idempotency-Key",
        "pagination": {"type": "cursor", "next": "meta.next", "param": "start", "in": "body", "items": "results"},
    });
    let mapping = json!({"response_to_output": {"results": "all"}});
    let output = run(&executor(), &rest(api, mapping), json!({"q": "x"})).await;
    assert_eq!(output, Ok(json!({"all": ["a", "b", "c", "d"]})));
}

#[tokio::test]
async fn pages_are_followed_by_links_and_credentials_go_along() {
    let server = Server::replying(|request| {
        let page = parameter(request, "page").unwrap_or_else(|| "1".to_owned());
        assert_eq!(parameter(request, "key").as_deref(), Some(API_KEY));
        let next = match page.as_str() {
            "1" => "link: </list?page=2>; rel=\"next\", </list?page=3>; rel=\"last\"\r\n",
            "2" => "link: <?page=3>; rel=next\r\n",
            _ => "link: <?page=1>; rel=first\r\n",
        };
        let body = format!("[{page}]");
        response("200 OK", "application/json", &body).replacen("\r\n", &format!("\r\n{next}"), 1)
    })
    .await;
    let api = json!({
        "base_url": server.url("/list"),
        "auth": {"method": "api_key_query", "key_name": "key", "secret_ref": "${API_KEY}"},
        "pagination": {"type": "link"},
    });
    assert_eq!(
        run(&executor(), &rest(api, json!({})), json!({})).await,
        Ok(json!([1, 2, 3]))
    );
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn credentials_follow_no_page_to_another_host() {
    let other = Server::json(json!(["stolen"])).await;
    let next = other.url("/");
    let server = Server::json(json!({"items": [1], "next": next})).await;
    let tool = paged(
        &server,
        json!({"type": "link", "next": "next", "items": "items"}),
    );
    let error = run(&executor(), &tool, json!({})).await.unwrap_err();
    assert_eq!(error.category, ErrorCategory::ServerError);
    assert!(error.message.contains("another host"), "{error}");
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn pages_without_end_come_to_one() {
    let count = std::sync::atomic::AtomicU32::new(0);
    let server = Server::replying(move |_| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        json_answer(&json!({"items": vec![n; 100], "next": n + 1}))
    })
    .await;
    let cursor = |extra: (&str, u32)| {
        let mut pagination =
            json!({"type": "cursor", "next": "next", "param": "c", "items": "items"});
        pagination[extra.0] = extra.1.into();
        pagination
    };
    for (bound, pages, items) in [(("max_pages", 3), 3, 300), (("max_items", 250), 3, 250)] {
        let before = server.seen().len();
        let (tool, reports) = (paged(&server, cursor(bound)), Reports::default());
        let output = executor()
            .run(call(&tool, &json!({}), &reports))
            .await
            .unwrap();
        assert_eq!(output["items"].as_array().unwrap().len(), items);
        assert_eq!(server.seen().len() - before, pages);
        let lines = reports.lines.into_inner().unwrap();
        let told = "stopped after 3 pages and 300 items; there may be more";
        assert_eq!(
            lines,
            [(Level::Warn, "pagination".to_owned(), told.to_owned())]
        );
    }
}

#[tokio::test]
async fn pages_that_lead_in_a_circle_or_nowhere_are_an_error() {
    for (answer, told) in [
        (json!({"items": [1], "next": "same"}), "names a page twice"),
        (
            json!({"items": {"a": 1}, "next": "x"}),
            "items that are not a list",
        ),
        (
            json!({"items": [1], "next": {"a": 1}}),
            "neither a text nor a number",
        ),
    ] {
        let server = Server::json(answer).await;
        let pagination = json!({"type": "cursor", "next": "next", "param": "c", "items": "items"});
        let error = run(&executor(), &paged(&server, pagination), json!({}))
            .await
            .unwrap_err();
        assert!(error.message.contains(told), "{error}");
        assert!(server.seen().len() <= 2);
    }
}

#[tokio::test]
async fn pages_count_together() {
    let big = json!({"items": ["x".repeat(4 * 1024 * 1024)], "next": 1});
    let server = Server::json(big).await;
    let pagination = json!({"type": "page", "param": "p", "items": "items", "max_pages": 100});
    let error = run(&executor(), &paged(&server, pagination), json!({}))
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::PayloadTooLarge);
    assert_eq!(server.seen().len(), 4);
}

/// Keeps each request after the first waiting.
struct Slow {
    wait: Duration,
    asked: AtomicU32,
}

#[async_trait]
impl Pacing for Slow {
    async fn next_request(&self) -> Result<(), CallError> {
        if self.asked.fetch_add(1, Ordering::Relaxed) > 0 {
            tokio::time::sleep(self.wait).await;
        }
        Ok(())
    }
}

#[tokio::test]
async fn each_page_waits_for_its_turn_and_a_runs_time_stands_still_meanwhile() {
    let server = Server::replying(|request| {
        let page: u32 = parameter(request, "page").unwrap().parse().unwrap();
        json_answer(&json!(if page < 3 { vec![page] } else { Vec::new() }))
    })
    .await;
    let mut tool = paged(&server, json!({"type": "page", "param": "page"}));
    tool.policy.timeout_ms = Some(2_000);
    let slow = Slow {
        wait: Duration::from_millis(1_500),
        asked: AtomicU32::new(0),
    };
    let (input, reports) = (json!({}), Reports::default());
    let call = Call {
        pacing: &slow,
        ..call(&tool, &input, &reports)
    };
    assert_eq!(executor().run(call).await, Ok(json!([1, 2])));
    assert_eq!(slow.asked.load(Ordering::Relaxed), 3);
}
