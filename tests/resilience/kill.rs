//! Nodes that die.

use serde_json::json;

use crate::support::{Answering, App, native};

#[tokio::test]
async fn a_killed_node_loses_no_job() {
    let mut app = App::start_with(&[("TOOLROOM_EGRESS_ALLOW", "127.0.0.1")]).await;
    let endpoint = Answering::never().await;
    app.register(json!({"name": "slow", "description": "never answers", "policy": {"timeoutMs": 1000, "maxAttempts": 1}, "external": {
        "endpointUrl": endpoint.url, "inputSchema": {"type": "object"}, "idempotencyHeader": "Idempotency-Key"}})).await;
    let id = app.submit("slow", json!({})).await;
    endpoint.called().await;
    let owner = app.owner().await;
    let known = async {
        let running = "select exists (select from projections.queue where running)";
        while !sqlx::query_scalar::<_, bool>(running)
            .fetch_one(&owner)
            .await
            .unwrap()
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, known)
        .await
        .expect("the queue knows that it runs");
    app.kill9().await;
    // the dead node's lease would run out by itself; the test does not wait that long
    sqlx::query(
        "update projections.queue set lease_until = clock_timestamp() - interval '1 second'",
    )
    .execute(&owner)
    .await
    .unwrap();
    sqlx::query("delete from operational.leases")
        .execute(&owner)
        .await
        .unwrap();
    owner.close().await;
    let other = app.another_node().await;
    endpoint.called().await;
    let job = other.ended(&id).await;
    assert_eq!(job["attempts"].as_array().unwrap().len(), 2, "{job}");
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_kill_9() {
    let mut app = App::start().await;
    app.register(native("say", "echo")).await;
    let mut jobs = Vec::new();
    for i in 0..20 {
        jobs.push(
            app.run("say", json!({"i": i})).await["id"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    app.kill9().await;
    let again = app.another_node().await;
    for (i, id) in jobs.iter().enumerate() {
        assert_eq!(again.job(id).await["output"], json!({"i": i}));
    }
}

#[tokio::test]
async fn an_orderly_stop_hands_a_running_job_on_at_once() {
    let mut app = App::start_with(&[
        ("TOOLROOM_EGRESS_ALLOW", "127.0.0.1"),
        ("TOOLROOM_WORKER_GRACE_MS", "100"),
    ])
    .await;
    let endpoint = Answering::never().await;
    app.register(
        json!({"name": "slow", "description": "never answers", "external": {
        "endpointUrl": endpoint.url, "inputSchema": {"type": "object"}, "idempotencyHeader": "Idempotency-Key"}}),
    )
    .await;
    app.submit("slow", json!({})).await;
    endpoint.called().await;
    assert_eq!(app.stop().await, Some(0));
    let _other = app.another_node().await;
    endpoint.called().await;
    assert_eq!(endpoint.calls(), 2);
}
