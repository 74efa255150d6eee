//! What a job tells of itself: its log, its calls, its record.

use serde_json::{Value, json};

use crate::support::{Answering, App, Socket, native, people::seconds};

const LOGS: &str = "query($id: ID!, $first: Int, $after: String) {
    jobLogs(jobId: $id, first: $first, after: $after) {
        totalCount edges { cursor node { at level source message } } pageInfo { hasNextPage endCursor } } }";

fn messages(edges: &Value) -> Vec<String> {
    let edges = edges.as_array().expect("edges");
    let message = |edge: &Value| edge["node"]["message"].as_str().unwrap().to_owned();
    edges.iter().map(message).collect()
}

#[tokio::test]
async fn a_jobs_log_tells_what_was_done_and_decided_page_by_page_and_live() {
    let app = App::start_with(&[("TOOLROOM_EGRESS_ALLOW", "127.0.0.1")]).await;
    let endpoint = Answering::with_status(503, json!({"error": "overloaded"})).await;
    app.register(json!({
        "name": "call",
        "description": "calls an endpoint",
        "policy": {"maxAttempts": 2, "initialDelayMs": 20},
        "external": {
            "endpointUrl": endpoint.url,
            "inputSchema": {"type": "object"},
            "idempotencyHeader": "Idempotency-Key",
        },
    }))
    .await;
    let id = app.submit("call", json!({})).await;
    let mut socket = Socket::connect(&app).await;
    let live = "subscription($id: ID!) { jobLogAdded(jobId: $id) { cursor node { message } } }";
    socket.subscribe("1", live, json!({"id": id})).await;
    let mut told = Vec::new();
    let mut cursors = Vec::new();
    while let Some(next) = socket.next().await {
        told.push(
            next["jobLogAdded"]["node"]["message"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
        cursors.push(next["jobLogAdded"]["cursor"].clone());
    }
    let all = app.data(LOGS, json!({"id": id, "first": 100})).await["jobLogs"].clone();
    assert_eq!(messages(&all["edges"]), told);
    assert_eq!(all["totalCount"], told.len());
    let begins = |beginning: &str| {
        told.iter()
            .filter(|line| line.starts_with(beginning))
            .count()
    };
    assert_eq!(begins("attempt 1 started on "), 1, "{told:#?}");
    assert_eq!(begins("attempt 1 failed: "), 1, "{told:#?}");
    assert_eq!(begins("attempt 2 follows in 0.0 s"), 1, "{told:#?}");
    assert_eq!(begins("attempt 2 failed: "), 1, "{told:#?}");
    assert_eq!(
        begins(&format!("POST {} was answered 503", endpoint.url)),
        2,
        "{told:#?}"
    );
    // page by page, and from where the subscription was, it is the same
    let first = app.data(LOGS, json!({"id": id, "first": 2})).await["jobLogs"].clone();
    assert_eq!(first["pageInfo"]["hasNextPage"], true);
    let rest = json!({"id": id, "first": 100, "after": first["pageInfo"]["endCursor"]});
    let rest = app.data(LOGS, rest).await["jobLogs"].clone();
    let pages = [messages(&first["edges"]), messages(&rest["edges"])].concat();
    assert_eq!(pages, told);
    let after = json!({"id": id, "first": 100, "after": cursors[3]});
    let after = app.data(LOGS, after).await["jobLogs"].clone();
    assert_eq!(messages(&after["edges"]), told[4..]);
    let query =
        "query($id: ID!) { job(id: $id) { stdout exitCode attempts { number node error { code } }
        receipts { attempt idempotencyKey method status outcome repeatable } } }";
    let job = app.data(query, json!({"id": id})).await["job"].clone();
    assert_eq!(
        (&job["stdout"], &job["exitCode"]),
        (&Value::Null, &json!(1))
    );
    for attempt in 1..=2 {
        let receipt = &job["receipts"][attempt - 1];
        assert_eq!(
            *receipt,
            json!({"attempt": attempt, "idempotencyKey": id, "method": "POST", "status": 503,
                   "outcome": "ANSWERED", "repeatable": true})
        );
    }
}

#[tokio::test]
async fn a_job_is_answered_from_the_record_of_another_without_a_call() {
    let app = App::start_with(&[("TOOLROOM_EGRESS_ALLOW", "127.0.0.1")]).await;
    let endpoint = Answering::with(json!({"answer": 42})).await;
    app.register(
        json!({"name": "call", "description": "calls an endpoint", "external": {
        "endpointUrl": endpoint.url, "inputSchema": {"type": "object"}}}),
    )
    .await;
    app.register(native("calc", "math.evaluate")).await;
    let rerun = "mutation($id: ID!) { rerunJob(id: $id, recorded: true) { id } }";
    let past = app.run("call", json!({"a": 1})).await;
    let again = app.data(rerun, json!({"id": past["id"]})).await["rerunJob"]["id"].clone();
    let again = app.ended(again.as_str().unwrap()).await;
    assert_eq!(again["status"], "COMPLETED", "{again}");
    assert_eq!(again["output"], json!({"answer": 42}));
    assert_eq!(again["input"], json!({"a": 1}));
    assert_eq!(endpoint.calls(), 1);
    let failed = app.run("calc", json!({"expression": "1/"})).await;
    let again = app.data(rerun, json!({"id": failed["id"]})).await["rerunJob"]["id"].clone();
    let again = app.ended(again.as_str().unwrap()).await;
    assert_eq!(again["status"], "FAILED");
    assert_eq!(again["error"]["code"], failed["error"]["code"]);
    assert_eq!(again["error"]["message"], failed["error"]["message"]);
    let waits = "mutation($at: DateTime!) { submitJob(toolName: \"calc\", input: {expression: \"1\"}, runAt: $at) { id } }";
    let tomorrow = jiff::Timestamp::from_second(seconds(86_400)).unwrap();
    let waits = app.data(waits, json!({"at": tomorrow.to_string()})).await;
    let waits = waits["submitJob"]["id"].clone();
    assert_eq!(app.refusal(rerun, json!({"id": waits})).await, "CONFLICT");
}
