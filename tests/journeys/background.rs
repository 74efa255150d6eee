//! Jobs that nobody waits for.

use serde_json::json;

use crate::support::{Answering, App, native, people::seconds};

#[tokio::test]
async fn a_submitted_job_is_run() {
    let app = App::start().await;
    app.register(native("say", "echo")).await;
    let id = app.submit("say", json!({"a": 1})).await;
    let job = app.ended(&id).await;
    assert_eq!(job["status"], "COMPLETED", "{job}");
    assert_eq!(job["output"], json!({"a": 1}));
}

#[tokio::test]
async fn a_running_call_is_aborted_when_its_job_is_cancelled() {
    let app = App::start_with(&[("TOOLROOM_EGRESS_ALLOW", "127.0.0.1")]).await;
    let endpoint = Answering::never().await;
    app.register(
        json!({"name": "slow", "description": "never answers", "external": {
        "endpointUrl": endpoint.url, "inputSchema": {"type": "object"}}}),
    )
    .await;
    let id = app.submit("slow", json!({})).await;
    endpoint.called().await;
    let cancel = "mutation($id: ID!) { cancelJob(id: $id) { status } }";
    for _ in 0..2 {
        let job = app.data(cancel, json!({"id": id})).await;
        assert_eq!(job["cancelJob"]["status"], "CANCELLED");
    }
    assert_eq!(app.ended(&id).await["status"], "CANCELLED");
}

#[tokio::test]
async fn a_job_due_later_waits() {
    let app = App::start().await;
    app.register(native("say", "echo")).await;
    let submit = "mutation($at: DateTime!, $priority: Int) {
        submitJob(toolName: \"say\", input: {}, runAt: $at, priority: $priority) { id status } }";
    let day = |n: i64| {
        jiff::Timestamp::from_second(seconds(n * 86_400))
            .unwrap()
            .to_string()
    };
    let job = app
        .data(submit, json!({"at": day(365), "priority": 100}))
        .await;
    for wrong in [
        json!({"at": day(367)}),
        json!({"at": day(1), "priority": 101}),
    ] {
        assert_eq!(app.refusal(submit, wrong).await, "VALIDATION_FAILED");
    }
    assert_eq!(job["submitJob"]["status"], "PENDING");
    let other = app.submit("say", json!({})).await;
    app.ended(&other).await;
    let id = job["submitJob"]["id"].as_str().unwrap();
    assert_eq!(app.job(id).await["status"], "PENDING");
}

#[tokio::test]
async fn a_failed_job_can_be_retried_and_any_job_rerun() {
    let app = App::start().await;
    app.register(native("calc", "math.evaluate")).await;
    let failed = app.run("calc", json!({"expression": "1/"})).await;
    assert_eq!(failed["status"], "FAILED", "{failed}");
    let id = failed["id"].as_str().unwrap();
    app.data(
        "mutation($id: ID!) { retryJob(id: $id) { status } }",
        json!({"id": id}),
    )
    .await;
    let retried = app.ended(id).await;
    assert_eq!(retried["status"], "FAILED");
    assert_eq!(retried["attempts"].as_array().unwrap().len(), 2);
    let rerun = app
        .data(
            "mutation($id: ID!) { rerunJob(id: $id) { id } }",
            json!({"id": id}),
        )
        .await;
    let rerun = rerun["rerunJob"]["id"].as_str().unwrap().to_owned();
    assert_ne!(rerun, id);
    assert_eq!(
        app.ended(&rerun).await["input"],
        json!({"expression": "1/"})
    );
}
