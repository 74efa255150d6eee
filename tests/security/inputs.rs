//! Secrets that callers wrote into inputs: they are sent as they were written, and shown to nobody.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, extract::RawQuery, routing::any};
use serde_json::{Value, json};

use crate::support::{Answer, Answering, App, rest};

const TOKEN: &str = "sesame-open-4711";

const RUN: &str = "mutation ($t: String!, $i: JSON!) { executeTool(toolName: $t, input: $i) {
    id status input inputRef { url bytes } } }";
const RERUN: &str = "mutation ($id: ID!) { rerunJob(id: $id) { id } }";
const LISTS: &str =
    "{ jobs { nodes { id input } } auditLog(first: 100) { nodes { type payload } } }";

async fn start() -> App {
    let app = App::start_with(&[("TOOLROOM_EGRESS_ALLOW", "127.0.0.1")]).await;
    let create = "mutation ($v: String!) { createSecret(name: \"TOKEN\", value: $v) { name } }";
    app.data(create, json!({"v": TOKEN})).await;
    app
}

async fn run(app: &App, tool: &str, input: Value) -> Value {
    let job = app.data(RUN, json!({"t": tool, "i": input})).await["executeTool"].clone();
    assert_eq!(job["status"], "COMPLETED", "{job}");
    job
}

/// A service that remembers the queries that it was sent.
async fn hearing(heard: Arc<Mutex<Vec<String>>>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let hear = move |RawQuery(query): RawQuery| {
        heard.lock().unwrap().extend(query);
        async { Json(json!({"ok": true})) }
    };
    let service = Router::new().fallback(any(hear));
    tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    url
}

/// A tool that is given the secret.
fn tool(name: &str, url: &str, mut api: Value) -> Value {
    api["base_url"] = json!(url);
    api["auth"] = json!({"method": "bearer", "secret_ref": "${TOKEN}"});
    rest(name, api)
}

async fn fetched(app: &App, job: &Value, header: Option<(&str, &str)>) -> Answer {
    let mut request = app.http.get(job["inputRef"]["url"].as_str().unwrap());
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    Answer::of(request).await
}

#[tokio::test]
async fn an_input_that_names_its_tools_secret_is_sent_as_it_is_and_shown_without_it() {
    let app = start().await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let url = hearing(Arc::clone(&heard)).await;
    app.register(tool("find", &url, json!({"query": {"q": "{{ city }}"}})))
        .await;
    let job = run(&app, "find", json!({"city": format!("by {TOKEN}")})).await;
    let shown = json!({"city": "by ***"});
    assert_eq!(job["input"], shown);
    assert_eq!(app.job(job["id"].as_str().unwrap()).await["input"], shown);
    assert_eq!(fetched(&app, &job, None).await.body, shown);
    let again = app.data(RERUN, json!({"id": job["id"]})).await["rerunJob"]["id"].clone();
    let again = app.ended(again.as_str().unwrap()).await;
    assert_eq!(
        (&again["status"], &again["input"]),
        (&json!("COMPLETED"), &shown)
    );
    let sent = format!("q=by+{TOKEN}");
    assert_eq!(
        *heard.lock().unwrap(),
        [sent.clone(), sent],
        "masking changes no call"
    );

    let lists = app.data(LISTS, json!({})).await;
    assert_eq!(lists["jobs"]["nodes"][0]["input"], shown);
    let events = lists["auditLog"]["nodes"].as_array().unwrap();
    let requested = events
        .iter()
        .find(|event| event["type"] == "JobRequested")
        .unwrap();
    assert_eq!(requested["payload"]["input"], shown, "{requested}");
    let logs = app
        .get("/api/trpc/toolActionLogs.getRecent?input=%7B%7D")
        .await
        .body;
    assert_eq!(
        logs["result"]["data"]["logs"][0]["parameters"], shown,
        "{logs}"
    );
    assert!(!format!("{lists}{logs}").contains(TOKEN));
}

#[tokio::test]
async fn a_large_input_is_shown_so_too_under_a_digest_of_its_own() {
    let app = start().await;
    let service = Answering::with(json!({"ok": true})).await;
    app.register(tool("keep", &service.url, json!({"method": "POST"})))
        .await;
    let long = "x".repeat(70_000);
    let job = run(&app, "keep", json!({"city": format!("{long}{TOKEN}")})).await;
    let shown = json!({"city": format!("{long}***")});
    assert_eq!(job["input"], shown);
    assert_eq!(
        app.data(LISTS, json!({})).await["jobs"]["nodes"][0]["input"],
        shown
    );
    let whole = fetched(&app, &job, None).await;
    assert_eq!(whole.body, shown);
    let tag = whole.headers["etag"].to_str().unwrap();
    let same = fetched(&app, &job, Some(("if-none-match", tag))).await;
    assert_eq!(same.status, 304);
    let end = fetched(&app, &job, Some(("range", "bytes=-6"))).await;
    assert_eq!((end.status, end.body), (206, json!("x***\"}")));
}

#[tokio::test]
async fn an_input_of_a_connectors_tool_is_shown_without_its_credentials() {
    let app = start().await;
    let service = Answering::with(json!({"ok": true})).await;
    for (name, token) in [("kept", "another-token-12"), ("named", "${TOKEN}")] {
        let credentials = json!({"baseUrl": service.url, "bearerToken": token});
        let connector = json!({"type": "HTTP", "credentials": credentials});
        app.register(json!({"name": name, "description": "calls", "connector": connector}))
            .await;
    }
    let kept = run(
        &app,
        "kept",
        json!({"path": "a", "headers": {"x-a": "Bearer another-token-12"}}),
    )
    .await;
    assert_eq!(kept["input"]["headers"]["x-a"], "Bearer ***");
    let named = run(&app, "named", json!({"path": TOKEN})).await;
    assert_eq!(named["input"], json!({"path": "***"}));
    // It is no secret of this one.
    let other = run(&app, "kept", json!({"path": TOKEN})).await;
    assert_eq!(other["input"], json!({"path": TOKEN}));
}
