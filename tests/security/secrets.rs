//! Secrets: their values are nowhere but sealed, belong to one workspace, and are gone when they are
//! deleted.

use std::collections::BTreeSet;

use axum::{Json, Router, extract::Request, http::StatusCode, routing::any};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{App, people::Caller, rest};

const CREATE: &str = "mutation ($n: String!, $v: String!, $c: String) {
    createSecret(name: $n, value: $v, commandId: $c) { name version createdAt updatedAt lastUsedAt } }";
const REPLACE: &str = "mutation ($n: String!, $v: String!, $c: String) {
    replaceSecret(name: $n, value: $v, commandId: $c) { name version } }";
const DELETE: &str = "mutation ($n: String!, $c: String) {
    deleteSecret(name: $n, commandId: $c) { name version } }";
const LIST: &str = "{ secrets { totalCount nodes { name version lastUsedAt
    usages { totalCount nodes { type aggregateType aggregateId payload } } } } }";
const REGISTER: &str = "mutation ($i: RegisterToolInput!) { registerTool(input: $i) { id } }";
const RUN: &str = "mutation ($t: String, $i: JSON!) { executeTool(toolName: $t, input: $i) {
    id status output error { code category message retryable details } } }";

/// A service that says back what it was sent.
struct Echo {
    url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn percent(text: &str) -> String {
    text.bytes()
        .fold(String::new(), |out, byte| out + &format!("%{byte:02x}"))
}

/// What the service says of a token in every form that it can think of, or of it as an error.
async fn say_back(request: Request) -> (StatusCode, Json<Value>) {
    let header = request.headers().get("authorization");
    let header = header
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let token = header
        .strip_prefix("Bearer ")
        .unwrap_or_default()
        .to_owned();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    let mut said = json!({
        "plain": format!("you sent {token}, did you?"),
        "base64": STANDARD.encode(&token),
        "header": STANDARD.encode(header),
        "one further": STANDARD_NO_PAD.encode(format!("x{token}yz")),
        "two further": URL_SAFE_NO_PAD.encode(format!("xy{token}")),
        "percent": format!("?key={}", percent(&token)),
        "percent upper": format!("?key={}&x=1", percent(&token).to_uppercase()),
        "json": json!({"key": token}).to_string(),
        "deep": [{"of": [token]}],
        // Not the secret, but enough to tell which one it was.
        "which": &percent(&format!("{:?}", &digest.as_ref()[..4]))[..],
    });
    said[token] = json!("as a name");
    let status = if request.uri().path() == "/refuse" {
        StatusCode::UNAUTHORIZED
    } else {
        StatusCode::OK
    };
    (status, Json(said))
}

impl Echo {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(any(say_back));
        let task = tokio::spawn(async move {
            axum::serve(listener, app).await.unwrap();
        });
        Self { url, task }
    }

    /// A tool that shows the service a secret.
    fn tool(&self, name: &str, path: &str, secret: &str) -> Value {
        rest(
            name,
            json!({
                "method": "GET", "base_url": self.url, "path": path,
                "auth": {"method": "bearer", "secret_ref": format!("${{{secret}}}")},
            }),
        )
    }
}

async fn open_to_loopback(more: &[(&str, &str)]) -> App {
    let loopback = [("TOOLROOM_EGRESS_ALLOW", "127.0.0.1/32")];
    App::start_closed_with(&[&loopback[..], more].concat()).await
}

async fn run(caller: &Caller, tool: &str) -> Value {
    let job = caller
        .data(RUN, json!({"t": tool, "i": {"city": "Rome"}}))
        .await;
    job["executeTool"].clone()
}

async fn register(caller: &Caller, tool: Value) {
    caller.data(REGISTER, json!({"i": tool})).await;
}

/// Every row of every table, as text.
async fn all_tables(owner: &PgPool) -> String {
    let tables: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', n.nspname, c.relname) from pg_class c
         join pg_namespace n on n.oid = c.relnamespace
         where c.relkind = 'r' and n.nspname in ('public', 'projections', 'operational')
         order by 1",
    )
    .fetch_all(owner)
    .await
    .unwrap();
    assert!(tables.len() > 20, "{tables:?}");
    let mut text = String::new();
    for table in tables {
        let sql = format!("select '{table} ' || t::text from {table} t");
        let rows: Vec<String> = sqlx::query_scalar(&sql).fetch_all(owner).await.unwrap();
        text += &(rows.join("\n") + "\n");
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |out, byte| out + &format!("{byte:02x}"))
}

/// The forms in which a value could be found.
fn forms(value: &str) -> Vec<String> {
    let quoted = Value::from(value).to_string();
    let mut forms = vec![
        value.to_owned(),
        quoted[1..quoted.len() - 1].to_owned(),
        hex(value.as_bytes()),
        percent(value),
        percent(value).to_uppercase(),
        format!("{:?}", value.as_bytes()),
    ];
    for shift in 0..3_usize {
        let shifted = [&b"xyz"[..shift], value.as_bytes()].concat();
        let text = STANDARD_NO_PAD.encode(&shifted);
        let certain = &text[(shift * 8).div_ceil(6)..shifted.len() * 8 / 6];
        forms.push(certain.to_owned());
        forms.push(certain.replace('+', "-").replace('/', "_"));
    }
    forms
}

#[track_caller]
fn is_nowhere(value: &str, place: &str, text: &str) {
    for form in forms(value) {
        if let Some(at) = text.find(&form) {
            let line = text[..at].lines().count();
            panic!("{place} holds {form:?} in line {line}");
        }
    }
}

#[tokio::test]
async fn a_value_is_in_no_table_event_line_error_or_answer() {
    let app = open_to_loopback(&[("TOOLROOM_LOG", "debug")]).await;
    let operator = app.operator();
    let echo = Echo::start().await;
    let (first, second, third) = (
        "first!value+of/the~secret",
        "second\"value\\of?the&secret",
        "third value=of the%secret",
    );
    let mut answers = String::new();
    let mut note = |answer: &Value| answers += &(answer.to_string() + "\n");
    let made = operator
        .graphql(CREATE, json!({"n": "TOKEN", "v": first, "c": "c1"}))
        .await;
    assert_eq!(
        made.body["data"]["createSecret"]["version"], 1,
        "{}",
        made.body
    );
    note(&made.body);
    register(&operator, echo.tool("echo", "/", "TOKEN")).await;
    register(&operator, echo.tool("refuse", "/refuse", "TOKEN")).await;
    note(&run(&operator, "echo").await);
    let body = json!({"value": second});
    let put = operator
        .send(Method::PUT, "/api/v1/secrets/TOKEN", Some(&body))
        .await;
    assert_eq!(
        (put.status, &put.body["version"]),
        (200, &json!(2)),
        "{}",
        put.body
    );
    note(&put.body);
    let echoed = run(&operator, "echo").await;
    assert_eq!(echoed["status"], "COMPLETED", "{echoed}");
    assert_eq!(echoed["output"]["plain"], "you sent ***, did you?");
    assert_eq!(echoed["output"]["***"], "as a name");
    assert_eq!(echoed["output"]["deep"], json!([{"of": ["***"]}]));
    note(&echoed);
    let refused = run(&operator, "refuse").await;
    assert_eq!(refused["error"]["category"], "AUTHENTICATION", "{refused}");
    note(&refused);
    // What is wrong with a request is told without what it held.
    let odd = [
        (
            "POST",
            "/api/v1/secrets",
            json!({"name": "TOKEN", "value": third}),
        ),
        (
            "POST",
            "/api/v1/secrets",
            json!({"name": "not a name", "value": third}),
        ),
        (
            "POST",
            "/api/v1/secrets",
            json!({"name": "TOKEN", "value": [third]}),
        ),
        (
            "PUT",
            "/api/v1/secrets/TOKEN",
            json!({"value": third, "more": third}),
        ),
        ("PUT", "/api/v1/secrets/NONE", json!({"value": third})),
    ];
    for (method, path, body) in odd {
        let answer = operator
            .send(method.parse().unwrap(), path, Some(&body))
            .await;
        assert!(
            (400..500).contains(&answer.status),
            "{path}: {}",
            answer.body
        );
        note(&answer.body);
    }
    for (query, variables) in [
        (CREATE, json!({"n": "TOKEN", "v": third})),
        (CREATE, json!({"n": "TOKEN", "v": [[third]]})),
        (REPLACE, json!({"n": "NONE", "v": third})),
        (REPLACE, json!({"n": "TOKEN", "v": second, "c": "c1"})),
    ] {
        let answer = operator.graphql(query, variables).await;
        assert!(answer.body.get("errors").is_some(), "{}", answer.body);
        note(&answer.body);
    }
    let created = operator
        .send(
            Method::POST,
            "/api/v1/secrets",
            Some(&json!({"name": "OTHER", "value": third})),
        )
        .await;
    assert_eq!(created.status, 201, "{}", created.body);
    note(&created.body);
    for path in ["/api/v1/secrets", "/api/v1/secrets/OTHER"] {
        note(&operator.send(Method::GET, path, None).await.body);
    }
    note(&operator.data(LIST, json!({})).await);
    note(
        &operator
            .data(
                "{ auditLog(first: 200) { nodes { type payload } } }",
                json!({}),
            )
            .await,
    );
    note(
        &operator
            .data(
                "{ jobs { nodes { input output error { message details } } } }",
                json!({}),
            )
            .await,
    );
    let deleted = operator
        .send(Method::DELETE, "/api/v1/secrets/OTHER", None)
        .await;
    assert_eq!(deleted.status, 200, "{}", deleted.body);
    note(&deleted.body);

    let owner = app.owner().await;
    let tables = all_tables(&owner).await;
    owner.close().await;
    assert!(tables.contains("JobSecretsUsed") && tables.contains("SecretReplaced"));
    let lines = app.all_output();
    for value in [first, second, third] {
        is_nowhere(value, "an answer", &answers);
        is_nowhere(value, "a table", &tables);
        is_nowhere(value, "a line of the log", &lines);
    }
}

#[tokio::test]
async fn each_use_is_told_with_the_job_that_it_was_for() {
    let app = open_to_loopback(&[]).await;
    let operator = app.operator();
    let echo = Echo::start().await;
    operator
        .data(CREATE, json!({"n": "TOKEN", "v": "sesame-open-1"}))
        .await;
    register(&operator, echo.tool("echo", "/", "TOKEN")).await;
    run(&operator, "echo").await;
    operator
        .data(REPLACE, json!({"n": "TOKEN", "v": "sesame-open-2"}))
        .await;
    let job = run(&operator, "echo").await;
    let list = operator.data(LIST, json!({})).await;
    let secret = &list["secrets"]["nodes"][0];
    assert_eq!(
        (&secret["name"], &secret["version"]),
        (&json!("TOKEN"), &json!(2))
    );
    assert!(secret["lastUsedAt"].is_string(), "{secret}");
    let usages = &secret["usages"];
    assert_eq!(usages["totalCount"], 2, "{usages}");
    let newest = &usages["nodes"][0];
    assert_eq!(newest["type"], "JobSecretsUsed");
    assert_eq!(newest["aggregateId"], job["id"]);
    assert_eq!(
        newest["payload"]["secrets"],
        json!([{"name": "TOKEN", "version": 2}])
    );
}

#[tokio::test]
async fn members_learn_names_and_auditors_who_was_given_what() {
    let app = App::start_closed().await;
    let operator = app.operator();
    operator
        .data(CREATE, json!({"n": "TOKEN", "v": "sesame-open"}))
        .await;
    let keyed = async |role: &str| {
        let query = "mutation ($r: Role!) { createApiKey(name: \"k\", role: $r) { secret } }";
        let made = operator.data(query, json!({"r": role})).await;
        app.shown(made["createApiKey"]["secret"].as_str())
    };
    let names = "{ secrets { nodes { name version } } }";
    for (role, may_read_usages) in [("MEMBER", false), ("AUDITOR", true), ("ADMIN", true)] {
        let caller = keyed(role).await;
        let told = caller.data(names, json!({})).await;
        assert_eq!(told["secrets"]["nodes"][0]["name"], "TOKEN");
        let answer = caller.graphql(LIST, json!({})).await;
        let code = answer.code();
        let expected = (!may_read_usages).then_some("FORBIDDEN");
        assert_eq!(code.as_deref(), expected, "{role}: {}", answer.body);
    }
}

#[tokio::test]
async fn workspaces_share_names_and_nothing_else() {
    let app = open_to_loopback(&[
        ("TOOLROOM_ENV_SECRETS", "OPERATORS"),
        ("OPERATORS", "the-operators-own-token"),
    ])
    .await;
    let echo = Echo::start().await;
    let mut tenants = Vec::new();
    for name in ["ann", "bob"] {
        let user = app.user(name);
        let query = "mutation ($n: String!) { createWorkspace(name: $n) { id } }";
        let made = user.data(query, json!({"n": name})).await;
        let id = made["createWorkspace"]["id"].as_str().unwrap().to_owned();
        let tenant = app.user_in(name, &id);
        tenant
            .data(
                CREATE,
                json!({"n": "TOKEN", "v": format!("{name}-sesame-open")}),
            )
            .await;
        register(&tenant, echo.tool("echo", "/", "TOKEN")).await;
        register(&tenant, echo.tool("operators", "/", "OPERATORS")).await;
        tenants.push(tenant);
    }
    let mut which = BTreeSet::new();
    for tenant in &tenants {
        let told = run(tenant, "echo").await;
        assert_eq!(told["status"], "COMPLETED", "{told}");
        which.insert(told["output"]["which"].to_string());
        let list = tenant.data(LIST, json!({})).await;
        assert_eq!(list["secrets"]["totalCount"], 1, "{list}");
        assert_eq!(
            list["secrets"]["nodes"][0]["usages"]["totalCount"], 1,
            "{list}"
        );
        let refused = run(tenant, "operators").await;
        assert_eq!(
            refused["status"], "FAILED",
            "the operator's variables serve `default` alone"
        );
    }
    assert_eq!(which.len(), 2, "each was shown its own");
    tenants[0].data(DELETE, json!({"n": "TOKEN"})).await;
    assert_eq!(run(&tenants[1], "echo").await["status"], "COMPLETED");
    assert_eq!(run(&tenants[0], "echo").await["status"], "FAILED");
    let row = tenants[0]
        .send(Method::GET, "/api/v1/secrets/TOKEN", None)
        .await;
    assert_eq!(row.status, 404, "{}", row.body);
}

#[tokio::test]
async fn a_deleted_secret_fails_its_tools_by_name_and_comes_back_as_a_new_version() {
    let app = open_to_loopback(&[]).await;
    let operator = app.operator();
    let echo = Echo::start().await;
    operator
        .data(CREATE, json!({"n": "TOKEN", "v": "sesame-open"}))
        .await;
    register(&operator, echo.tool("echo", "/", "TOKEN")).await;
    assert_eq!(run(&operator, "echo").await["status"], "COMPLETED");
    let deleted = operator.data(DELETE, json!({"n": "TOKEN"})).await;
    assert_eq!(deleted["deleteSecret"]["version"], 1);
    let again = operator.data(DELETE, json!({"n": "TOKEN"})).await;
    assert_eq!(again, deleted, "deleted twice is deleted");
    let owner = app.owner().await;
    let rows: i64 = sqlx::query_scalar("select count(*) from vault where kind = 'secret'")
        .fetch_one(&owner)
        .await
        .unwrap();
    owner.close().await;
    assert_eq!(rows, 0, "neither value nor key is left");
    let failed = run(&operator, "echo").await;
    assert_eq!(failed["error"]["category"], "AUTHENTICATION", "{failed}");
    let message = failed["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("no secret `TOKEN`") && message.contains("createSecret"),
        "{message}"
    );
    let back = operator
        .data(CREATE, json!({"n": "TOKEN", "v": "sesame-close"}))
        .await;
    assert_eq!(back["createSecret"]["version"], 2);
    assert_eq!(run(&operator, "echo").await["status"], "COMPLETED");
    let taken = operator
        .graphql(CREATE, json!({"n": "TOKEN", "v": "x"}))
        .await;
    assert_eq!(taken.code().as_deref(), Some("CONFLICT"));
}

#[tokio::test]
async fn of_values_set_at_once_the_last_counts_and_each_has_a_version() {
    let app = open_to_loopback(&[]).await;
    let operator = app.operator();
    let echo = Echo::start().await;
    operator
        .data(CREATE, json!({"n": "TOKEN", "v": "sesame-open"}))
        .await;
    register(&operator, echo.tool("echo", "/", "TOKEN")).await;
    let replaced = futures::future::join_all((0..8).map(|i| {
        let operator = operator.clone();
        async move {
            let value = format!("sesame-open-{i}");
            let answer = operator
                .graphql(REPLACE, json!({"n": "TOKEN", "v": value}))
                .await;
            answer.body["data"]["replaceSecret"]["version"].as_u64()
        }
    }))
    .await;
    let versions: BTreeSet<u64> = replaced.iter().flatten().copied().collect();
    let set = replaced.iter().flatten().count();
    assert_eq!(versions.len(), set, "no version twice: {replaced:?}");
    let last = versions.last().copied().unwrap();
    assert_eq!(last, 1 + set as u64, "nor one left out: {replaced:?}");
    let winner = replaced
        .iter()
        .position(|version| *version == Some(last))
        .unwrap();
    let digest = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        format!("sesame-open-{winner}").as_bytes(),
    );
    let told = run(&operator, "echo").await;
    let which = percent(&format!("{:?}", &digest.as_ref()[..4]));
    assert_eq!(told["output"]["which"], which.as_str(), "{told}");
}

#[tokio::test]
async fn a_command_said_twice_is_done_once_and_another_value_under_its_id_is_refused() {
    let app = App::start_closed().await;
    let operator = app.operator();
    let first = operator
        .data(CREATE, json!({"n": "A", "v": "sesame", "c": "c1"}))
        .await;
    let again = operator
        .data(CREATE, json!({"n": "A", "v": "sesame", "c": "c1"}))
        .await;
    assert_eq!(first, again);
    let other = operator
        .graphql(CREATE, json!({"n": "A", "v": "other", "c": "c1"}))
        .await;
    assert_eq!(other.code().as_deref(), Some("IDEMPOTENCY_CONFLICT"));
    let replaced = operator
        .data(REPLACE, json!({"n": "A", "v": "newer", "c": "c2"}))
        .await;
    let again = operator
        .data(REPLACE, json!({"n": "A", "v": "newer", "c": "c2"}))
        .await;
    assert_eq!(
        (&replaced, &replaced["replaceSecret"]["version"]),
        (&again, &json!(2))
    );
}

#[tokio::test]
async fn values_are_bounded() {
    let app = App::start_closed().await;
    let operator = app.operator();
    let largest = "x".repeat(64 * 1024);
    let made = operator
        .data(CREATE, json!({"n": "LARGE", "v": largest}))
        .await;
    assert_eq!(made["createSecret"]["version"], 1);
    for value in [String::new(), largest + "x"] {
        let answer = operator
            .graphql(CREATE, json!({"n": "A", "v": value}))
            .await;
        assert_eq!(answer.code().as_deref(), Some("VALIDATION_FAILED"));
        let violations = &answer.body["errors"][0]["extensions"];
        assert!(violations.to_string().contains("\"value\""), "{violations}");
    }
}
