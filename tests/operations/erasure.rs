//! A workspace is erased: beside a running server and without one, killed in the middle, for good.

use aws_lc_rs::digest::{Context, SHA256};
use jiff::SignedDuration;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use toolroom_domain::{Clock as _, WorkspaceId};
use toolroom_eventlog::SystemClock;

use crate::{
    api::Api,
    support::{Log, Operator, PATIENCE},
};

/// In every input and output of the workspace, and nowhere else.
const MARKER: &str = "a-word-that-must-not-be-found";

const JOB: &str = "query($id: ID!) { job(id: $id) { status input output } }";
const RUN: &str = "mutation($i: JSON!) { executeTool(toolName: \"echo\", input: $i) { id } }";

async fn owner(log: &Log) -> PgPool {
    PgPool::connect_with(log.log.database.owner_options().clone())
        .await
        .expect("the database answers")
}

/// All tables of this database, each with its column of the workspace if it has one.
async fn tables(owner: &PgPool) -> Vec<(String, Option<String>)> {
    sqlx::query_as(
        "select format('%I.%I', n.nspname, c.relname), format_type(a.atttypid, null)
         from pg_class c
         join pg_namespace n on n.oid = c.relnamespace
         left join pg_attribute a on a.attrelid = c.oid and a.attname = 'workspace_id'
         where c.relkind in ('r', 'p') and n.nspname in ('public', 'projections', 'operational')",
    )
    .fetch_all(owner)
    .await
    .unwrap()
}

/// The tables in which the marker stands, in the clear or as bytes.
async fn tables_with_marker(owner: &PgPool) -> Vec<String> {
    let bytes: String = MARKER.bytes().map(|b| format!("{b:02x}")).collect();
    let mut found = Vec::new();
    for (table, _) in tables(owner).await {
        let sql = format!(
            "select exists (select from {table} t where t::text like $1 or t::text like $2)"
        );
        let is_there: bool = sqlx::query_scalar(&sql)
            .bind(format!("%{MARKER}%"))
            .bind(format!("%{bytes}%"))
            .fetch_one(owner)
            .await
            .unwrap();
        if is_there {
            found.push(table);
        }
    }
    found
}

/// The tables that hold rows of a workspace.
async fn tables_with_rows(owner: &PgPool, workspace: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (table, kind) in tables(owner).await {
        let id = match kind.as_deref() {
            Some("uuid") => "substr($1, 4)::uuid",
            Some(_) => "$1",
            None => continue,
        };
        let sql = format!("select exists (select from {table} where workspace_id = {id})");
        let has_rows: bool = sqlx::query_scalar(&sql)
            .bind(workspace)
            .fetch_one(owner)
            .await
            .unwrap();
        if has_rows {
            found.push(table);
        }
    }
    found.sort();
    found
}

/// A workspace in which a small and a large value were kept; the jobs that keep them.
async fn used(api: &Api) -> (String, Vec<String>) {
    let workspace = api.create_workspace("to be erased").await;
    let within = api.within(&workspace);
    within.register_echo("echo").await;
    let mut jobs = Vec::new();
    for input in [
        json!({ "text": MARKER }),
        json!({ "text": MARKER.repeat(5_000) }),
    ] {
        let ran = within.run("echo", &input).await;
        assert_eq!(ran["status"], "COMPLETED", "{ran}");
        jobs.push(ran["id"].as_str().unwrap().to_owned());
    }
    (workspace, jobs)
}

const STAYS: [&str; 4] = [
    "projections.audit",
    "public.event_log",
    "public.events",
    "public.vault",
];

#[tokio::test]
async fn an_erased_workspace_leaves_nothing_but_its_events() {
    let operator = Operator::new();
    let server = operator.serve().await;
    let api = Api::of(&server);
    let (workspace, jobs) = used(&api).await;
    api.register_echo("echo").await;
    api.run("echo", &json!({ "text": "of another workspace" }))
        .await;

    let looked = ["erase", "--workspace", &workspace, "--dry-run"];
    let looked = operator.run(&looked).await.succeeds();
    assert!(
        looked.words().contains("outputs of 2 jobs, 0 of which"),
        "{looked:?}"
    );
    assert!(looked.words().contains("1 large values"), "{looked:?}");
    let nobody = operator.run(&["erase", "--workspace", &workspace]).await;
    assert!(
        nobody.code() == 1 && nobody.words().contains("--yes"),
        "{nobody:?}"
    );
    let begun_with = WorkspaceId::DEFAULT.to_string();
    let refused = operator
        .run(&["erase", "--workspace", &begun_with, "--yes"])
        .await;
    assert!(refused.words().contains("--even-default"), "{refused:?}");
    let within = api.within(&workspace);
    assert!(within.data(JOB, json!({ "id": jobs[0] })).await["job"]["input"]["text"] == MARKER);

    let erase = ["erase", "--workspace", &workspace, "--yes"];
    operator.run(&erase).await.succeeds();
    for job in &jobs {
        let told = within.data(JOB, json!({ "id": job })).await;
        assert_eq!(told["job"]["input"], "erased");
        assert_eq!(told["job"]["output"], "erased");
        let fetched = within.get(&format!("/api/v1/jobs/{job}/output"), &[]).await;
        assert_eq!(fetched.status, 404);
    }
    let (code, message) = within.refused(RUN, json!({ "i": {} })).await;
    assert!(
        code == "CONFLICT" && message.contains("erased"),
        "{code} {message}"
    );
    let register = "mutation { registerTool(input: {name: \"more\", description: \"x\",
        native: {functionPath: \"echo\"}}) { id } }";
    let (code, message) = within.refused(register, json!({})).await;
    assert!(
        code == "CONFLICT" && message.contains("erased"),
        "{code} {message}"
    );
    let listed = within.data(
        "{ jobs { nodes { id } } tools { nodes { id } } }",
        json!({}),
    );
    let nothing: Value = json!({ "jobs": { "nodes": [] }, "tools": { "nodes": [] } });
    assert_eq!(listed.await, nothing);

    let log = operator.log().await;
    let owner = owner(&log).await;
    assert_eq!(tables_with_marker(&owner).await, Vec::<String>::new());
    assert_eq!(tables_with_rows(&owner, &workspace).await, STAYS);
    let (keys, told): (i64, i64) = sqlx::query_as(
        "select (select count(*) from vault where workspace_id = $1 and wrapped_key is not null),
                (select count(*) from projections.audit a
                 where a.workspace_id = substr($1, 4)::uuid and event_type <> 'WorkspaceErased')",
    )
    .bind(&workspace)
    .fetch_one(&owner)
    .await
    .unwrap();
    assert_eq!((keys, told), (0, 0));

    // What is rebuilt is as what was purged; the chain holds and goes on.
    operator.run(&["rebuild", "all"]).await.succeeds();
    assert_eq!(tables_with_rows(&owner, &workspace).await, STAYS);
    let ran = api.run("echo", &json!({ "text": "after it" })).await;
    assert_eq!(ran["status"], "COMPLETED", "{ran}");
    operator.run(&["verify"]).await.succeeds();
    // Said again it changes nothing.
    let head = log.log.feed.head().await.unwrap().position;
    operator.run(&erase).await.succeeds();
    assert_eq!(log.log.feed.head().await.unwrap().position, head);
    owner.close().await;
    log.close().await;
    server.stop().await;
}

#[tokio::test]
async fn an_erasure_that_is_killed_goes_on_when_it_is_begun_again() {
    let operator = Operator::new();
    let server = operator.serve().await;
    let api = Api::of(&server);
    let (workspace, jobs) = used(&api).await;
    // Without a server nobody takes the rest of the work over.
    server.stop().await;
    let mut process = operator
        .command(&["erase", "--workspace", &workspace, "--yes"])
        .spawn()
        .unwrap();
    let mut words = BufReader::new(process.stderr.take().unwrap()).lines();
    let destroyed = async {
        while let Some(line) = words.next_line().await.unwrap() {
            if line.contains("its key is destroyed") {
                return;
            }
        }
        panic!("it ended without a word");
    };
    tokio::time::timeout(PATIENCE, destroyed).await.unwrap();
    process.kill().await.unwrap();

    // Nothing can be read any more, and the log is sound, as far as it came.
    operator.run(&["verify"]).await.succeeds();
    let server = operator.serve().await;
    let within = Api::of(&server).within(&workspace);
    let told = within.data(JOB, json!({ "id": jobs[1] })).await;
    assert_eq!(told["job"]["input"], "erased");
    server.stop().await;

    let again = operator
        .run(&["erase", "--workspace", &workspace, "--yes"])
        .await
        .succeeds();
    assert!(again.words().contains("erased before"), "{again:?}");
    operator.run(&["verify"]).await.succeeds();
    let server = operator.serve().await;
    let log = operator.log().await;
    let owner = owner(&log).await;
    assert_eq!(tables_with_rows(&owner, &workspace).await, STAYS);
    assert_eq!(tables_with_marker(&owner).await, Vec::<String>::new());
    owner.close().await;
    log.close().await;
    server.stop().await;
}

/// Whose tools may call endpoints of this machine.
fn reaching_this_machine() -> Operator {
    let operator = Operator::new();
    let settings = "[egress]\nallow = [\"127.0.0.1\"]\n";
    std::fs::write(operator.path("toolroom.toml"), settings).unwrap();
    operator
}

/// Takes one connection after the other and answers each request with `{}`.
async fn answering() -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
        }
    });
    (url, task)
}

#[tokio::test]
async fn of_a_call_stays_that_it_was_made_and_nothing_of_what_it_carried() {
    let operator = reaching_this_machine();
    let server = operator.serve().await;
    let api = Api::of(&server);
    let workspace = api.create_workspace("to be erased").await;
    let within = api.within(&workspace);
    let (endpoint, task) = answering().await;
    let register = "mutation($i: RegisterToolInput!) { registerTool(input: $i) { id } }";
    let tool = json!({ "name": "look-up", "description": "finds a customer", "rest": {
        "api": { "base_url": endpoint, "path": "customers/{{ input.who }}",
                 "query": { "of": "{{ input.who }}" } },
        "input_schema": { "type": "object" } } });
    within.data(register, json!({ "i": tool })).await;
    let ran = within.run("look-up", &json!({ "who": MARKER })).await;
    assert_eq!(ran["status"], "COMPLETED", "{ran}");

    let receipts = "query($id: ID!) { job(id: $id) {
        receipts { method url sentUrl requestSha256 status outcome } } }";
    let told = |of: Value| of["job"]["receipts"][0].clone();
    let before = told(within.data(receipts, json!({ "id": ran["id"] })).await);
    let sent = format!("{endpoint}/customers/{MARKER}?of={MARKER}");
    assert_eq!(before["sentUrl"], sent);
    assert_eq!(
        before["url"],
        format!("{endpoint}/customers/{{{{ input.who }}}}")
    );
    assert_eq!(
        (&before["method"], &before["status"], &before["outcome"]),
        (&json!("GET"), &json!(200), &json!("ANSWERED"))
    );
    // Whoever has the workspace's key can tell whether this was sent.
    let mut digest = Context::new(&SHA256);
    for part in ["GET", &sent, ""] {
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let digest = digest.finish();
    let plain: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let log = operator.log().await;
    let keyed = log
        .log
        .vault
        .keyed_digest(workspace.parse().unwrap(), &plain);
    assert_eq!(before["requestSha256"], keyed.await.unwrap().1);
    // In the log there is no more of it, whether erased or not.
    let owner = owner(&log).await;
    let is_told: bool = sqlx::query_scalar(
        "select exists (select from events where payload::text like '%' || $1 || '%'
                                              or payload::text like '%' || $2 || '%')",
    )
    .bind(MARKER)
    .bind(&plain)
    .fetch_one(&owner)
    .await
    .unwrap();
    assert!(!is_told);

    let erase = ["erase", "--workspace", &workspace, "--yes"];
    operator.run(&erase).await.succeeds();
    let after = told(within.data(receipts, json!({ "id": ran["id"] })).await);
    assert_eq!(after["sentUrl"], Value::Null);
    for field in ["method", "url", "requestSha256", "status", "outcome"] {
        assert_eq!(after[field], before[field]);
    }
    owner.close().await;
    log.close().await;
    operator.run(&["verify"]).await.succeeds();
    server.stop().await;
    task.abort();
}

#[tokio::test]
async fn jobs_that_run_and_wait_end_with_the_workspace() {
    let operator = reaching_this_machine();
    let server = operator.serve().await;
    let api = Api::of(&server);
    let (workspace, _) = used(&api).await;
    let within = api.within(&workspace);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/", listener.local_addr().unwrap());
    let register =
        "mutation($u: String!) { registerTool(input: {name: \"hangs\", description: \"x\",
        external: {endpointUrl: $u, inputSchema: {type: \"object\"}}}) { id } }";
    within.data(register, json!({ "u": endpoint })).await;
    let submit = "mutation($i: JSON!, $t: String!, $at: DateTime) {
        submitJob(toolName: $t, input: $i, runAt: $at) { id } }";
    let running = json!({ "i": { "text": MARKER }, "t": "hangs" });
    let running = within.data(submit, running).await["submitJob"]["id"].take();
    let tomorrow = SystemClock.now() + SignedDuration::from_hours(24);
    let waiting = json!({ "i": { "text": MARKER }, "t": "echo", "at": tomorrow.to_string() });
    let waiting = within.data(submit, waiting).await["submitJob"]["id"].take();
    let (mut called, _) = tokio::time::timeout(PATIENCE, listener.accept())
        .await
        .expect("the call is made")
        .unwrap();

    let ended = operator
        .run(&["erase", "--workspace", &workspace, "--yes"])
        .await
        .succeeds();
    assert!(ended.words().contains("2 jobs cancelled"), "{ended:?}");
    // The call is aborted: its connection ends.
    let mut request = Vec::new();
    let aborted = called.read_to_end(&mut request);
    let _ = tokio::time::timeout(PATIENCE, aborted)
        .await
        .expect("the call is aborted");
    for job in [running, waiting] {
        let told = within.data(JOB, json!({ "id": job })).await;
        assert_eq!(told["job"]["status"], "CANCELLED");
    }
    let log = operator.log().await;
    let owner = owner(&log).await;
    // A call that was under way may tell its gate how it ended, which is a number and no more.
    let mut left = tables_with_rows(&owner, &workspace).await;
    left.retain(|table| table != "operational.gates");
    assert_eq!(left, STAYS);
    owner.close().await;
    log.close().await;
    operator.run(&["verify"]).await.succeeds();
    server.stop().await;
}
