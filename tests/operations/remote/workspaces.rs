//! Workspaces and members.

use serde_json::{Value, json};

use super::{StandIn, WORKSPACE, log_in, ran, stand_in::Seen, viewer};
use crate::support::{Operator, Ran};

const OTHER: &str = "ws_00000000000000000000000000000008";

fn workspace(id: &str) -> Value {
    json!({
        "id": id,
        "name": "Acme",
        "plan": "FREE",
        "timeZone": "Europe/Berlin",
        "createdAt": "2026-11-21T08:00:00Z",
    })
}

fn member() -> Value {
    json!({"userId": "auth0|jane", "email": "jane@a.test", "role": "ADMIN", "status": "ACTIVE"})
}

fn answer(seen: &Seen) -> Value {
    let page = |node: Value| json!({"nodes": [node], "pageInfo": {"hasNextPage": false}});
    let selected = seen.workspace.as_deref().unwrap_or(WORKSPACE);
    match seen.operation.as_str() {
        "Viewer" => viewer(selected),
        "Workspaces" => json!({"workspaces": page(workspace(WORKSPACE))}),
        "CreateWorkspace" => json!({"createWorkspace": workspace(OTHER)}),
        "UpdateWorkspace" => json!({"updateWorkspace": workspace(selected)}),
        "DeleteWorkspace" => json!({"deleteWorkspace": workspace(selected)}),
        "SetPlan" => json!({"setPlan": workspace(selected)}),
        "Members" => json!({"members": page(member())}),
        "InviteMember" => {
            let mut invited = member();
            // As if mail were configured for everybody but Jane.
            invited["inviteUrl"] = match seen.variables["email"].as_str() {
                Some("jane@a.test") => json!("https://a.test/join#token"),
                _ => Value::Null,
            };
            json!({"inviteMember": invited})
        }
        "SetMemberRole" => json!({"setMemberRole": member()}),
        "RemoveMember" => json!({"removeMember": member()}),
        other => panic!("{other}"),
    }
}

struct Client {
    operator: Operator,
    server: StandIn,
}

impl Client {
    async fn new() -> Self {
        let client = Self {
            operator: Operator::new(),
            server: StandIn::with_data(answer).await,
        };
        log_in(&client.operator, &client.server).await;
        client
    }

    async fn run(&self, arguments: &[&str]) -> Ran {
        let arguments = [&["workspaces"], arguments].concat();
        ran(&mut self.operator.client(&arguments)).await
    }

    fn last(&self) -> Seen {
        self.server.seen().pop().expect("something came")
    }
}

#[tokio::test]
async fn workspaces_are_made_listed_changed_and_ended() {
    let client = Client::new().await;
    let made = client.run(&["create", "Acme"]).await.succeeds();
    assert_eq!(made.out(), format!("{OTHER}\n"));
    assert_eq!(client.last().variables, json!({"name": "Acme"}));

    let listed = client.run(&["list"]).await.succeeds();
    assert!(listed.out().contains("Europe/Berlin"), "{listed:?}");

    client.run(&["update", "--name", "Acme"]).await.succeeds();
    // The selected one, and nothing that was not named: null would clear it.
    assert_eq!(
        client.last().variables,
        json!({"id": WORKSPACE, "name": "Acme"})
    );
    assert_ne!(client.run(&["update"]).await.code(), 0);

    let asked = client.run(&["delete", OTHER]).await;
    assert!(
        asked.code() == 1 && asked.words().contains("--yes"),
        "{asked:?}"
    );
    assert!(
        !client
            .server
            .operations()
            .contains(&"DeleteWorkspace".to_owned())
    );
    client.run(&["delete", OTHER, "--yes"]).await.succeeds();
    let last = client.last();
    assert_eq!(
        (last.operation.as_str(), last.workspace.as_deref()),
        ("DeleteWorkspace", Some(OTHER))
    );

    client.run(&["plan", OTHER, "pro"]).await.succeeds();
    assert_eq!(client.last().variables, json!({"id": OTHER, "plan": "PRO"}));
    assert_eq!(client.last().workspace.as_deref(), Some(OTHER));
}

#[tokio::test]
async fn members_are_invited_moved_and_removed() {
    let client = Client::new().await;
    let linked = client
        .run(&["invite", "jane@a.test", "--role", "Admin"])
        .await
        .succeeds();
    assert_eq!(linked.out(), "https://a.test/join#token\n");
    assert_eq!(
        client.last().variables,
        json!({"workspace": WORKSPACE, "email": "jane@a.test", "role": "ADMIN"})
    );
    let mailed = client
        .run(&["invite", "joe@a.test", "--role", "VIEWER"])
        .await
        .succeeds();
    assert!(
        mailed.out().is_empty() && mailed.words().contains("the server sends"),
        "{mailed:?}"
    );

    let members = client.run(&["members", "--json"]).await.succeeds();
    let told: Value = serde_json::from_str(&members.out()).unwrap();
    assert_eq!(told, json!([member()]));

    client
        .run(&["role", "auth0|jane", "viewer"])
        .await
        .succeeds();
    assert_eq!(
        client.last().variables,
        json!({"workspace": WORKSPACE, "user": "auth0|jane", "role": "VIEWER"})
    );
    client
        .run(&["remove", "auth0|jane", "--workspace", OTHER])
        .await
        .succeeds();
    assert_eq!(
        client.last().variables,
        json!({"workspace": OTHER, "user": "auth0|jane"})
    );
    assert_eq!(client.last().workspace.as_deref(), Some(OTHER));
}

#[tokio::test]
async fn a_chosen_workspace_is_kept_until_another_key_is() {
    let client = Client::new().await;
    let chosen = client.run(&["use", OTHER]).await.succeeds();
    assert!(chosen.words().contains(OTHER), "{chosen:?}");
    client.run(&["members"]).await.succeeds();
    assert_eq!(client.last().workspace.as_deref(), Some(OTHER));
    client
        .run(&["members", "--workspace", WORKSPACE])
        .await
        .succeeds();
    assert_eq!(client.last().workspace.as_deref(), Some(WORKSPACE));

    client.run(&["use"]).await.succeeds();
    client.run(&["members"]).await.succeeds();
    assert_eq!(client.last().workspace, None);

    client.run(&["use", OTHER]).await.succeeds();
    log_in(&client.operator, &client.server).await;
    client.run(&["members"]).await.succeeds();
    assert_eq!(client.last().workspace, None);
}
