//! What is refused: each with its code and path, and nothing half-written.

use serde_json::{Value, json};

use crate::support::App;

const REGISTER: &str =
    "mutation ($input: RegisterToolInput!) { registerTool(input: $input) { id } }";

fn native(name: &str) -> Value {
    json!({ "name": name, "description": "d", "native": { "functionPath": "echo" } })
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_field_is_named() {
    let app = App::start().await;
    let long = "x".repeat(10_000);
    let rest = |rest: Value| json!({ "name": "a", "description": "d", "rest": rest });
    let api = json!({ "base_url": "https://example.org" });
    for (input, path) in [
        (native(&long), "input.name"),
        (native("a b"), "input.name"),
        (
            json!({ "name": "a", "description": "\u{7}", "native": { "functionPath": "echo" } }),
            "input.description",
        ),
        (
            json!({ "name": "a", "description": "d", "native": { "functionPath": "no" } }),
            "input.native.functionPath",
        ),
        (json!({ "name": "a", "description": "d" }), "input"),
        (
            json!({ "name": "a", "description": "d", "python": { "code": "" } }),
            "input.python",
        ),
        (
            json!({ "name": "a", "description": "d", "connector": { "type": "SLACK", "credentials": {} } }),
            "input.connector.type",
        ),
        (
            json!({ "name": "a", "description": "d", "native": { "functionPath": "echo" }, "rest": {} }),
            "input",
        ),
        (
            json!({ "name": "a", "description": "d", "native": { "functionPath": "echo" }, "policy": { "timeoutMs": -1 } }),
            "input.policy.timeoutMs",
        ),
        (
            json!({ "name": "a", "description": "d", "native": { "functionPath": "echo" }, "policy": { "timeoutMs": 0 } }),
            "input.policy.timeoutMs",
        ),
        (
            json!({ "name": "a", "description": "d", "external": { "endpointUrl": "ftp://x", "inputSchema": {} } }),
            "input.external.endpointUrl",
        ),
        (
            json!({ "name": "a", "description": "d", "external": { "endpointUrl": "https://x", "inputSchema": 7 } }),
            "input.external.inputSchema",
        ),
        (
            rest(json!({ "api": { "base_url": 7 }, "input_schema": {} })),
            "input.rest.api.base_url",
        ),
        (
            rest(json!({ "api": { "base_uri": "https://x" }, "input_schema": {} })),
            "input.rest.api.base_uri",
        ),
        (
            rest(json!({ "api": api, "input_schema": 7 })),
            "input.rest.input_schema",
        ),
        (rest(json!([])), "input.rest"),
    ] {
        let refusal = app.refusal(REGISTER, json!({ "input": input })).await;
        assert_eq!(refusal["code"], "VALIDATION_FAILED", "{refusal}");
        assert_eq!(refusal["details"][0]["path"], path, "{refusal}");
    }
    let head = app.ask("{ logHead { position } }", json!({})).await;
    assert_eq!(head["logHead"]["position"], "0");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_the_schema_has_a_code() {
    let app = App::start().await;
    for (query, code) in [
        ("{ tools(", "INVALID_REQUEST"),
        ("{ nothing }", "INVALID_REQUEST"),
        ("{ tool(id: \"a\", colour: 1) { id } }", "INVALID_REQUEST"),
        (
            "{ tools(first: \"x\") { nodes { id } } }",
            "VALIDATION_FAILED",
        ),
        (
            "{ tools(first: 201) { nodes { id } } }",
            "VALIDATION_FAILED",
        ),
        (
            "{ tools(after: \"x\") { nodes { id } } }",
            "VALIDATION_FAILED",
        ),
        (
            "{ tools(asOf: \"yesterday\") { nodes { id } } }",
            "VALIDATION_FAILED",
        ),
        ("{ job(id: \"7\") { id } }", "VALIDATION_FAILED"),
        ("{ tool { id } }", "VALIDATION_FAILED"),
        (
            "{ auditEvent(position: \"-1\") { hash } }",
            "VALIDATION_FAILED",
        ),
        (
            "{ jobs(first: 200) { nodes { tool { versions(first: 200) { nodes { config } } } } } }",
            "INVALID_REQUEST",
        ),
        (
            "mutation { executeTool(toolName: \"x\", input: {}, timeoutMs: 300001) { id } }",
            "VALIDATION_FAILED",
        ),
        (
            "mutation { executeTool(toolName: \"x\", input: {}, commandId: \"\") { id } }",
            "VALIDATION_FAILED",
        ),
        (
            "mutation { cancelJob(id: \"job_00000000000000000000000000000007\") { id } }",
            "JOB_NOT_FOUND",
        ),
    ] {
        let refusal = app.refusal(query, json!({})).await;
        assert_eq!(refusal["code"], code, "{query}: {refusal}");
        assert_eq!(refusal["requestId"], "request-1", "{query}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_does_not_fit_is_refused_before_anything_runs() {
    let app = App::start().await;
    app.register("echo").await;
    let refusal = app
        .refusal(
            "mutation { executeTool(toolName: \"echo\", input: 7) { id } }",
            json!({}),
        )
        .await;
    assert_eq!(refusal["code"], "VALIDATION_FAILED");
    assert_eq!(refusal["details"][0]["path"], "input");
    let jobs = app.ask("{ jobs { totalCount } }", json!({})).await;
    assert_eq!(jobs["jobs"]["totalCount"], 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_introspection_by_graphiql_passes() {
    let app = App::start().await;
    let schema = app
        .ask(include_str!("introspection.graphql"), json!({}))
        .await;
    assert_eq!(schema["__schema"]["queryType"]["name"], "Query");
    app.stop().await;
}
