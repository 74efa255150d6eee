//! Keys that were revoked, and those who guess.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App, PATIENCE, people::Caller};

/// How soon a revocation works on every node.
const REVOKED_WITHIN: Duration = Duration::from_secs(1);

async fn key(app: &App, name: &str, role: &str) -> (String, String) {
    let query = "mutation ($n: String!, $r: Role!) {
        createApiKey(name: $n, role: $r) { apiKey { id } secret } }";
    let made = app.data(query, json!({ "n": name, "r": role })).await;
    let made = &made["createApiKey"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&made["apiKey"]["id"]), text(&made["secret"]))
}

async fn status(caller: &Caller) -> u16 {
    caller.send(Method::GET, "/tools", None).await.status
}

#[tokio::test]
async fn a_revoked_key_opens_nothing_on_any_node_and_the_audit_tells_who_tries_it() {
    let app = App::start_closed().await;
    let other = app.another_node().await;
    let (id, secret) = key(&app, "leaked", "MEMBER").await;
    let here = app.shown(Some(&secret));
    let there = other.shown(Some(&secret));
    assert_eq!((status(&here).await, status(&there).await), (200, 200));

    let revoke = "mutation ($id: ID!) { revokeApiKey(id: $id) { revokedAt } }";
    app.data(revoke, json!({ "id": id })).await;
    let since = Instant::now();
    assert_eq!(status(&here).await, 401, "at once where it was revoked");
    while status(&there).await != 401 {
        assert!(since.elapsed() < REVOKED_WITHIN, "{:?}", since.elapsed());
    }

    let query = "query ($a: String!) {
        auditLog(filter: { type: [\"AccessDenied\"], actor: $a }) { nodes { payload ip } } }";
    let told = async {
        loop {
            let found = app.data(query, json!({ "a": format!("key:{id}") })).await;
            if let Some(event) = found["auditLog"]["nodes"].get(0) {
                return event.clone();
            }
        }
    };
    let event = tokio::time::timeout(PATIENCE, told)
        .await
        .expect("it is told");
    assert_eq!(event["payload"]["operation"], "authenticate", "{event}");
    assert_eq!(event["ip"], "127.0.0.1", "{event}");
    assert!(!event.to_string().contains(&secret));
}

#[tokio::test]
async fn what_a_role_does_not_permit_is_told_in_the_audit() {
    let app = App::start_closed().await;
    let (id, secret) = key(&app, "reader", "VIEWER").await;
    let viewer = app.shown(Some(&secret));
    for _ in 0..50 {
        let refused = viewer.refusal("mutation { executeTool(toolName: \"x\", input: {}) { id } }");
        assert_eq!(refused.await, "FORBIDDEN");
    }
    let query = "{ auditLog(filter: { type: [\"AccessDenied\"] }) { nodes { actor payload } } }";
    let told = async {
        loop {
            let found = app.data(query, json!({})).await;
            let nodes = found["auditLog"]["nodes"].as_array().unwrap().clone();
            if !nodes.is_empty() {
                return nodes;
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, told)
        .await
        .expect("it is told");
    assert!(told.len() < 5, "not one each: {told:?}");
    assert_eq!(told[0]["actor"], format!("key:{id}"));
    assert_eq!(told[0]["payload"]["operation"], "executeTool", "{told:?}");
}

#[tokio::test]
async fn whoever_guesses_is_made_to_wait_and_nobody_else() {
    let app = App::start_closed_with(&[("TOOLROOM_PROXIES_TRUSTED", "127.0.0.0/8")]).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let from = async |address: &str, credential: &str| {
        let request = http
            .get(format!("{}/tools", app.url))
            .header("x-forwarded-for", address)
            .header("x-api-key", credential);
        Answer::of(request).await
    };
    let (_, good) = key(&app, "good", "VIEWER").await;
    let (_, known) = key(&app, "known", "VIEWER").await;
    assert_eq!(from("203.0.113.7", &known).await.status, 200);
    let (id, forgotten) = key(&app, "forgotten", "VIEWER").await;
    let revoke = "mutation ($id: ID!) { revokeApiKey(id: $id) { revokedAt } }";
    app.data(revoke, json!({ "id": id })).await;
    for _ in 0..60 {
        let answer = from("203.0.113.7", &forgotten).await;
        assert_eq!(answer.status, 401, "a key that was issued once is no guess");
    }
    let mut last = 401;
    let mut failures = 0;
    while last == 401 {
        last = from("203.0.113.7", &format!("guess-{failures}"))
            .await
            .status;
        failures += 1;
        assert!(failures < 50, "nobody stops it");
    }
    assert_eq!(last, 429);
    let refused = from("203.0.113.7", &good).await;
    assert_eq!(refused.status, 429, "no new credential is looked at");
    let here = from("203.0.113.7", &known).await;
    assert_eq!(
        here.status, 200,
        "whoever is known is not held up by a neighbour"
    );
    assert_eq!(refused.code().as_deref(), Some("RATE_LIMIT_EXCEEDED"));
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(from("203.0.113.8", &good).await.status, 200);
    let known = from("203.0.113.7", &good).await;
    assert_eq!(known.status, 200, "who was right before is not shut out");
    let none = http.get(format!("{}/livez", app.url));
    let none = none.header("x-forwarded-for", "203.0.113.7");
    assert_eq!(Answer::of(none).await.status, 200, "probes show nothing");
}

#[tokio::test]
async fn what_an_aggregate_does_not_permit_is_told_in_the_audit_too() {
    let app = App::start_closed().await;
    let (id, secret) = key(&app, "climber", "ADMIN").await;
    let climber = app.shown(Some(&secret));
    let climb = "mutation { createApiKey(name: \"up\", role: OWNER) { secret } }";
    assert_eq!(climber.refusal(climb).await, "FORBIDDEN");
    let elsewhere = climber
        .http
        .get(format!("{}/tools", app.url))
        .header("x-workspace-id", "ws_00000000000000000000000000000009");
    assert_eq!(Answer::of(elsewhere).await.status, 404);

    let query = "query ($a: String!) {
        auditLog(filter: { type: [\"AccessDenied\"], actor: $a }) { nodes { payload } } }";
    let told = async {
        loop {
            let found = app.data(query, json!({ "a": format!("key:{id}") })).await;
            let nodes = found["auditLog"]["nodes"].as_array().unwrap().clone();
            if nodes.len() >= 2 {
                return nodes;
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, told)
        .await
        .expect("both are told");
    let operations: Vec<_> = told
        .iter()
        .map(|event| event["payload"]["operation"].clone())
        .collect();
    assert_eq!(operations, ["createApiKey", "selectWorkspace"], "{told:?}");
}

#[tokio::test]
async fn whoever_is_in_no_workspace_is_bounded_too() {
    let app = App::start_closed().await;
    let stranger = app.user("stranger");
    let mut answered = 0;
    let refused = loop {
        let answer = stranger
            .graphql("{ workspaces { totalCount } }", json!({}))
            .await;
        if answer.status == 429 {
            break answer;
        }
        answered += 1;
        assert!(answered < 500, "nothing bounds it");
    };
    assert!(answered >= 50, "{answered}");
    assert_eq!(refused.code().as_deref(), Some("RATE_LIMIT_EXCEEDED"));
    assert!(refused.headers.contains_key("retry-after"));
    let other = app
        .user("other")
        .graphql("{ workspaces { totalCount } }", json!({}))
        .await;
    assert_eq!(other.status, 200, "{}", other.body);
}

#[tokio::test]
async fn a_revoked_key_takes_its_open_invitations_with_it() {
    let app = App::start_closed().await;
    let (id, secret) = key(&app, "leaked", "ADMIN").await;
    let workspace = app.data("{ viewer { workspace { id } } }", json!({})).await;
    let workspace = &workspace["viewer"]["workspace"]["id"];
    let invite = "mutation ($w: ID!, $e: String!) {
        inviteMember(workspaceId: $w, email: $e, role: ADMIN) { inviteUrl } }";
    let token = async |email: &str| {
        let asked = json!({ "w": workspace, "e": email });
        let invited = app.shown(Some(&secret)).data(invite, asked).await;
        let link = invited["inviteMember"]["inviteUrl"]
            .as_str()
            .unwrap()
            .to_owned();
        link.rsplit_once("token=").unwrap().1.to_owned()
    };
    let (early, late) = (
        token("early@example.com").await,
        token("late@example.com").await,
    );
    let accept = "mutation ($t: String!) { acceptInvitation(token: $t) { role } }";
    let joined = app.user("early").data(accept, json!({ "t": early })).await;
    assert_eq!(joined["acceptInvitation"]["role"], "ADMIN");

    let revoke = "mutation ($id: ID!) { revokeApiKey(id: $id) { revokedAt } }";
    app.data(revoke, json!({ "id": id })).await;
    let refused = app.user("late").graphql(accept, json!({ "t": late })).await;
    assert_eq!(
        refused.code().as_deref(),
        Some("NOT_FOUND"),
        "{}",
        refused.body
    );
}
