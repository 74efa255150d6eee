//! Tools whose other side fails, is slow, or has enough of us.

use serde_json::{Value, json};

use crate::support::{Answering, App, native};

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
