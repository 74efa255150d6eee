//! What a sender is told over HTTP and over a socket.

use std::sync::Arc;

use async_graphql::{Data, Executor as _, Request as GraphqlRequest};
use axum::{Router, body::Body, response::Response};
use futures::StreamExt as _;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use toolroom_api::{
    HttpOptions, Metrics, RequestContext, Shell,
    auth::{
        AuthOptions, Credential, Identity,
        bootstrap::{self, OperatorKey},
    },
    denial::Which,
};
use toolroom_domain::{
    Actor, ApiKeyId, Role, UserId, WorkspaceId,
    access::Caller,
    workspace::{Command, Plan, Workspace},
};
use toolroom_eventlog::{CommandContext, SystemClock, command::Target};
use tower::ServiceExt as _;

use crate::support::App;

const WORKSPACE: WorkspaceId = WorkspaceId::DEFAULT;

/// A server that others can reach, whose one workspace pays nothing.
struct Server {
    app: App,
    router: Router,
}

impl Server {
    async fn start() -> Self {
        let app = App::start_with(AuthOptions::default(), Arc::new(SystemClock)).await;
        let create = Command::Create {
            id: WORKSPACE,
            name: "default".to_owned(),
            owner: UserId::local(),
            owner_email: None,
            time_zone: "UTC".to_owned(),
            plan: Plan::Free,
            at: toolroom_domain::Clock::now(&SystemClock),
        };
        let target = Target::<Workspace>::New(WORKSPACE.to_string());
        let context = CommandContext::system(WORKSPACE, "test", "request-0".to_owned());
        app.state
            .log
            .bus
            .execute(target, create, &context)
            .await
            .unwrap();
        let shell = Shell::new(HttpOptions::default(), CancellationToken::new());
        let router = toolroom_api::router(app.state.clone(), &shell, Metrics::install());
        Self { app, router }
    }

    async fn key(&self, role: Role) -> (ApiKeyId, String) {
        let wanted = OperatorKey {
            name: "test",
            role,
            operator: false,
            expires_at: None,
        };
        let hash_key = self.app.state.auth.hash_key();
        let made = bootstrap::direct_key(&self.app.state.log, hash_key, &SystemClock, wanted).await;
        let (id, key) = made.unwrap();
        (id, key.reveal().to_owned())
    }

    async fn send(&self, method: &str, path: &str, key: &str, body: Option<Value>) -> Response {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost:8000")
            .header("x-api-key", key)
            .header("content-type", "application/json")
            .body(body.map_or_else(Body::empty, |body| Body::from(body.to_string())));
        self.router.clone().oneshot(request.unwrap()).await.unwrap()
    }
}

impl Server {
    async fn graphql(&self, key: &str, document: &str) -> Value {
        let query = json!({ "query": document });
        json(self.send("POST", "/graphql", key, Some(query)).await).await
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

async fn json(response: Response) -> Value {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sends_too_much_is_told_how_much_is_granted_and_when_to_come_again() {
    let server = Server::start().await;
    let (_, key) = server.key(Role::Member).await;
    let first = server.send("GET", "/tools", &key, None).await;
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(
        header(&first, "ratelimit-policy"),
        r#""key";q=50;w=10, "workspace";q=100;w=10"#
    );
    assert!(header(&first, "ratelimit").starts_with(r#""key";r=49;t=1, "workspace";r=9"#));
    // 5 flow in each second: far less than a request takes here.
    let mut refused = None;
    for _ in 0..5_000 {
        let response = server.send("GET", "/tools", &key, None).await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(response);
            break;
        }
    }
    let refused = refused.expect("a key's bucket is empty at some time");
    assert_eq!(header(&refused, "retry-after"), "1");
    assert!(header(&refused, "ratelimit").starts_with(r#""key";r=0;t=10"#));
    let body = json(refused).await;
    assert_eq!(body["code"], "RATE_LIMIT_EXCEEDED", "{body}");
    let query = json!({ "query": "{ health { status } }" });
    let refused = server.send("POST", "/graphql", &key, Some(query)).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let body = json(refused).await;
    let extensions = &body["errors"][0]["extensions"];
    assert_eq!(extensions["code"], "RATE_LIMIT_EXCEEDED", "{body}");
    assert!(extensions["retryAfterMs"].as_u64().unwrap() >= 1);
    // What watches the server is never turned away.
    let live = server.send("GET", "/livez", &key, None).await;
    assert_eq!(live.status(), StatusCode::OK);
    assert_eq!(header(&live, "ratelimit"), "");
    server.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_over_a_socket_are_counted_too() {
    let server = Server::start().await;
    let (id, _) = server.key(Role::Member).await;
    let mut session = Data::default();
    let identity = Identity {
        workspace: WORKSPACE,
        actor: Actor::key(id),
        caller: Caller::Key(Role::Member),
        credential: Credential::Key {
            id,
            prefix: "k7m2pq9x".to_owned(),
        },
        email: None,
    };
    session.insert(RequestContext::of(identity, "request-1"));
    let session = Arc::new(session);
    let mut refused = None;
    for _ in 0..5_000 {
        let request = GraphqlRequest::new("{ tools { totalCount } }");
        let mut answers = server
            .app
            .schema
            .execute_stream(request, Some(Arc::clone(&session)));
        let answer = answers.next().await.unwrap();
        if let Some(error) = answer.errors.first() {
            refused = Some(serde_json::to_value(error).unwrap());
            break;
        }
    }
    let refused = refused.expect("a key's bucket is empty at some time");
    assert_eq!(refused["extensions"]["code"], "RATE_LIMIT_EXCEEDED");
    assert!(refused["extensions"]["retryAfterMs"].as_u64().unwrap() >= 1);
    server.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_beyond_the_quota_is_not_asked_for() {
    let server = Server::start().await;
    let (_, key) = server.key(Role::Member).await;
    server.app.register("say").await;
    let run = |input: Value| json!({ "tool_call": { "name": "say", "parameters": input } });
    let failing = run(json!({ "fail": true }));
    let first = server
        .send("POST", "/tool_usage", &key, Some(failing))
        .await;
    assert_eq!(first.status(), StatusCode::OK);
    let run = || run(json!({}));
    let submit = r#"mutation { submitJob(toolName: "say", input: {}, commandId: "c-1") { id } }"#;
    let submitted = server.graphql(&key, submit).await;
    let failed: String =
        sqlx::query_scalar("select aggregate_id from events where event_type = 'JobFailed'")
            .fetch_one(&server.app.owner().await)
            .await
            .unwrap();
    let pool = &server.app.owner().await;
    sqlx::query("update operational.quotas set hour_used = 100")
        .execute(pool)
        .await
        .unwrap();
    // One may be in hand still.
    let mut refused = server.send("POST", "/tool_usage", &key, Some(run())).await;
    for _ in 0..3 {
        if refused.status() != StatusCode::TOO_MANY_REQUESTS {
            refused = server.send("POST", "/tool_usage", &key, Some(run())).await;
        }
    }
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let seconds: u32 = header(&refused, "retry-after").parse().unwrap();
    assert!((1..=3_600).contains(&seconds), "{seconds}");
    assert_eq!(json(refused).await["code"], "QUOTA_EXCEEDED");
    let asked = async || -> i64 {
        sqlx::query_scalar("select count(*) from events where aggregate_type = 'job'")
            .fetch_one(pool)
            .await
            .unwrap()
    };
    let before = asked().await;
    for mutation in [
        r#"submitJob(toolName: "say", input: {})"#.to_owned(),
        r#"executeTool(toolName: "say", input: {})"#.to_owned(),
        format!(r#"retryJob(id: "{failed}")"#),
        format!(r#"rerunJob(id: "{failed}")"#),
    ] {
        let document = format!("mutation {{ {mutation} {{ id }} }}");
        let body = server.graphql(&key, &document).await;
        let extensions = &body["errors"][0]["extensions"];
        assert_eq!(extensions["code"], "QUOTA_EXCEEDED", "{body}");
        assert!(extensions["retryAfterMs"].as_u64().unwrap() <= 3_600_000);
    }
    // What was asked for before is answered as it was.
    assert_eq!(server.graphql(&key, submit).await, submitted);
    assert_eq!(asked().await, before);
    server.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_may_not_do_is_told_to_the_audit() {
    let server = Server::start().await;
    let (id, key) = server.key(Role::Viewer).await;
    let body = json!({ "name": "say" });
    let refused = server.send("POST", "/tools", &key, Some(body)).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let query = json!({ "query": "mutation { deleteTool(id: \"say\") { id } }" });
    let refused = server.send("POST", "/graphql", &key, Some(query)).await;
    assert_eq!(
        json(refused).await["errors"][0]["extensions"]["code"],
        "FORBIDDEN"
    );
    let state = &server.app.state;
    assert!(state.denials.tell(&state.log.bus, Which::All).await);
    let told: Vec<(String, String)> = sqlx::query_as(
        "select payload ->> 'operation', actor from events where event_type = 'AccessDenied'
         order by 1",
    )
    .fetch_all(&server.app.owner().await)
    .await
    .unwrap();
    let by = Actor::key(id).to_string();
    let expected = ["deleteTool", "registerTool"].map(|name| (name.to_owned(), by.clone()));
    assert_eq!(told, expected);
    server.app.stop().await;
}

/// Runs a tool with some MiB, so many times: each run was given them and gave them back.
async fn run_with(server: &Server, mebibytes: usize, times: usize) {
    server.app.register("say").await;
    let run = "mutation ($input: JSON!) { executeTool(toolName: \"say\", input: $input) { id } }";
    for n in 0..times {
        let text = n.to_string().repeat(mebibytes * 1024 * 1024);
        let input = json!({ "input": { "text": text } });
        server.app.ask(run, input).await;
    }
    server.app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_is_told_no_more_of_jobs_values_than_an_answer_holds() {
    let server = Server::start().await;
    let (_, key) = server.key(Role::Viewer).await;
    run_with(&server, 6, 3).await;
    let recent = async |calls: &str, input: Value| {
        let input: String =
            url::form_urlencoded::byte_serialize(input.to_string().as_bytes()).collect();
        let path = format!("/api/trpc/{calls}input={input}");
        server.send("GET", &path, &key, None).await
    };
    let logs = "toolActionLogs.getRecent";
    let some = recent(&format!("{logs}?"), json!({ "limit": 2 })).await;
    assert_eq!(some.status(), StatusCode::OK);
    let some = json(some).await;
    let shown = &some["result"]["data"]["logs"][1];
    assert_eq!(shown["result"], shown["parameters"]);
    let all = recent(&format!("{logs}?"), json!({ "limit": 3 })).await;
    assert_eq!(all.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        json(all).await["error"]["data"]["errorCode"],
        "PAYLOAD_TOO_LARGE"
    );
    let twice = json!({ "0": { "limit": 2 }, "1": { "limit": 2 }, "2": { "limit": 2 } });
    let batch = recent(&format!("{logs},{logs},{logs}?batch=1&"), twice).await;
    assert_eq!(batch.status(), StatusCode::MULTI_STATUS);
    let batch = json(batch).await;
    let told = batch.as_array().unwrap().iter();
    assert_eq!(told.filter(|call| call["result"].is_object()).count(), 1);

    // The same job under several names, and several fields of it.
    let ids = server.graphql(&key, "{ jobs(first: 1) { nodes { id } } }");
    let id = ids.await["data"]["jobs"]["nodes"][0]["id"].clone();
    let alone = format!("{{ job(id: {id}) {{ input output }} }}");
    let alone = server.graphql(&key, &alone).await;
    assert_eq!(alone["errors"], Value::Null);
    let names = (0..6).map(|n| format!("n{n}: job(id: {id}) {{ input }}"));
    let names = format!("{{ {} }}", names.collect::<Vec<_>>().join(" "));
    let fields = (0..6).map(|n| format!("f{n}: output"));
    let fields = fields.collect::<Vec<_>>().join(" ");
    let fields = format!("{{ jobs(first: 1) {{ nodes {{ id {fields} }} }} }}");
    for document in [names, fields] {
        let answer = server.graphql(&key, &document).await;
        let code = &answer["errors"][0]["extensions"]["code"];
        assert_eq!(*code, "PAYLOAD_TOO_LARGE", "{document}");
    }
    server.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_a_batch_counts_as_a_request() {
    let server = Server::start().await;
    let (_, key) = server.key(Role::Viewer).await;
    let batch = format!("/api/trpc/{}?batch=1", vec!["tools.getAll"; 40].join(","));
    let first = server.send("GET", &batch, &key, None).await;
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(json(first).await.as_array().unwrap().len(), 40);
    // A key has 50 at once, and 5 more with each second.
    let second = server.send("GET", &batch, &key, None).await;
    assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_ne!(header(&second, "retry-after"), "");
    let body = json(second).await;
    assert_eq!(
        body["error"]["data"]["errorCode"], "RATE_LIMIT_EXCEEDED",
        "{body}"
    );
    server.app.stop().await;
}
