//! Jobs: run, failed, submitted, cancelled, run again.

use serde_json::json;

use crate::support::App;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_answered_whole_and_can_be_read_at_once() {
    let app = App::start().await;
    app.register("echo").await;
    let job = app.run("echo", json!({ "text": "hi" })).await;
    assert_eq!(job["status"], "COMPLETED");
    assert_eq!(job["output"], json!({ "text": "hi" }));
    let read = app
        .ask(
            "query ($id: ID!) {
                job(id: $id) { input output lastEvent tool { name } executionTimeMs
                    progress { total completed } receipts { url } logs { nodes { message } } }
                jobs(filter: { status: [COMPLETED], toolId: \"echo\" }) { totalCount nodes { id } }
            }",
            json!({ "id": job["id"] }),
        )
        .await;
    assert_eq!(read["job"]["output"], json!({ "text": "hi" }));
    assert_eq!(read["job"]["lastEvent"], job["lastEvent"]);
    assert_eq!(read["job"]["tool"]["name"], "echo");
    assert_eq!(read["job"]["executionTimeMs"], 1.5);
    assert_eq!(read["jobs"]["totalCount"], 1);
    assert_eq!(read["jobs"]["nodes"][0]["id"], job["id"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_fails_is_a_job_that_failed() {
    let app = App::start().await;
    app.register("echo").await;
    let job = app.run("echo", json!({ "fail": true })).await;
    assert_eq!(job["status"], "FAILED");
    assert_eq!(job["error"]["code"], "TOOL_FAILED");
    assert_eq!(job["error"]["details"], json!({ "fail": true }));
    let health = app
        .ask("{ tool(name: \"echo\") { isActive } }", json!({}))
        .await;
    assert_eq!(health["tool"]["isActive"], true);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_run_is_its_first_job() {
    let app = App::start().await;
    app.register("echo").await;
    let run = "mutation ($n: Int!) {
        executeTool(toolName: \"echo\", input: { n: $n }, commandId: \"run-1\") { id output }
    }";
    let run = run
        .replace("{ n: $n }", "$n")
        .replace("$n: Int!", "$n: JSON!");
    let first = app.ask(&run, json!({ "n": { "n": 1 } })).await;
    let again = app.ask(&run, json!({ "n": { "n": 1 } })).await;
    assert_eq!(first, again);
    let other = app.refusal(&run, json!({ "n": { "n": 2 } })).await;
    assert_eq!(other["code"], "IDEMPOTENCY_CONFLICT");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submitted_job_is_cancelled_and_run_again() {
    let app = App::start().await;
    app.register("echo").await;
    let submitted = app
        .ask(
            "mutation { submitJob(toolName: \"echo\", input: { a: 1 }, priority: 3) { id status } }",
            json!({}),
        )
        .await;
    let id = &submitted["submitJob"]["id"];
    assert_eq!(submitted["submitJob"]["status"], "PENDING");
    let cancel = "mutation ($id: ID!) { cancelJob(id: $id) { status } }";
    for _ in 0..2 {
        let cancelled = app.ask(cancel, json!({ "id": id })).await;
        assert_eq!(cancelled["cancelJob"]["status"], "CANCELLED");
    }
    let retry = "mutation ($id: ID!) { retryJob(id: $id) { status } }";
    let refused = app.refusal(retry, json!({ "id": id })).await;
    assert_eq!(refused["code"], "CONFLICT");
    assert_eq!(&refused["jobId"], id);
    let again = app
        .ask(
            "mutation ($id: ID!) { rerunJob(id: $id) { id status input toolVersion } }",
            json!({ "id": id }),
        )
        .await;
    assert_ne!(&again["rerunJob"]["id"], id);
    assert_eq!(again["rerunJob"]["input"], json!({ "a": 1 }));
    assert_eq!(again["rerunJob"]["status"], "PENDING");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_jobs_are_submitted_at_once_and_no_more_when_said_twice() {
    let app = App::start().await;
    app.register("echo").await;
    let submit = "mutation ($jobs: [SubmitJobInput!]!) {
        submitJobs(jobs: $jobs, commandId: \"nightly\") { id status input }
    }";
    let jobs: Vec<_> = (0..30)
        .map(|n| json!({ "toolName": "echo", "input": { "n": n } }))
        .collect();
    let first = app.ask(submit, json!({ "jobs": jobs })).await;
    let submitted = first["submitJobs"].as_array().unwrap();
    for (n, job) in submitted.iter().enumerate() {
        assert_eq!(job["input"], json!({ "n": n }));
        assert_eq!(job["status"], "PENDING");
    }
    let again = app.ask(submit, json!({ "jobs": jobs })).await;
    assert_eq!(first, again);
    let all = app
        .ask("{ jobs(first: 100) { totalCount } }", json!({}))
        .await;
    assert_eq!(all["jobs"]["totalCount"], 30);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_jobs_none_is_submitted_when_one_is_not_accepted() {
    let app = App::start().await;
    app.register("echo").await;
    let submit = "mutation ($jobs: [SubmitJobInput!]!) { submitJobs(jobs: $jobs) { id } }";
    let good = json!({ "toolName": "echo", "input": {} });
    let bad = json!({ "toolName": "echo", "input": [] });
    let jobs = json!({ "jobs": [good, bad] });
    let refused = app.refusal(submit, jobs).await;
    assert_eq!(refused["code"], "VALIDATION_FAILED");
    assert_eq!(refused["details"][0]["path"], "jobs.1.input");
    let unknown = json!({ "toolName": "nobody", "input": {} });
    let refused = app
        .refusal(submit, json!({ "jobs": [good, unknown] }))
        .await;
    assert_eq!(refused["code"], "NOT_FOUND");
    let late = json!({ "toolName": "echo", "input": {}, "priority": 101 });
    let refused = app.refusal(submit, json!({ "jobs": [good, late] })).await;
    assert_eq!(refused["details"][0]["path"], "jobs.1.priority");
    for jobs in [vec![], vec![good; 501]] {
        let refused = app.refusal(submit, json!({ "jobs": jobs })).await;
        assert_eq!(refused["code"], "VALIDATION_FAILED");
    }
    let all = app.ask("{ jobs { totalCount } }", json!({})).await;
    assert_eq!(all["jobs"]["totalCount"], 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_is_retried() {
    let app = App::start().await;
    app.register("echo").await;
    let job = app.run("echo", json!({ "fail": true })).await;
    let retried = app
        .ask(
            "mutation ($id: ID!) { retryJob(id: $id) { id status error { code } } }",
            json!({ "id": job["id"] }),
        )
        .await;
    assert_eq!(
        retried["retryJob"],
        json!({ "id": job["id"], "status": "PENDING", "error": null })
    );
    app.stop().await;
}

#[tokio::test]
async fn what_a_run_wrote_and_how_it_exited_comes_before_what_follows_from_its_end() {
    let app = App::start().await;
    app.register("say").await;
    let query = "mutation ($i: JSON!) { executeTool(toolName: \"say\", input: $i) {
        stdout stderr exitCode } }";
    let writes = json!({"writes": {"stdout": "some", "stderr": "odd"}, "exits": 3});
    for fails in [false, true] {
        let mut input = writes.clone();
        input["fail"] = json!(fails);
        let run = app.ask(query, json!({ "i": input })).await["executeTool"].take();
        assert_eq!(
            run,
            json!({"stdout": "some", "stderr": "odd", "exitCode": 3})
        );
    }
    let failed = app.ask(query, json!({"i": {"fail": true}})).await["executeTool"].take();
    assert_eq!(
        failed,
        json!({"stdout": null, "stderr": "told to fail", "exitCode": 1})
    );
    let waits = "mutation { submitJob(toolName: \"say\", input: {}) { stdout stderr exitCode } }";
    let waits = app.ask(waits, json!({})).await["submitJob"].take();
    assert_eq!(
        waits,
        json!({"stdout": null, "stderr": null, "exitCode": null})
    );
}
