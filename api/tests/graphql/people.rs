//! Who sends what: persons and keys, as the authenticator would have known them.

use serde_json::{Value, json};
use toolroom_api::{
    RequestContext,
    auth::{Credential, Identity, bootstrap},
};
use toolroom_domain::{Actor, ApiKeyId, Role, UserId, WorkspaceId, access::Caller};
use uuid::Uuid;

use crate::support::{App, Outside};

pub const CREATE: &str = "mutation ($name: String!, $command: String) {
    createWorkspace(name: $name, commandId: $command) {
        id name plan timeZone createdAt
        quota { hourlyLimit hourlyUsed dailyLimit dailyUsed }
    }
}";

pub const INVITE: &str = "mutation ($ws: ID!, $email: String!, $role: Role!, $command: String) {
    inviteMember(workspaceId: $ws, email: $email, role: $role, commandId: $command) {
        userId email role status inviteUrl
    }
}";

pub const ACCEPT: &str = "mutation ($token: String!, $command: String) {
    acceptInvitation(token: $token, commandId: $command) { userId email role status inviteUrl }
}";

pub const SET_ROLE: &str = "mutation ($ws: ID!, $user: ID!, $role: Role!, $command: String) {
    setMemberRole(workspaceId: $ws, userId: $user, role: $role, commandId: $command) {
        userId role status
    }
}";

pub const REMOVE: &str = "mutation ($ws: ID!, $user: ID!, $command: String) {
    removeMember(workspaceId: $ws, userId: $user, commandId: $command) { userId role status }
}";

pub const MEMBERS: &str = "query ($first: Int, $after: String) {
    members(first: $first, after: $after) {
        totalCount pageInfo { endCursor hasNextPage } nodes { userId email role status inviteUrl }
    }
}";

pub const CREATE_KEY: &str =
    "mutation ($name: String!, $role: Role!, $expires: DateTime, $command: String) {
    createApiKey(name: $name, role: $role, expiresAt: $expires, commandId: $command) {
        secret
        apiKey { id name prefix role operator createdBy createdAt expiresAt lastUsedAt revokedAt }
    }
}";

/// A server that has the workspace it begins with.
pub async fn start(outside: Outside) -> App {
    let app = App::start_in(outside).await;
    let clock = std::sync::Arc::clone(&app.state.clock);
    bootstrap::default_workspace(&app.state.log, clock.as_ref())
        .await
        .unwrap();
    app
}

/// A person with a token, in a workspace or in none.
pub async fn person(app: &App, name: &str, workspace: Option<&str>) -> RequestContext {
    let user = UserId::try_new(name).unwrap();
    let id = workspace.map_or(WorkspaceId::NONE, |id| id.parse().unwrap());
    let found = app.state.auth.workspace(id).await.unwrap();
    let identity = Identity {
        workspace: id,
        actor: Actor::user(&user),
        caller: Caller::User(found.and_then(|found| found.role_of(&user))),
        credential: Credential::Token {
            user,
            expires_at: app.state.clock.now() + jiff::SignedDuration::from_hours(1),
        },
        email: Some(format!("{name}@example.com")),
    };
    RequestContext::of(identity, "request-1")
}

/// A program with a key of this role.
pub fn program(workspace: &str, role: Role) -> RequestContext {
    let id = ApiKeyId::from_uuid(Uuid::from_u128(9));
    let identity = Identity {
        workspace: workspace.parse().unwrap(),
        actor: Actor::key(id),
        caller: Caller::Key(role),
        credential: Credential::Key {
            id,
            prefix: "0123456789ab".to_owned(),
        },
        email: None,
    };
    RequestContext::of(identity, "request-1")
}

/// A workspace that this person owns.
pub async fn workspace_of(app: &App, owner: &str) -> String {
    let ann = person(app, owner, None).await;
    let made = app
        .ask_as(&ann, CREATE, json!({ "name": format!("{owner}'s") }))
        .await;
    made["createWorkspace"]["id"].as_str().unwrap().to_owned()
}

/// The token of a link.
pub fn token_of(member: &Value) -> String {
    let url = member["inviteUrl"].as_str().expect("a link");
    let (page, token) = url.split_once("?token=").unwrap();
    assert_eq!(page, "http://localhost:8000/invitations/accept");
    token.to_owned()
}

/// Has somebody join a workspace as this role, by invitation of its owner `ann`.
pub async fn join(app: &App, workspace: &str, name: &str, role: &str) {
    let ann = person(app, "ann", Some(workspace)).await;
    let email = format!("{name}@example.com");
    let invite = json!({ "ws": workspace, "email": email, "role": role });
    let invited = app.ask_as(&ann, INVITE, invite).await;
    let token = token_of(&invited["inviteMember"]);
    let newcomer = person(app, name, None).await;
    app.ask_as(&newcomer, ACCEPT, json!({ "token": token }))
        .await;
}

/// All that is written of commands and events, as one text.
pub async fn written(app: &App) -> String {
    let owner = app.state.log.database.owner_pool().await.unwrap();
    let mut text = String::new();
    for table in ["events", "command_log", "invitation_tokens", "key_hashes"] {
        let sql = format!("select coalesce(string_agg(row(t.*)::text, ' '), '') from {table} t");
        let rows: String = sqlx::query_scalar(&sql).fetch_one(&owner).await.unwrap();
        text += &rows;
    }
    owner.close().await;
    text
}
