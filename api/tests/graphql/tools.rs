//! Tools: registered, found, changed, seen as they were.

use serde_json::json;

use crate::support::App;

const UPDATE: &str =
    "mutation ($id: ID!, $input: UpdateToolInput!, $expected: Int, $command: String) {
    updateTool(id: $id, input: $input, expectedVersion: $expected, commandId: $command) {
        name title version policy { timeoutMs maxAttempts } tags isActive
    }
}";

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_tool_is_found_by_id_number_and_name() {
    let app = App::start().await;
    let tool = app.register("echo").await;
    assert_eq!(tool["version"], 1);
    for text in [
        &tool["id"],
        &json!(tool["number"].to_string()),
        &json!("echo"),
    ] {
        let found = app
            .ask(
                "query ($id: ID!) { tool(id: $id) { id } }",
                json!({ "id": text }),
            )
            .await;
        assert_eq!(found["tool"]["id"], tool["id"], "{text}");
    }
    let none = app.ask("{ tool(name: \"ecko\") { id } }", json!({})).await;
    assert!(none["tool"].is_null());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_tool_suggests_the_nearest() {
    let app = App::start().await;
    app.register("format_text").await;
    let refusal = app
        .refusal(
            "mutation { executeTool(toolName: \"fromat_text\", input: {}) { id } }",
            json!({}),
        )
        .await;
    assert_eq!(refusal["code"], "NOT_FOUND");
    assert_eq!(refusal["candidates"], json!(["format_text"]));
    assert_eq!(refusal["requestId"], "request-1");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_is_unchanged_and_null_is_cleared() {
    let app = App::start().await;
    let tool = app.register("echo").await;
    let change = json!({ "title": "Echo", "tags": ["a"], "policy": { "timeoutMs": 500 } });
    let first = app
        .ask(UPDATE, json!({ "id": tool["id"], "input": change }))
        .await;
    assert_eq!(
        first["updateTool"],
        json!({ "name": "echo", "title": "Echo", "version": 2, "tags": ["a"], "isActive": true,
                "policy": { "timeoutMs": 500, "maxAttempts": 3 } })
    );
    let change = json!({ "title": null, "policy": { "maxAttempts": 5 } });
    let second = app
        .ask(UPDATE, json!({ "id": tool["id"], "input": change }))
        .await;
    assert!(second["updateTool"]["title"].is_null());
    assert_eq!(second["updateTool"]["tags"], json!(["a"]));
    assert_eq!(
        second["updateTool"]["policy"],
        json!({ "timeoutMs": 500, "maxAttempts": 5 })
    );
    let refused = app
        .refusal(
            UPDATE,
            json!({ "id": tool["id"], "input": { "description": null } }),
        )
        .await;
    assert_eq!(refused["code"], "VALIDATION_FAILED");
    assert_eq!(refused["details"][0]["path"], "input.description");
    let stale = app
        .refusal(
            UPDATE,
            json!({ "id": tool["id"], "input": { "title": "x" }, "expected": 1 }),
        )
        .await;
    assert_eq!(stale["code"], "CONFLICT");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_command_changes_nothing_and_another_under_its_id_is_refused() {
    let app = App::start().await;
    let register = "mutation ($name: String!) {
        registerTool(commandId: \"once\", input: { name: $name, description: \"x\",
            native: { functionPath: \"echo\" } }) { id number }
    }";
    let first = app.ask(register, json!({ "name": "one" })).await;
    let again = app.ask(register, json!({ "name": "one" })).await;
    assert_eq!(first, again);
    let other = app.refusal(register, json!({ "name": "two" })).await;
    assert_eq!(other["code"], "IDEMPOTENCY_CONFLICT");
    // The repetition drew no number.
    let next = app.register("three").await;
    assert_eq!(next["number"], 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_is_shown_as_it_stood() {
    let app = App::start().await;
    let tool = app.register("before").await;
    let head = app
        .ask("{ logHead { loggedAt position } }", json!({}))
        .await;
    let time = &head["logHead"]["loggedAt"];
    app.ask(
        UPDATE,
        json!({ "id": tool["id"], "input": { "name": "after" } }),
    )
    .await;
    app.register("later").await;
    let past = app
        .ask(
            "query ($at: DateTime!) {
                tools(asOf: $at) { totalCount nodes { name } }
                tool(name: \"before\", asOf: $at) { name }
            }",
            json!({ "at": time }),
        )
        .await;
    assert_eq!(
        past,
        json!({ "tools": { "totalCount": 1, "nodes": [{ "name": "before" }] },
                "tool": { "name": "before" } })
    );
    let now = app.ask("{ tools { nodes { name } } }", json!({})).await;
    assert_eq!(
        now["tools"]["nodes"],
        json!([{ "name": "after" }, { "name": "later" }])
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_tool_does_not_run_and_comes_back_by_restoring() {
    let app = App::start().await;
    let tool = app.register("echo").await;
    app.run("echo", json!({})).await;
    app.ask(
        "mutation ($id: ID!) { deleteTool(id: $id) { isDeleted } }",
        json!({ "id": tool["id"] }),
    )
    .await;
    let run = "mutation ($id: ID!) { executeTool(toolId: $id, input: {}) { id } }";
    let refused = app.refusal(run, json!({ "id": tool["id"] })).await;
    assert_eq!(refused["code"], "CONFLICT");
    let refused = app.refusal(run, json!({ "id": "echo" })).await;
    assert_eq!(refused["code"], "NOT_FOUND");
    let restored = app
        .ask(
            "mutation ($id: ID!) { restoreToolVersion(id: $id, version: 1) { isDeleted version } }",
            json!({ "id": tool["id"] }),
        )
        .await;
    assert_eq!(
        restored["restoreToolVersion"],
        json!({ "isDeleted": false, "version": 1 })
    );
    app.run("echo", json!({})).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_runs_what_the_tool_does_since_its_last_change() {
    let app = App::start().await;
    let tool = app.register("echo").await;
    assert_eq!(app.run("echo", json!({})).await["toolVersion"], 1);
    for version in 2..10 {
        let change = json!({ "policy": { "timeoutMs": version * 100 } });
        app.ask(UPDATE, json!({ "id": tool["id"], "input": change }))
            .await;
        assert_eq!(app.run("echo", json!({})).await["toolVersion"], version);
    }
    let off = "mutation ($id: ID!) { setToolActive(id: $id, active: false) { isActive } }";
    app.ask(off, json!({ "id": tool["id"] })).await;
    let refused = app
        .refusal(
            "mutation { executeTool(toolName: \"echo\", input: {}) { id } }",
            json!({}),
        )
        .await;
    assert_eq!(refused["code"], "CONFLICT");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_reads_on_and_is_bound_to_its_filter() {
    let app = App::start().await;
    for name in ["a", "b", "c"] {
        app.register(name).await;
    }
    let query = "query ($after: String, $filter: ToolFilter) {
        tools(first: 2, after: $after, filter: $filter) {
            edges { cursor node { name } } pageInfo { hasNextPage hasPreviousPage endCursor }
        }
    }";
    let first = app.ask(query, json!({})).await;
    let end = &first["tools"]["pageInfo"]["endCursor"];
    assert_eq!(first["tools"]["pageInfo"]["hasNextPage"], true);
    let second = app.ask(query, json!({ "after": end })).await;
    assert_eq!(second["tools"]["edges"][0]["node"]["name"], "c");
    assert_eq!(second["tools"]["pageInfo"]["hasNextPage"], false);
    let variables = json!({ "after": end, "filter": { "isActive": true } });
    let refused = app.refusal(query, variables).await;
    assert_eq!(refused["code"], "VALIDATION_FAILED");
    assert_eq!(refused["details"][0]["path"], "after");
    app.stop().await;
}
