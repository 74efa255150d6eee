//! Watching what happens.

use serde_json::{Value, json};

use crate::support::{App, Socket, native};

#[tokio::test]
async fn a_job_is_watched_from_its_request_to_its_end() {
    let app = App::start().await;
    app.register(native("say", "echo")).await;
    let id = app.submit("say", json!({})).await;
    let mut socket = Socket::connect(&app).await;
    let query = "subscription($id: ID!) { jobProgress(jobId: $id) { status lastEvent } }";
    socket.subscribe("1", query, json!({"id": id})).await;
    let mut seen = Vec::new();
    while let Some(change) = socket.next().await {
        seen.push(change["jobProgress"]["status"].as_str().unwrap().to_owned());
    }
    assert_eq!(
        seen.last().map(String::as_str),
        Some("COMPLETED"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn audit_events_come_in_order_from_the_first_to_the_live_ones_and_resume() {
    let app = App::start().await;
    app.register(native("say", "echo")).await;
    let mut socket = Socket::connect(&app).await;
    let query = "subscription($after: Position) { auditEvents(after: $after) { position type } }";
    socket.subscribe("1", query, json!({})).await;
    for expected in ["WorkspaceCreated", "ToolRegistered"] {
        let event = socket.next().await.unwrap();
        assert_eq!(event["auditEvents"]["type"], expected);
    }
    app.run("say", json!({})).await;
    let mut types = Vec::new();
    let mut last = Value::Null;
    for _ in 0..3 {
        let event = socket.next().await.unwrap();
        types.push(event["auditEvents"]["type"].as_str().unwrap().to_owned());
        last = event["auditEvents"]["position"].clone();
    }
    assert_eq!(types, ["JobRequested", "JobStarted", "JobSucceeded"]);
    let mut resumed = Socket::connect(&app).await;
    resumed.subscribe("1", query, json!({"after": last})).await;
    app.register(native("other", "echo")).await;
    assert_eq!(
        resumed.next().await.unwrap()["auditEvents"]["position"],
        "6"
    );
}

#[tokio::test]
async fn the_past_is_played_back_and_ends() {
    let app = App::start().await;
    app.register(native("say", "echo")).await;
    app.run("say", json!({"a": 1})).await;
    let mut socket = Socket::connect(&app).await;
    let query = "subscription { auditReplay(speed: 0) { type payload } }";
    socket.subscribe("1", query, json!({})).await;
    let mut events = Vec::new();
    while let Some(event) = socket.next().await {
        events.push(event["auditReplay"].clone());
    }
    let types: Vec<_> = events.iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(
        types,
        [
            "WorkspaceCreated",
            "ToolRegistered",
            "JobRequested",
            "JobStarted",
            "JobSucceeded"
        ]
    );
    assert_eq!(
        events[2]["payload"]["input"],
        json!({"a": 1}),
        "who may see it sees it decrypted"
    );
}
