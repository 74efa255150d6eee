//! Register a tool, find it, run it.

use serde_json::json;

use crate::support::{Answering, App, native, rest};

#[tokio::test]
async fn a_native_tool_is_registered_found_and_run() {
    let app = App::start().await;
    let tool = app.register(native("shout", "text.format")).await;
    assert_eq!(
        (tool["number"].clone(), tool["version"].clone()),
        (json!(1), json!(1))
    );
    let found = app
        .data(
            "{ tools(search: \"shout\") { totalCount nodes { name type } } }",
            json!({}),
        )
        .await;
    assert_eq!(
        found["tools"],
        json!({"totalCount": 1, "nodes": [{"name": "shout", "type": "NATIVE"}]})
    );
    let job = app
        .run("shout", json!({"text": "hi", "style": "bold"}))
        .await;
    assert_eq!(job["status"], "COMPLETED", "{job}");
    assert_eq!(job["output"], "**hi**");
}

#[tokio::test]
async fn an_external_and_a_rest_tool_call_out() {
    let app = App::start_with(&[("TOOLROOM_EGRESS_ALLOW", "127.0.0.1")]).await;
    let endpoint = Answering::with(json!({"temperature": 21})).await;
    let external = json!({"name": "weather", "description": "tells the weather", "external": {
        "endpointUrl": endpoint.url, "inputSchema": {"type": "object"}}});
    app.register(external).await;
    app.register(rest(
        "weather-rest",
        json!({"base_url": endpoint.url, "method": "GET"}),
    ))
    .await;
    for tool in ["weather", "weather-rest"] {
        let job = app.run(tool, json!({"city": "Berlin"})).await;
        assert_eq!(job["output"], json!({"temperature": 21}), "{job}");
    }
    assert_eq!(endpoint.calls(), 2);
}

#[tokio::test]
async fn private_addresses_are_out_of_reach_unless_allowed() {
    let app = App::start().await;
    let endpoint = Answering::with(json!({})).await;
    app.register(
        json!({"name": "inside", "description": "reaches inside", "external": {
        "endpointUrl": endpoint.url, "inputSchema": {"type": "object"}}}),
    )
    .await;
    let job = app.run("inside", json!({})).await;
    assert_eq!(job["status"], "FAILED");
    assert_eq!(job["error"]["code"], "EGRESS_DENIED");
    assert_eq!(endpoint.calls(), 0);
}

#[tokio::test]
async fn a_wrong_input_is_refused_with_each_path_and_no_job() {
    let app = App::start().await;
    app.register(native("shout", "text.format")).await;
    let query = "mutation { executeTool(toolName: \"shout\", input: {text: 7}) { id } }";
    let answer = app.graphql(query, json!({})).await;
    let error = &answer.body["errors"][0]["extensions"];
    assert_eq!(error["code"], "VALIDATION_FAILED", "{}", answer.body);
    let paths: Vec<_> = error["details"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["path"].clone())
        .collect();
    assert!(paths.contains(&json!("input.text")), "{paths:?}");
    let jobs = app.data("{ jobs { totalCount } }", json!({})).await;
    assert_eq!(jobs["jobs"]["totalCount"], 0);
}

#[tokio::test]
async fn an_old_version_stays_runnable() {
    let app = App::start().await;
    let tool = app.register(native("say", "echo")).await;
    let update = "mutation($id: ID!, $i: UpdateToolInput!) { updateTool(id: $id, input: $i, expectedVersion: 1) { version } }";
    let change = json!({"id": tool["id"], "i": {"native": {"functionPath": "text.format"}}});
    assert_eq!(
        app.data(update, change.clone()).await["updateTool"]["version"],
        2
    );
    assert_eq!(
        app.refusal(
            update,
            json!({"id": tool["id"], "i": {"native": {"functionPath": "echo"}}})
        )
        .await,
        "CONFLICT"
    );
    let run = "mutation($v: Int) { executeTool(toolName: \"say\", toolVersion: $v, input: {a: 1}) { toolVersion status output } }";
    let old = app.data(run, json!({"v": 1})).await;
    assert_eq!(old["executeTool"]["toolVersion"], 1);
    assert_eq!(old["executeTool"]["output"], json!({"a": 1}));
    assert_eq!(
        app.refusal(run, json!({"v": null})).await,
        "VALIDATION_FAILED"
    );
}

#[tokio::test]
async fn the_same_command_sent_twice_counts_once() {
    let app = App::start().await;
    app.register(native("say", "echo")).await;
    let run = "mutation($i: JSON!) { executeTool(toolName: \"say\", input: $i, commandId: \"once\") { id output } }";
    let first = app.data(run, json!({"i": {"a": 1}})).await;
    let again = app.data(run, json!({"i": {"a": 1}})).await;
    assert_eq!(first, again);
    assert_eq!(
        app.refusal(run, json!({"i": {"a": 2}})).await,
        "IDEMPOTENCY_CONFLICT"
    );
    let jobs = app.data("{ jobs { totalCount } }", json!({})).await;
    assert_eq!(jobs["jobs"]["totalCount"], 1);
}
