//! API keys: shown once, held to their maker's role, revoked at once.

use serde_json::{Value, json};
use toolroom_api::auth::{
    Identify as _, Presented,
    bootstrap::{self, OperatorKey},
};
use toolroom_domain::{Role, WorkspaceId, access::Caller};

use crate::{
    people::{CREATE_KEY, join, person, program, start, workspace_of, written},
    support::{App, Outside},
};

const REVOKE: &str = "mutation ($id: ID!, $command: String) {
    revokeApiKey(id: $id, commandId: $command) { id revokedAt }
}";

const LIST: &str = "query ($first: Int, $after: String) { apiKeys(first: $first, after: $after) {
    totalCount pageInfo { endCursor hasNextPage } nodes { id name role operator createdBy revokedAt } } }";

fn shown(secret: &str) -> Presented {
    Presented {
        credential: Some(secret.to_owned()),
        ..Presented::default()
    }
}

async fn app() -> App {
    start(Outside::default()).await
}

/// Makes a key of the workspace `default` on the database; its id.
async fn direct_key(app: &App, operator: bool) -> String {
    let wanted = OperatorKey {
        name: "direct",
        role: Role::Viewer,
        operator,
        expires_at: None,
    };
    let (log, clock) = (&app.state.log, app.state.clock.as_ref());
    let made = bootstrap::direct_key(log, app.state.auth.hash_key(), clock, wanted).await;
    made.unwrap().0.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_runs_the_server_is_seen_in_the_list_and_in_the_log() {
    let app = app().await;
    let default = WorkspaceId::DEFAULT.to_string();
    let operator = direct_key(&app, true).await;
    let plain = direct_key(&app, false).await;
    let admin = program(&default, Role::Admin);
    let new = json!({ "name": "ci", "role": "VIEWER" });
    let made = app.ask_as(&admin, CREATE_KEY, new).await["createApiKey"]["apiKey"].take();
    let by_admin = json!(admin.actor.as_str());
    assert_eq!(made["operator"], false);
    assert_eq!(made["createdBy"], by_admin);

    let listed = app.ask_as(&admin, LIST, json!({})).await;
    let nodes = listed["apiKeys"]["nodes"].as_array().unwrap();
    let told: Vec<_> = nodes
        .iter()
        .map(|node| (&node["id"], &node["operator"], &node["createdBy"]))
        .collect();
    let direct = json!("system:direct");
    assert_eq!(
        told,
        [
            (&made["id"], &json!(false), &by_admin),
            (&json!(plain), &json!(false), &direct),
            (&json!(operator), &json!(true), &direct),
        ]
    );
    let events = written(&app).await;
    assert_eq!(
        events.matches(r#"""operator"":true"#).count(),
        1,
        "{events}"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_shown_once_and_kept_nowhere() {
    let app = app().await;
    let id = workspace_of(&app, "ann").await;
    let ann = person(&app, "ann", Some(&id)).await;
    let command = json!({ "name": "ci", "role": "MEMBER", "command": "once" });
    let first = app.ask_as(&ann, CREATE_KEY, command.clone()).await;
    let made = &first["createApiKey"];
    let secret = made["secret"].as_str().unwrap().to_owned();
    let prefix = made["apiKey"]["prefix"].as_str().unwrap();
    assert!(secret.starts_with(&format!("tr_{prefix}_")), "{prefix}");
    assert!(made["apiKey"]["expiresAt"].is_null() && made["apiKey"]["revokedAt"].is_null());

    let again = app.ask_as(&ann, CREATE_KEY, command.clone()).await;
    assert!(again["createApiKey"]["secret"].is_null());
    assert_eq!(again["createApiKey"]["apiKey"], made["apiKey"]);
    let other = json!({ "name": "ci", "role": "ADMIN", "command": "once" });
    let refused = app.refusal_as(&ann, CREATE_KEY, other).await;
    assert_eq!(refused["code"], "IDEMPOTENCY_CONFLICT");

    let sender = app.state.auth.identify(&shown(&secret)).await.unwrap();
    assert_eq!(sender.workspace.to_string(), id);
    assert_eq!(sender.caller, Caller::Key(Role::Member));
    let (_, hidden) = secret.split_at(3 + 12 + 1);
    assert!(!written(&app).await.contains(hidden), "the secret is kept");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_may_more_than_its_maker() {
    let app = app().await;
    let id = workspace_of(&app, "ann").await;
    join(&app, &id, "adam", "ADMIN").await;
    join(&app, &id, "mia", "MEMBER").await;
    let code = async |sender, role| {
        let new = json!({ "name": "k", "role": role });
        app.refusal_as(sender, CREATE_KEY, new).await["code"].take()
    };
    let adam = person(&app, "adam", Some(&id)).await;
    assert_eq!(code(&adam, "OWNER").await, "FORBIDDEN");
    let key = program(&id, Role::Admin);
    assert_eq!(code(&key, "OWNER").await, "FORBIDDEN");
    let mia = person(&app, "mia", Some(&id)).await;
    assert_eq!(code(&mia, "VIEWER").await, "FORBIDDEN");
    for role in ["ADMIN", "MEMBER", "VIEWER", "AUDITOR"] {
        let new = json!({ "name": "k", "role": role });
        let made = app.ask_as(&adam, CREATE_KEY, new).await;
        assert_eq!(made["createApiKey"]["apiKey"]["role"], role);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_named_and_ends_in_the_future() {
    let app = app().await;
    for (name, expires, path) in [
        ("", Value::Null, "name"),
        ("a\nb", Value::Null, "name"),
        ("k", json!("2001-01-01T00:00:00Z"), "expiresAt"),
    ] {
        let new = json!({ "name": name, "role": "VIEWER", "expires": expires });
        let refused = app.refusal(CREATE_KEY, new).await;
        assert_eq!(refused["code"], "VALIDATION_FAILED");
        assert_eq!(refused["details"][0]["path"], path);
    }
    let new = json!({ "name": "k", "role": "VIEWER", "expires": "2999-01-01T00:00:00Z" });
    let made = app.ask(CREATE_KEY, new).await;
    let expires = &made["createApiKey"]["apiKey"]["expiresAt"];
    assert_eq!(expires, "2999-01-01T00:00:00Z");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_runs_the_server_is_revoked_by_operators_alone() {
    let app = app().await;
    let default = WorkspaceId::DEFAULT.to_string();
    let operator = direct_key(&app, true).await;
    for role in [Role::Owner, Role::Admin] {
        let sender = program(&default, role);
        let revoke = json!({ "id": operator });
        let refused = app.refusal_as(&sender, REVOKE, revoke).await;
        assert_eq!(refused["code"], "FORBIDDEN");
        let message = refused["message"].as_str().unwrap();
        assert!(
            message.starts_with("this key runs the server;"),
            "{message}"
        );
    }
    // Its hash counts as before.
    let owner = app.state.log.database.owner_pool().await.unwrap();
    let open = "select count(*) from key_hashes where operator and revoked_at is null";
    let open: i64 = sqlx::query_scalar(open).fetch_one(&owner).await.unwrap();
    assert_eq!(open, 1);
    owner.close().await;

    let plain = direct_key(&app, false).await;
    let admin = program(&default, Role::Admin);
    let revoked = app.ask_as(&admin, REVOKE, json!({ "id": plain })).await;
    assert!(revoked["revokeApiKey"]["revokedAt"].is_string());
    let mut runs_it = admin;
    runs_it.caller = Caller::Operator;
    let first = app
        .ask_as(&runs_it, REVOKE, json!({ "id": operator }))
        .await;
    assert!(first["revokeApiKey"]["revokedAt"].is_string());
    let again = app
        .ask_as(&runs_it, REVOKE, json!({ "id": operator }))
        .await;
    assert_eq!(again, first, "revoking twice is fine");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_opens_nothing_at_once() {
    let app = app().await;
    let id = workspace_of(&app, "ann").await;
    let ann = person(&app, "ann", Some(&id)).await;
    let new = json!({ "name": "k", "role": "VIEWER" });
    let made = app.ask_as(&ann, CREATE_KEY, new).await["createApiKey"].take();
    let secret = made["secret"].as_str().unwrap();
    let key = &made["apiKey"]["id"];
    app.state.auth.identify(&shown(secret)).await.unwrap();

    // Another workspace's keys are not there, whoever asks.
    let theirs = workspace_of(&app, "bob").await;
    let bob = person(&app, "bob", Some(&theirs)).await;
    let mut told = Vec::new();
    for id in [
        key,
        &json!("key_0123456789abcdef0123456789abcdef"),
        &json!("x"),
    ] {
        let refused = app.refusal_as(&bob, REVOKE, json!({ "id": id })).await;
        assert_eq!(refused["code"], "NOT_FOUND");
        told.push(refused["message"].clone());
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    app.state.auth.identify(&shown(secret)).await.unwrap();

    let revoke = json!({ "id": key, "command": "end" });
    let first = app.ask_as(&ann, REVOKE, revoke.clone()).await;
    assert!(first["revokeApiKey"]["revokedAt"].is_string());
    assert_eq!(app.ask_as(&ann, REVOKE, revoke).await, first);
    let later = app.ask_as(&ann, REVOKE, json!({ "id": key })).await;
    assert_eq!(later, first, "revoking twice is fine");
    let refused = app.state.auth.identify(&shown(secret)).await;
    assert_eq!(refused.unwrap_err().code.as_str(), "UNAUTHENTICATED");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_listed_newest_first_in_their_own_workspace() {
    let app = app().await;
    let id = workspace_of(&app, "ann").await;
    let ann = person(&app, "ann", Some(&id)).await;
    for name in ["one", "two", "three"] {
        let new = json!({ "name": name, "role": "VIEWER" });
        app.ask_as(&ann, CREATE_KEY, new).await;
    }
    let first = app.ask_as(&ann, LIST, json!({ "first": 2 })).await;
    let names = |page: &Value| -> Vec<String> {
        let nodes = page["apiKeys"]["nodes"].as_array().unwrap();
        nodes
            .iter()
            .map(|node| node["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&first), ["three", "two"]);
    assert_eq!(first["apiKeys"]["totalCount"], 3);
    let after = &first["apiKeys"]["pageInfo"]["endCursor"];
    let rest = app
        .ask_as(&ann, LIST, json!({ "first": 2, "after": after }))
        .await;
    assert_eq!(names(&rest), ["one"]);
    let theirs = workspace_of(&app, "bob").await;
    let bob = person(&app, "bob", Some(&theirs)).await;
    let none = app.ask_as(&bob, LIST, json!({})).await;
    assert_eq!(none["apiKeys"]["totalCount"], 0);
    app.stop().await;
}
