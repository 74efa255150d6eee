//! Workspaces: made, changed, ended, listed.

use serde_json::{Value, json};
use toolroom_domain::Role;

use crate::{
    people::{CREATE, join, person, program, start, workspace_of},
    support::{App, Outside},
};

const UPDATE: &str = "mutation ($id: ID!, $name: String, $zone: String, $command: String) {
    updateWorkspace(id: $id, name: $name, timeZone: $zone, commandId: $command) {
        id name timeZone
    }
}";

const DELETE: &str = "mutation ($id: ID!, $command: String) {
    deleteWorkspace(id: $id, commandId: $command) { id name }
}";

const SET_PLAN: &str = "mutation ($id: ID!, $plan: Plan!, $command: String) {
    setPlan(workspaceId: $id, plan: $plan, commandId: $command) { id plan }
}";

const VIEWER: &str = "{ viewer { id email authenticatedBy role workspace { id name plan } } }";

async fn app() -> App {
    start(Outside::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_is_told_who_they_are_and_where() {
    let app = app().await;
    let local = app.ask(VIEWER, json!({})).await;
    assert_eq!(
        local["viewer"],
        json!({ "id": "user:local", "email": null, "authenticatedBy": "local", "role": "OWNER",
                "workspace": { "id": "ws_00000000000000000000000000000000", "name": "default",
                               "plan": "ENTERPRISE" } })
    );
    let id = workspace_of(&app, "ann").await;
    join(&app, &id, "bob", "AUDITOR").await;
    let bob = person(&app, "bob", Some(&id)).await;
    let told = app.ask_as(&bob, VIEWER, json!({})).await;
    assert_eq!(
        told["viewer"],
        json!({ "id": "user:bob", "email": "bob@example.com", "authenticatedBy": "token",
                "role": "AUDITOR", "workspace": { "id": id, "name": "ann's", "plan": "FREE" } })
    );
    let key = program(&id, Role::Viewer);
    let told = app.ask_as(&key, VIEWER, json!({})).await;
    assert_eq!(told["viewer"]["authenticatedBy"], "api_key");
    assert_eq!(told["viewer"]["role"], "VIEWER");
    let nobody = person(&app, "eve", None).await;
    let refused = app.refusal_as(&nobody, VIEWER, json!({})).await;
    assert_eq!(refused["code"], "FORBIDDEN");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_is_made_once_whichever_is_selected_when_it_is_said_again() {
    let app = app().await;
    let ann = person(&app, "ann", None).await;
    let command = json!({ "name": "tools", "command": "once" });
    let first = app.ask_as(&ann, CREATE, command.clone()).await;
    let made = &first["createWorkspace"];
    assert_eq!(
        (&made["plan"], &made["timeZone"]),
        (&json!("FREE"), &json!("UTC"))
    );
    let id = made["id"].as_str().unwrap();

    let there = person(&app, "ann", Some(id)).await;
    assert_eq!(app.ask_as(&there, CREATE, command.clone()).await, first);
    let other = json!({ "name": "others", "command": "once" });
    let refused = app.refusal_as(&there, CREATE, other).await;
    assert_eq!(refused["code"], "IDEMPOTENCY_CONFLICT");
    let bob = person(&app, "bob", None).await;
    let theirs = app.ask_as(&bob, CREATE, command).await;
    assert_ne!(
        theirs["createWorkspace"]["id"], made["id"],
        "another's command"
    );

    let list = "{ workspaces { totalCount nodes { id } } }";
    let listed = app.ask_as(&there, list, json!({})).await;
    assert_eq!(
        listed["workspaces"],
        json!({ "totalCount": 1, "nodes": [{ "id": id }] })
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_name_or_comes_from_a_program_makes_no_workspace() {
    let app = app().await;
    let ann = person(&app, "ann", None).await;
    for name in ["", " ", "a\nb", &"x".repeat(201)] {
        let refused = app.refusal_as(&ann, CREATE, json!({ "name": name })).await;
        assert_eq!(refused["code"], "VALIDATION_FAILED", "{name}");
        assert_eq!(refused["details"][0]["path"], "name", "{name}");
    }
    let id = workspace_of(&app, "ann").await;
    let key = program(&id, Role::Owner);
    let refused = app.refusal_as(&key, CREATE, json!({ "name": "x" })).await;
    assert_eq!(refused["code"], "FORBIDDEN");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_named_of_a_workspace_changes() {
    let app = app().await;
    let id = workspace_of(&app, "ann").await;
    let ann = person(&app, "ann", Some(&id)).await;
    let zone = json!({ "id": id, "zone": "Europe/Berlin", "command": "zone" });
    for _ in 0..2 {
        let updated = app.ask_as(&ann, UPDATE, zone.clone()).await;
        let expected = json!({ "id": id, "name": "ann's", "timeZone": "Europe/Berlin" });
        assert_eq!(updated["updateWorkspace"], expected);
    }
    let name = json!({ "id": id, "name": "renamed" });
    let updated = app.ask_as(&ann, UPDATE, name).await;
    assert_eq!(updated["updateWorkspace"]["name"], "renamed");
    assert_eq!(updated["updateWorkspace"]["timeZone"], "Europe/Berlin");
    let wrong = json!({ "id": id, "name": "", "zone": "Mars/Olympus" });
    let refused = app.refusal_as(&ann, UPDATE, wrong).await;
    let paths: Vec<_> = refused["details"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| &d["path"])
        .collect();
    assert_eq!(paths, ["name", "timeZone"]);
    let viewed = app.ask_as(&ann, VIEWER, json!({})).await;
    assert_eq!(viewed["viewer"]["workspace"]["name"], "renamed");

    join(&app, &id, "bob", "MEMBER").await;
    let bob = person(&app, "bob", Some(&id)).await;
    let refused = app
        .refusal_as(&bob, UPDATE, json!({ "id": id, "name": "x" }))
        .await;
    assert_eq!(refused["code"], "FORBIDDEN");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_that_is_not_selected_is_not_there() {
    let app = app().await;
    let (mine, theirs) = (
        workspace_of(&app, "ann").await,
        workspace_of(&app, "bob").await,
    );
    let ann = person(&app, "ann", Some(&mine)).await;
    let unknown = "ws_0123456789abcdef0123456789abcdef";
    let mut told = Vec::new();
    for id in [
        &theirs,
        unknown,
        "nonsense",
        "",
        "ws_ffffffffffffffffffffffffffffffff",
    ] {
        for (query, variables) in [
            (UPDATE, json!({ "id": id, "name": "x" })),
            (DELETE, json!({ "id": id })),
            (
                crate::people::INVITE,
                json!({ "ws": id, "email": "a@b", "role": "VIEWER" }),
            ),
            (
                crate::people::SET_ROLE,
                json!({ "ws": id, "user": "bob", "role": "VIEWER" }),
            ),
            (crate::people::REMOVE, json!({ "ws": id, "user": "bob" })),
        ] {
            let refused = app.refusal_as(&ann, query, variables).await;
            assert_eq!(refused["code"], "NOT_FOUND", "{id} {query}");
            told.push(refused["message"].clone());
        }
    }
    told.dedup();
    assert_eq!(told.len(), 1, "a foreign one is told from none: {told:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_ends_but_for_the_one_that_the_server_began_with() {
    let app = app().await;
    let id = workspace_of(&app, "ann").await;
    join(&app, &id, "bob", "ADMIN").await;
    let bob = person(&app, "bob", Some(&id)).await;
    let refused = app.refusal_as(&bob, DELETE, json!({ "id": id })).await;
    assert_eq!(refused["code"], "FORBIDDEN");
    let ann = person(&app, "ann", Some(&id)).await;
    for _ in 0..2 {
        let deleted = app
            .ask_as(&ann, DELETE, json!({ "id": id, "command": "end" }))
            .await;
        assert_eq!(deleted["deleteWorkspace"]["id"], json!(id));
    }
    let listed = app
        .ask_as(&ann, "{ workspaces { nodes { id } } }", json!({}))
        .await;
    assert_eq!(listed["workspaces"]["nodes"], json!([]));
    assert!(
        app.state
            .auth
            .workspace(id.parse().unwrap())
            .await
            .unwrap()
            .is_none()
    );

    let default = json!({ "id": "ws_00000000000000000000000000000000" });
    let refused = app.refusal(DELETE, default).await;
    assert_eq!(refused["code"], "CONFLICT");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_are_granted_by_whoever_runs_the_server_alone() {
    let app = app().await;
    let default = "ws_00000000000000000000000000000000";
    let plan = json!({ "id": default, "plan": "PRO", "command": "grant" });
    for _ in 0..2 {
        let granted = app.ask(SET_PLAN, plan.clone()).await;
        assert_eq!(granted["setPlan"], json!({ "id": default, "plan": "PRO" }));
    }
    let id = workspace_of(&app, "ann").await;
    let ann = person(&app, "ann", Some(&id)).await;
    let own = json!({ "id": id, "plan": "ENTERPRISE" });
    let refused = app.refusal_as(&ann, SET_PLAN, own).await;
    assert_eq!(refused["code"], "FORBIDDEN");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workspaces_are_listed_newest_first_and_read_on_by_cursor() {
    let app = app().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(workspace_of(&app, "ann").await);
    }
    workspace_of(&app, "bob").await;
    let ann = person(&app, "ann", Some(&ids[0])).await;
    let list = "query ($after: String) { workspaces(first: 2, after: $after) {
        totalCount pageInfo { endCursor hasNextPage } nodes { id } } }";
    let first = app.ask_as(&ann, list, json!({})).await;
    let of = |page: &Value| -> Vec<String> {
        let nodes = page["workspaces"]["nodes"].as_array().unwrap();
        nodes
            .iter()
            .map(|node| node["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(of(&first), [ids[2].as_str(), ids[1].as_str()]);
    assert_eq!(first["workspaces"]["totalCount"], 3);
    let after = &first["workspaces"]["pageInfo"]["endCursor"];
    let second = app.ask_as(&ann, list, json!({ "after": after })).await;
    assert_eq!(of(&second), [ids[0].as_str()]);
    let refused = app
        .refusal_as(&ann, crate::people::MEMBERS, json!({ "after": after }))
        .await;
    assert_eq!(
        refused["code"], "VALIDATION_FAILED",
        "a cursor of another list"
    );

    let key = program(&ids[1], Role::Viewer);
    let its = app.ask_as(&key, list, json!({})).await;
    assert_eq!(of(&its), [ids[1].as_str()], "a key has one workspace");
    let all = app.ask("{ workspaces { totalCount } }", json!({})).await;
    assert_eq!(
        all["workspaces"]["totalCount"], 5,
        "whoever runs the server sees all"
    );
    app.stop().await;
}
