//! The database goes away and comes back.

use serde_json::json;
use toolroom_eventlog::testing::TestCluster;

use crate::support::{App, PATIENCE, native};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_get_503_meanwhile_and_everything_resumes_by_itself() {
    let mut cluster = TestCluster::start().await;
    let app = App::start_on(cluster.connect_options()).await;
    app.register(native("say", "echo")).await;
    let before = app.run("say", json!({"n": 1})).await;
    cluster.kill9().await;

    let run = json!({"query": "mutation { executeTool(toolName: \"say\", input: {n: 2}) { id } }"});
    let away = app.post("/graphql", run).await;
    let code = &away.body["errors"][0]["extensions"]["code"];
    assert_eq!(code, "SERVICE_UNAVAILABLE", "{}", away.body);
    let rest = app.get("/tools").await;
    assert_eq!(rest.status, 503, "{}", rest.body);
    assert!(rest.headers.contains_key("retry-after"));
    assert_eq!(rest.body["code"], "SERVICE_UNAVAILABLE");
    assert_eq!(
        app.get("/livez").await.status,
        200,
        "the process itself is well"
    );
    assert_eq!(app.get("/readyz").await.status, 503);

    cluster.restart().await;
    let back = async {
        while app.get("/readyz").await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, back)
        .await
        .expect("the server is ready again by itself");
    let id = before["id"].as_str().unwrap();
    assert_eq!(
        app.job(id).await["output"],
        json!({"n": 1}),
        "nothing acknowledged is lost"
    );
    let after = app.run("say", json!({"n": 3})).await;
    assert_eq!(after["status"], "COMPLETED");
    let background = app.submit("say", json!({"n": 4})).await;
    assert_eq!(app.ended(&background).await["status"], "COMPLETED");
}
