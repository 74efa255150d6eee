//! What is watched: jobs as they change, the audit live and played back.

use serde_json::{Value, json};
use toolroom_api::service::follow::LONGEST_LAG;

use crate::support::App;

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_is_told_from_the_beginning_and_then_live() {
    let app = App::start().await;
    app.register("echo").await;
    let mut events =
        app.subscribe("subscription { auditEvents { position type previousHash hash payload } }");
    let first = events.next().await.unwrap()["auditEvents"].clone();
    assert_eq!(first["type"], "ToolRegistered");
    app.run("echo", json!({ "text": "hi" })).await;
    let mut previous = first;
    let mut types = Vec::new();
    for _ in 0..3 {
        let event = events.next().await.unwrap()["auditEvents"].clone();
        assert_eq!(event["previousHash"], previous["hash"]);
        if event["type"] == "JobRequested" {
            assert_eq!(event["payload"]["input"], json!({ "text": "hi" }));
        }
        types.push(event["type"].clone());
        previous = event;
    }
    assert_eq!(types, ["JobRequested", "JobStarted", "JobSucceeded"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_subscription_misses_nothing_and_repeats_nothing() {
    let app = App::start().await;
    app.register("echo").await;
    for n in 0..10 {
        app.run("echo", json!({ "n": n })).await;
    }
    let mut seen = Vec::new();
    let mut after = "0".to_owned();
    for _ in 0..6 {
        let query = format!("subscription {{ auditEvents(after: \"{after}\") {{ position }} }}");
        let mut events = app.subscribe(&query);
        for _ in 0..5 {
            let event = events.next().await.unwrap();
            after = event["auditEvents"]["position"]
                .as_str()
                .unwrap()
                .to_owned();
            seen.push(after.parse::<u64>().unwrap());
        }
    }
    assert_eq!(seen, (1..=30).collect::<Vec<_>>());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_played_back_and_ends() {
    let app = App::start().await;
    app.register("echo").await;
    app.run("echo", json!({})).await;
    let head = app.ask("{ logHead { loggedAt } }", json!({})).await;
    app.run("echo", json!({})).await;
    let to = head["logHead"]["loggedAt"].as_str().unwrap();
    let query = format!(
        "subscription {{ auditReplay(to: \"{to}\", speed: 1000, filter: {{ aggregateType: [\"job\"] }}) {{ type }} }}"
    );
    let mut events = app.subscribe(&query);
    let mut types = Vec::new();
    while let Some(event) = events.next().await {
        types.push(event["auditReplay"]["type"].clone());
    }
    assert_eq!(types, ["JobRequested", "JobStarted", "JobSucceeded"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_job_begins_with_its_state_and_ends_with_its_last() {
    let app = App::start().await;
    app.register("echo").await;
    let submitted = app
        .ask(
            "mutation { submitJob(toolName: \"echo\", input: {}) { id } }",
            json!({}),
        )
        .await;
    let id = submitted["submitJob"]["id"].as_str().unwrap().to_owned();
    let query = format!("subscription {{ jobProgress(jobId: \"{id}\") {{ status lastEvent }} }}");
    let mut changes = app.subscribe(&query);
    let first = changes.next().await.unwrap();
    assert_eq!(first["jobProgress"]["status"], "PENDING");
    let cancel = "mutation ($id: ID!) { cancelJob(id: $id) { id } }";
    app.ask(cancel, json!({ "id": id })).await;
    let last = changes.next().await.unwrap();
    assert_eq!(last["jobProgress"]["status"], "CANCELLED");
    assert_eq!(changes.next().await, None);
    // Resumed after the first change, only the second is told.
    let after = first["jobProgress"]["lastEvent"].as_str().unwrap();
    let query =
        format!("subscription {{ jobProgress(jobId: \"{id}\", after: \"{after}\") {{ status }} }}");
    let mut resumed = app.subscribe(&query);
    assert_eq!(
        resumed.next().await.unwrap()["jobProgress"]["status"],
        "CANCELLED"
    );
    assert_eq!(resumed.next().await, None);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_the_log_has_not_reached_is_refused() {
    let app = App::start().await;
    for query in [
        "subscription { auditEvents(after: \"7\") { position } }",
        "subscription { auditReplay(after: \"7\") { position } }",
        "subscription { jobChanged(after: \"7\") { id } }",
    ] {
        let refusal = app.subscribe(query).refusal().await;
        assert_eq!(refusal["code"], "VALIDATION_FAILED", "{query}");
        assert_eq!(refusal["details"][0]["path"], "after", "{query}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_matching_jobs_are_told() {
    let app = App::start().await;
    app.register("echo").await;
    app.register("other").await;
    let mut changes = app.subscribe(
        "subscription { jobChanged(after: \"0\", filter: { toolId: \"echo\" }) { id status } }",
    );
    app.run("other", json!({})).await;
    let job = app.run("echo", json!({})).await;
    let mut statuses: Vec<Value> = Vec::new();
    for _ in 0..3 {
        let change = changes.next().await.unwrap();
        assert_eq!(change["jobChanged"]["id"], job["id"]);
        statuses.push(change["jobChanged"]["status"].clone());
    }
    assert_eq!(statuses, ["PENDING", "RUNNING", "COMPLETED"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_falls_too_far_behind_is_told_to_resume() {
    let app = App::start().await;
    app.register("echo").await;
    let mut events = app.subscribe("subscription { auditEvents { position } }");
    let first = events.next().await.unwrap();
    assert_eq!(first["auditEvents"]["position"], "1");
    // It has come to the end, and waits.
    assert!(events.is_waiting().await);
    let owner = app.state.log.database.owner_pool().await.unwrap();
    sqlx::query(
        "insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version,
                             payload, metadata)
         select 'probe', 'probe', n, 'Probed', '1.0', '{}', e.metadata
         from generate_series(1, $1) n, events e",
    )
    .bind(LONGEST_LAG + 1)
    .execute(&owner)
    .await
    .unwrap();
    app.state.log.signals.announce_append();
    let mut head = app.state.log.feed.watch();
    head.wait_for(|head| *head > LONGEST_LAG + 1).await.unwrap();
    assert_eq!(events.refusal().await["code"], "RESUME_REQUIRED");
    let mut resumed = app.subscribe("subscription { auditEvents(after: \"1\") { position } }");
    let next = resumed.next().await.unwrap();
    assert_eq!(next["auditEvents"]["position"], "2");
    app.stop().await;
}
