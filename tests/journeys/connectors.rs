//! Tools of services that a connector describes.

use serde_json::{Value, json};
use sqlx::Row as _;

use crate::support::{Answering, App};

const TOKEN: &str = "token-4711-sesame";

const REGISTER: &str = "mutation ($i: RegisterToolInput!, $c: String) {
    registerTool(input: $i, commandId: $c) { id name kind type version config
        actions { id actionType } inputSchema functionSpec } }";
const EXECUTE: &str = "mutation ($t: String, $a: String, $i: JSON!, $test: Boolean) {
    executeTool(toolName: $t, action: $a, input: $i, isTest: $test) {
        id status action output error { code category message } } }";
const TEST: &str = "mutation ($t: ID!) { testConnection(toolId: $t) { success message details } }";

fn local() -> [(&'static str, &'static str); 1] {
    [("TOOLROOM_EGRESS_ALLOW", "127.0.0.1")]
}

async fn register(app: &App, name: &str, credentials: Value) -> Value {
    let input = json!({
        "name": name, "description": "Calls a server.",
        "connector": { "type": "http", "credentials": credentials },
    });
    let registered = app.data(REGISTER, json!({ "i": input, "c": name })).await;
    let again = app.data(REGISTER, json!({ "i": input, "c": name })).await;
    assert_eq!(registered, again);
    registered["registerTool"].clone()
}

async fn execute(app: &App, tool: &str, input: Value, test: bool) -> Value {
    let variables = json!({ "t": tool, "a": "request", "i": input, "test": test });
    app.data(EXECUTE, variables).await["executeTool"].clone()
}

/// All that the log and the read models hold, as text.
async fn everything(app: &App) -> String {
    let pool = app.owner().await;
    let rows = sqlx::query(
        "select string_agg(t, ' ') as all from (
             select payload::text || metadata::text as t from events
             union all select definition::text from projections.tool_versions
             union all select data::text from vault where data is not null
         ) x",
    );
    rows.fetch_one(&pool).await.unwrap().get("all")
}

#[tokio::test]
async fn a_connectors_tool_is_registered_run_and_shown_without_its_secrets() {
    let app = App::start_with(&local()).await;
    let server = Answering::with(json!({"echo": TOKEN, "n": 1})).await;
    let credentials = json!({"baseUrl": server.url, "bearerToken": TOKEN});
    let tool = register(&app, "api", credentials).await;
    assert_eq!(
        (&tool["kind"], &tool["type"]),
        (&json!("CONNECTOR"), &json!("HTTP"))
    );
    assert_eq!(
        tool["config"],
        json!({"type": "HTTP", "config": null,
            "credentials": {"baseUrl": server.url, "bearerToken": "***"}})
    );
    assert_eq!(
        tool["actions"],
        json!([{"id": "http.request", "actionType": "QUERY"}])
    );
    assert_eq!(
        tool["functionSpec"]["function"]["parameters"],
        tool["inputSchema"]
    );

    let job = execute(&app, "api", json!({"path": "items/1"}), false).await;
    assert_eq!(job["status"], "COMPLETED", "{job}");
    assert_eq!(job["action"], "http.request");
    assert_eq!(job["output"]["body"], json!({"echo": "***", "n": 1}));
    let rehearsed = execute(&app, "api", json!({"path": "x", "method": "POST"}), true).await;
    assert_eq!(rehearsed["output"]["sent"], false, "{rehearsed}");
    let headers = &rehearsed["output"]["request"]["headers"];
    assert_eq!(headers["authorization"], "Bearer ***");
    assert_eq!(server.calls(), 1);

    let tested = app.data(TEST, json!({ "t": tool["id"] })).await;
    assert_eq!(tested["testConnection"]["success"], true, "{tested}");
    assert_eq!(
        tested["testConnection"]["message"],
        "the server answers 200"
    );
    assert_eq!(server.calls(), 2);
    assert!(!everything(&app).await.contains(TOKEN));
}

#[tokio::test]
async fn a_change_keeps_what_is_masked_and_replaces_the_rest_for_good() {
    let app = App::start_with(&local()).await;
    let (first, second) = (
        Answering::with(json!({"from": "first"})).await,
        Answering::with(json!({"from": "second"})).await,
    );
    let tool = register(
        &app,
        "api",
        json!({"baseUrl": first.url, "bearerToken": TOKEN}),
    )
    .await;
    let update = "mutation ($id: ID!, $i: UpdateToolInput!) {
        updateTool(id: $id, input: $i) { version config } }";
    let moved = |credentials: Value| {
        let connector = json!({"type": "HTTP", "credentials": credentials});
        json!({ "id": tool["id"], "i": { "connector": connector } })
    };
    let changed = moved(json!({"baseUrl": second.url, "bearerToken": "***"}));
    let changed = app.data(update, changed).await;
    assert_eq!(changed["updateTool"]["version"], 2);
    let job = execute(&app, "api", json!({"path": "x"}), false).await;
    assert_eq!(job["output"]["body"], json!({"from": "second"}), "{job}");

    // The address of then is not that of the secret of now: it is not sent there.
    let old = "mutation { executeTool(toolName: \"api\", toolVersion: 1, input: {path: \"x\"}) {
        status error { category message } } }";
    let old = app.data(old, json!({})).await["executeTool"].clone();
    assert_eq!(old["error"]["category"], "AUTHENTICATION", "{old}");
    assert!(
        old["error"]["message"]
            .as_str()
            .unwrap()
            .contains("`baseUrl`"),
        "{old}"
    );
    assert_eq!(first.calls(), 0);

    // A new secret alone is a new version, too.
    let renewed = moved(json!({"baseUrl": second.url, "bearerToken": "another-token"}));
    assert_eq!(app.data(update, renewed).await["updateTool"]["version"], 3);
    let masked = moved(json!({"baseUrl": second.url, "headerName": "X-Key", "headerValue": "***"}));
    assert_eq!(app.refusal(update, masked).await, "VALIDATION_FAILED");
    let rows: i64 = sqlx::query_scalar("select count(*) from vault where kind = 'credentials'")
        .fetch_one(&app.owner().await)
        .await
        .unwrap();
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_connectors_tool_is_told_by_field() {
    let app = App::start_with(&local()).await;
    let refused = |connector: Value| {
        let input = json!({"name": "api", "description": "d", "connector": connector});
        json!({ "i": input })
    };
    for (connector, path) in [
        (
            json!({"type": "NOWHERE", "credentials": {}}),
            "input.connector.type",
        ),
        (
            json!({"type": "HTTP", "credentials": {"bearerTokn": "x"}}),
            "input.connector.credentials.bearerTokn",
        ),
        (
            json!({"type": "HTTP", "credentials": {}, "config": {"a": 1}}),
            "input.connector.config",
        ),
    ] {
        let answer = app.graphql(REGISTER, refused(connector)).await;
        let details = &answer.body["errors"][0]["extensions"]["details"];
        assert_eq!(details[0]["path"], path, "{}", answer.body);
    }
    register(&app, "api", json!({})).await;
    let wrong = json!({ "t": "api", "a": "http.reqest", "i": {} });
    let answer = app.graphql(EXECUTE, wrong).await;
    let extensions = &answer.body["errors"][0]["extensions"];
    assert_eq!(
        extensions["candidates"],
        json!(["http.request"]),
        "{}",
        answer.body
    );
    let wrong = json!({ "t": "api", "i": { "method": "SEND" } });
    let answer = app.graphql(EXECUTE, wrong).await;
    let details = &answer.body["errors"][0]["extensions"]["details"];
    assert_eq!(details[0]["path"], "input.method", "{}", answer.body);
}

#[tokio::test]
async fn connectors_are_listed_and_tools_found_by_their_type_in_any_case() {
    let app = App::start().await;
    let all = app
        .data(
            "{ connectors { type name credentialsSchema actions { id inputSchema } } }",
            json!({}),
        )
        .await;
    let http = all["connectors"].as_array().unwrap().iter();
    let http = http.clone().find(|c| c["type"] == "HTTP").unwrap();
    let secret = &http["credentialsSchema"]["properties"]["bearerToken"];
    assert_eq!(secret["writeOnly"], true);
    register(&app, "api", json!({})).await;
    for (kind, count) in [("http", 1), ("Http", 1), ("SLACK", 0), ("connector", 0)] {
        let list = "query ($t: String) { tools(filter: { type: $t }) { totalCount } }";
        let found = app.data(list, json!({ "t": kind })).await;
        assert_eq!(found["tools"]["totalCount"], count, "{kind}");
    }
    let tested = app.data(TEST, json!({ "t": "api" })).await;
    let message = tested["testConnection"]["message"].as_str().unwrap();
    assert!(message.contains("nothing was sent"), "{message}");
}
