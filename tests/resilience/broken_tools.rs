//! Tools whose other side fails, is slow, or has enough of us.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{Answering, App, answer, native};

/// How many failures open a circuit.
const FAILURES: usize = 5;

async fn app() -> App {
    App::start_with(&[
        ("TOOLROOM_EGRESS_ALLOW", "127.0.0.1"),
        ("TOOLROOM_WORKER_BACKGROUND", "8"),
        ("TOOLROOM_WORKER_FOREGROUND", "8"),
    ])
    .await
}

fn external(name: &str, endpoint: &Answering) -> Value {
    json!({"name": name, "description": "calls out", "policy": {"maxAttempts": 1}, "external": {
        "endpointUrl": endpoint.url, "inputSchema": {"type": "object"}}})
}

async fn health(app: &App, tool: &str) -> Value {
    let query = "query($n: String) { tool(name: $n) { health { status circuit latencyMs } } }";
    app.data(query, json!({"n": tool})).await["tool"]["health"].clone()
}

#[tokio::test]
async fn a_tool_that_fails_five_times_is_called_no_more_and_says_so() {
    let app = app().await;
    let endpoint = Answering::status("500 Oops", "").await;
    app.register(external("broken", &endpoint)).await;
    app.register(native("say", "echo")).await;
    for _ in 0..FAILURES {
        let job = app.run("broken", json!({})).await;
        assert_eq!(job["error"]["category"], "SERVER_ERROR", "{job}");
    }
    let calls = endpoint.calls();
    let job = app.run("broken", json!({})).await;
    assert_eq!(job["status"], "FAILED");
    assert_eq!(job["error"]["code"], "CIRCUIT_OPEN", "{job}");
    assert_eq!(job["error"]["retryable"], true);
    assert_eq!(endpoint.calls(), calls, "it was not called");
    // Its events are on their way to the catalogue.
    let patience = tokio::time::Instant::now() + crate::support::PATIENCE;
    let mut told = health(&app, "broken").await;
    while told["circuit"] != "OPEN" {
        assert!(tokio::time::Instant::now() < patience, "{told}");
        tokio::task::yield_now().await;
        told = health(&app, "broken").await;
    }
    assert_eq!(told["status"], "FAILING");
    assert!(
        told["latencyMs"].as_f64().is_some_and(|ms| ms > 0.0),
        "{told}"
    );
    // What waits in the background waits in the queue, and holds up nobody.
    let waiting = app.submit("broken", json!({})).await;
    let other = app.submit("say", json!({"a": 1})).await;
    assert_eq!(app.ended(&other).await["status"], "COMPLETED");
    let job = app.job(&waiting).await;
    assert_eq!(
        (&job["status"], &job["attempts"]),
        (&json!("PENDING"), &json!([]))
    );
    assert_eq!(health(&app, "say").await["circuit"], "CLOSED");
}

#[tokio::test]
async fn a_tool_that_asks_for_a_pause_gets_it() {
    let app = app().await;
    let endpoint = Answering::status("429 Slowly", "retry-after: 120\r\n").await;
    app.register(external("fast", &endpoint)).await;
    let first = app.run("fast", json!({})).await;
    assert_eq!(first["error"]["category"], "RATE_LIMIT", "{first}");
    let second = app.run("fast", json!({})).await;
    assert_eq!(second["error"]["code"], "RATE_LIMIT_EXCEEDED", "{second}");
    assert_eq!(endpoint.calls(), 1);
}

#[tokio::test]
async fn a_slow_tool_takes_its_part_of_the_room_and_no_more() {
    let app = app().await;
    let endpoint = Answering::never().await;
    app.register(external("slow", &endpoint)).await;
    app.register(native("say", "echo")).await;
    for _ in 0..20 {
        app.submit("slow", json!({})).await;
    }
    for _ in 0..4 {
        endpoint.called().await;
    }
    for n in 0..3 {
        let other = app.submit("say", json!({"n": n})).await;
        assert_eq!(app.ended(&other).await["status"], "COMPLETED");
    }
    assert_eq!(endpoint.calls(), 4, "half of the room");
    assert_eq!(app.run("say", json!({})).await["status"], "COMPLETED");
}

#[tokio::test]
async fn a_failure_that_passes_is_over_at_the_next_attempt() {
    let app = app().await;
    let endpoint = Answering::by(|call| match call {
        1 => answer(500, "", &json!({})),
        _ => answer(200, "", &json!({"ok": true})),
    })
    .await;
    app.register(
        json!({"name": "read", "description": "reads", "policy": {"initialDelayMs": 20},
        "rest": {"input_schema": {"type": "object"}, "api": {"base_url": endpoint.url}}}),
    )
    .await;
    let job = app.run("read", json!({})).await;
    assert_eq!(job["status"], "COMPLETED", "{job}");
    assert_eq!(job["attempts"].as_array().map(Vec::len), Some(2), "{job}");
    assert_eq!(endpoint.calls(), 2);
}

#[tokio::test]
async fn of_a_storm_of_refusals_few_are_asked_for_and_all_jobs_end() {
    const JOBS: usize = 50;
    /// For so long the other side refuses everything.
    const STORM: Duration = Duration::from_millis(2_500);
    let app = app().await;
    let begun = OnceLock::new();
    let endpoint =
        Answering::by(
            move |_| match begun.get_or_init(Instant::now).elapsed() < STORM {
                true => answer(429, "retry-after: 1\r\n", &json!({})),
                false => answer(200, "", &json!({"ok": true})),
            },
        )
        .await;
    app.register(json!({"name": "busy", "description": "calls out",
        "policy": {"maxAttempts": 5, "initialDelayMs": 20},
        "external": {"endpointUrl": endpoint.url, "inputSchema": {"type": "object"}}}))
        .await;
    let submit = "mutation($jobs: [SubmitJobInput!]!) { submitJobs(jobs: $jobs) { id } }";
    let jobs = vec![json!({"toolName": "busy", "input": {}}); JOBS];
    let jobs = app.data(submit, json!({"jobs": jobs})).await["submitJobs"].clone();
    for job in jobs.as_array().unwrap() {
        let job = app.ended(job["id"].as_str().unwrap()).await;
        assert_eq!(job["status"], "COMPLETED", "{job}");
    }
    // Of each second of the storm those that are under way at once, which are half of the room, and
    // one or two more that were to leave already; jobs that asked for themselves would ask 150 times.
    let refused = endpoint.calls() - JOBS;
    assert!((1..=30).contains(&refused), "{refused} refusals");
}
