//! Asking what was.

use serde_json::json;

use crate::support::{App, native};

#[tokio::test]
async fn the_catalogue_is_shown_as_it_stood() {
    let app = App::start().await;
    let tool = app.register(native("say", "echo")).await;
    let log = app.data("{ logHead { loggedAt } }", json!({})).await;
    let then = log["logHead"]["loggedAt"].clone();
    app.register(native("later", "echo")).await;
    app.data(
        "mutation($id: ID!) { deleteTool(id: $id) { isDeleted } }",
        json!({"id": tool["id"]}),
    )
    .await;
    let query = "query($at: DateTime) { tools(asOf: $at) { nodes { name } } }";
    assert_eq!(
        app.data(query, json!({"at": then})).await["tools"]["nodes"],
        json!([{"name": "say"}])
    );
    assert_eq!(
        app.data(query, json!({"at": null})).await["tools"]["nodes"],
        json!([{"name": "later"}])
    );
    let one = "query($at: DateTime) { tool(name: \"say\", asOf: $at) { name isDeleted } }";
    assert_eq!(
        app.data(one, json!({"at": then})).await["tool"]["isDeleted"],
        false
    );
}

#[tokio::test]
async fn statistics_follow_the_runs() {
    let app = App::start().await;
    app.register(native("calc", "math.evaluate")).await;
    app.run("calc", json!({"expression": "1+1"})).await;
    app.run("calc", json!({"expression": "1/"})).await;
    let head = app.data("{ logHead { position } }", json!({})).await["logHead"]["position"].clone();
    let request = app
        .http
        .post(format!("{}/graphql", app.url))
        .header("x-min-position", head.as_str().unwrap())
        .json(&json!({"query": "{ stats(period: HOUR, groupBy: TOOL) { runs succeeded failed p50Ms } }"}));
    let answer = crate::support::Answer::of(request).await;
    let bucket = &answer.body["data"]["stats"][0];
    assert_eq!(
        (
            bucket["runs"].clone(),
            bucket["succeeded"].clone(),
            bucket["failed"].clone()
        ),
        (json!(2), json!(1), json!(1)),
        "{}",
        answer.body
    );
}
