//! GraphQL over HTTP against the whole server: what a schema of its own cannot show.

use futures::StreamExt as _;
use serde_json::json;

use crate::support::{Answer, App, PATIENCE, native};

#[tokio::test]
async fn a_command_tells_its_position_and_a_read_can_ask_for_it() {
    let app = App::start().await;
    let register = "mutation($i: RegisterToolInput!) { registerTool(input: $i) { name } }";
    let answer = app
        .graphql(register, json!({"i": native("say", "echo")}))
        .await;
    let position = answer.headers["x-toolroom-position"].clone();
    let read = app
        .http
        .post(format!("{}/graphql", app.url))
        .header("x-min-position", &position);
    let read = Answer::of(read.json(&json!({"query": "{ tools { totalCount } }"}))).await;
    assert_eq!(read.body["data"]["tools"]["totalCount"], 1);
    let unreached = app
        .http
        .get(format!("{}/tools", app.url))
        .header("x-min-position", "999999");
    let unreached = Answer::of(unreached).await;
    assert_eq!(unreached.status, 503);
    assert!(unreached.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn an_idempotency_key_is_the_commands_id() {
    let app = App::start().await;
    app.register(native("say", "echo")).await;
    let run = "mutation { executeTool(toolName: \"say\", input: {a: 1}) { id } }";
    let send = async || {
        let request = app
            .http
            .post(format!("{}/graphql", app.url))
            .header("Idempotency-Key", "k");
        Answer::of(request.json(&json!({"query": run}))).await.body
    };
    assert_eq!(send().await, send().await);
}

#[tokio::test]
async fn introspection_passes_as_graphiql_sends_it() {
    let app = App::start().await;
    let query = "query IntrospectionQuery { __schema { queryType { name } mutationType { name }
        subscriptionType { name } types { ...FullType }
        directives { name description locations args { ...InputValue } } } }
        fragment FullType on __Type { kind name description
          fields(includeDeprecated: true) { name description args { ...InputValue }
            type { ...TypeRef } isDeprecated deprecationReason }
          inputFields { ...InputValue } interfaces { ...TypeRef }
          enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
          possibleTypes { ...TypeRef } }
        fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue }
        fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind
          name ofType { kind name ofType { kind name ofType { kind name ofType { kind name }
          } } } } } } }";
    let data = app.data(query, json!({})).await;
    assert_eq!(data["__schema"]["subscriptionType"]["name"], "Subscription");
}

#[tokio::test]
async fn an_event_stream_of_the_audit_resumes_by_the_last_event_id() {
    let app = App::start().await;
    for name in ["a", "b", "c"] {
        app.register(native(name, "echo")).await;
    }
    let query = "subscription { auditReplay { position type } }";
    let stream = async |last: Option<&str>| {
        let mut request = app
            .http
            .post(format!("{}/graphql", app.url))
            .header("accept", "text/event-stream")
            .json(&json!({ "query": query }));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let text = request.timeout(PATIENCE).send().await.unwrap().text();
        text.await.unwrap()
    };
    let whole = stream(None).await;
    let ids: Vec<_> = whole
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .collect();
    // The workspace itself, and the three tools.
    assert_eq!(ids.len(), 4, "{whole}");
    assert!(
        whole.ends_with("event: complete\ndata: null\n\n"),
        "{whole}"
    );
    let rest = stream(Some(ids[0])).await;
    let resumed: Vec<_> = rest
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .collect();
    assert_eq!(resumed, ids[1..]);
}

#[tokio::test]
async fn an_event_stream_of_a_job_begins_with_its_present_state() {
    let app = App::start().await;
    app.register(native("say", "echo")).await;
    let job = app.submit("say", json!({"a": 1})).await;
    let query = "subscription($id: ID!) { jobProgress(jobId: $id) { status lastEvent } }";
    let request = app
        .http
        .post(format!("{}/graphql", app.url))
        .header("accept", "text/event-stream")
        .json(&json!({"query": query, "variables": {"id": job}}));
    let response = request.timeout(PATIENCE).send().await.unwrap();
    let mut bytes = response.bytes_stream();
    let mut text = String::new();
    while let Some(chunk) = bytes.next().await {
        text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
    }
    assert!(text.contains("COMPLETED"), "{text}");
    assert!(text.contains("\nid: "), "{text}");
    assert!(text.contains("event: complete"), "{text}");
}
