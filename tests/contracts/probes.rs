//! What orchestrators and operators ask.

use serde_json::json;

use crate::support::{App, native};

#[tokio::test]
async fn a_server_that_serves_is_alive_and_ready() {
    let app = App::start().await;
    assert_eq!(app.get("/livez").await.status, 200);
    let ready = app.get("/readyz").await;
    assert_eq!(ready.status, 200, "{}", ready.body);
    let parts = ready.body["parts"].as_object().unwrap();
    assert!(parts.values().all(|part| part == "ok"), "{parts:?}");
    for part in [
        "database",
        "sequencer",
        "projection:catalog",
        "projection:jobs",
    ] {
        assert!(parts.contains_key(part), "{part}");
    }
}

#[tokio::test]
async fn health_has_the_task_schedulers_body_with_true_readings() {
    let app = App::start().await;
    app.register(native("say", "echo")).await;
    app.run("say", json!({"a": 1})).await;
    let health = app.get("/health").await;
    assert_eq!(health.status, 200, "{}", health.body);
    let metrics = &health.body["metrics"];
    assert!(metrics["memory_usage"].as_f64().unwrap() > 0.0);
    assert!(metrics["cpu_usage"].is_number());
    assert!(metrics["disk_usage"].is_number());
    let scheduler = &metrics["scheduler"];
    assert_eq!(scheduler["healthy"], true);
    assert_eq!(scheduler["active_jobs"], 0);
    assert_eq!(scheduler["failed_jobs"], 0);
    let last = scheduler["last_successful_execution"].as_str().unwrap();
    assert!(last.ends_with('Z'), "{last}");
    assert!(health.body["timestamp"].as_str().unwrap().ends_with('Z'));
    assert!(["healthy", "degraded"].contains(&health.body["status"].as_str().unwrap()));
}

#[tokio::test]
async fn metrics_tell_of_what_happened() {
    let app = App::start().await;
    app.register(native("say", "echo")).await;
    app.run("say", json!({})).await;
    let metrics = app.get("/metrics").await;
    let text = metrics.body.as_str().unwrap();
    for line in [
        "toolroom_http_request_seconds_count{method=\"POST\",route=\"/graphql\",status=\"200\"} 2",
        "toolroom_command_seconds_count{aggregate=\"tool\"} 1",
        "toolroom_follower_lag_events{follower=\"catalog\"}",
        "toolroom_horizon_age_seconds",
        "toolroom_pool_connections{pool=\"reads\",state=\"used\"}",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}
