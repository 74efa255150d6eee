//! What is wrong is named, with its code and path, and leaves nothing half-written.

use serde_json::{Value, json};

use crate::support::{Answer, App, native};

const REGISTER: &str = "mutation($i: RegisterToolInput!) { registerTool(input: $i) { id } }";

/// The code and the paths of a refused registration.
async fn refused(app: &App, input: Value) -> (String, Vec<String>) {
    let answer = app.graphql(REGISTER, json!({"i": input})).await;
    let error = &answer.body["errors"][0];
    let paths = error["extensions"]["details"]
        .as_array()
        .map(|details| {
            details
                .iter()
                .filter_map(|d| d["path"].as_str().map(str::to_owned))
                .collect()
        })
        .unwrap_or_default();
    let code = error["extensions"]["code"].as_str();
    (
        code.unwrap_or_else(|| panic!("{}", answer.body)).to_owned(),
        paths,
    )
}

#[tokio::test]
async fn wrong_registrations_are_refused_and_leave_nothing() {
    let app = App::start().await;
    let echo = json!({"functionPath": "echo"});
    let schema = |schema: Value| json!({"name": "x", "description": "d", "external": {"endpointUrl": "https://example.com", "inputSchema": schema}});
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!({"properties": deep});
    }
    let cases = [
        (
            json!({"name": "n".repeat(10_000), "description": "d", "native": echo}),
            "input.name",
        ),
        (
            json!({"name": "bad\u{7}name", "description": "d", "native": echo}),
            "input.name",
        ),
        (
            json!({"name": "x", "description": "bell\u{7}", "native": echo}),
            "input.description",
        ),
        (
            json!({"name": "x", "description": "d", "native": {"functionPath": "no.such"}}),
            "input.native.functionPath",
        ),
        (
            schema(json!({"type": "no-such-type"})),
            "input.external.inputSchema",
        ),
        (schema(deep), "input.external.inputSchema"),
        (
            json!({"name": "x", "description": "d", "rest": {"api": {"base_url": "ftp://x"}, "input_schema": {}}}),
            "input.rest.api.base_url",
        ),
        (
            json!({"name": "x", "description": "d", "rest": {"api": {"base_url": "https://x", "metod": "GET"}, "input_schema": {}}}),
            "input.rest.api",
        ),
        (json!({"name": "x", "description": "d"}), "input"),
        (
            json!({"name": "x", "description": "d", "native": echo, "rest": {}}),
            "input",
        ),
    ];
    for (input, path) in cases {
        let (code, paths) = refused(&app, input.clone()).await;
        assert_eq!(code, "VALIDATION_FAILED", "{input}");
        assert!(
            paths.iter().any(|p| p.starts_with(path)),
            "{input}: {paths:?}"
        );
    }
    let head = app.data("{ logHead { position } }", json!({})).await;
    let only = "only the workspace itself was written";
    assert_eq!(head["logHead"]["position"], "1", "{only}");
}

#[tokio::test]
async fn broken_requests_get_a_clear_error_and_no_internals() {
    let app = App::start().await;
    app.register(native("say", "echo")).await;
    let send = |body: String| {
        app.http
            .post(format!("{}/graphql", app.url))
            .header("content-type", "application/json")
            .body(body)
    };
    let huge = format!("{{\"query\": \"{}\"}}", "x".repeat(10 * 1024 * 1024));
    assert_eq!(Answer::of(send(huge)).await.status, 413);
    let nested = format!(
        "{{\"query\": \"{{__typename}}\", \"variables\": {}1{}}}",
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    for body in [
        "{",
        "[]",
        "null",
        "{\"query\": 7}",
        "{\"qery\": \"{a}\"}",
        nested.as_str(),
    ] {
        let answer = Answer::of(send(body.to_owned())).await;
        assert_eq!(answer.status, 400, "{body:.40}: {}", answer.body);
        assert!(
            answer.body["errors"][0]["message"].is_string(),
            "{body:.40}: {}",
            answer.body
        );
    }
    for (query, variables) in [
        ("{ no_such_field }", json!({})),
        ("{ tools(first: \"many\") { totalCount } }", json!({})),
        ("{ tools(first: 100000) { totalCount } }", json!({})),
        ("{ tools(after: \"garbage\") { totalCount } }", json!({})),
        ("query($i: ID!) { job(id: $i) { id } }", json!({})),
        ("{ auditLog(after: \"x\") { totalCount } }", json!({})),
    ] {
        let answer = app.graphql(query, variables).await;
        let error = &answer.body["errors"][0];
        assert!(
            error["extensions"]["code"].is_string(),
            "{query}: {}",
            answer.body
        );
        let text = answer.body.to_string();
        assert!(
            !text.contains("sqlx") && !text.contains("panicked"),
            "{text}"
        );
    }
    assert_eq!(
        app.run("say", json!({"still": "well"})).await["status"],
        "COMPLETED"
    );
}

#[tokio::test]
async fn an_unknown_tool_is_named_with_its_neighbours() {
    let app = App::start().await;
    app.register(native("weather", "echo")).await;
    let query = "mutation { executeTool(toolName: \"wether\", input: {}) { id } }";
    let answer = app.graphql(query, json!({})).await;
    let error = &answer.body["errors"][0]["extensions"];
    assert_eq!(error["code"], "NOT_FOUND", "{}", answer.body);
    assert_eq!(error["candidates"], json!(["weather"]));
}
