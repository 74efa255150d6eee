//! Who is in a workspace.

use serde::{Deserialize, Serialize};
use serde_json::json;
use toolroom_domain::Role;

use super::selected;
use crate::cli::{
    client::Client,
    output::{self, plain},
};

/// A member, or somebody invited, as the server tells of them.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    user_id: String,
    email: String,
    role: String,
    status: String,
    /// Whoever has it can join: printed only where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    invite_url: Option<String>,
}

// Without `inviteUrl`: a list is shown about more freely than what lets somebody in.
const LIST: &str = "query Members($first: Int!, $after: String) {
  members(first: $first, after: $after) {
    nodes { userId email role status }
    pageInfo { hasNextPage endCursor }
  }
}";

const INVITE: &str = "mutation InviteMember($workspace: ID!, $email: String!, $role: Role!) {
  inviteMember(workspaceId: $workspace, email: $email, role: $role) {
    userId email role status inviteUrl
  }
}";

const SET_ROLE: &str = "mutation SetMemberRole($workspace: ID!, $user: ID!, $role: Role!) {
  setMemberRole(workspaceId: $workspace, userId: $user, role: $role) { userId email role status }
}";

const REMOVE: &str = "mutation RemoveMember($workspace: ID!, $user: ID!) {
  removeMember(workspaceId: $workspace, userId: $user) { userId email role status }
}";

pub(super) async fn list(client: &Client, as_json: bool) -> anyhow::Result<()> {
    let members: Vec<Member> = client.list(LIST).await?;
    if as_json {
        return Ok(output::json_list(&members)?);
    }
    output::table(
        ["USER", "EMAIL", "ROLE", "STATUS"],
        members.into_iter().map(|member| {
            [
                Some(member.user_id),
                Some(member.email),
                Some(member.role),
                Some(member.status),
            ]
        }),
    )?;
    Ok(())
}

pub(super) async fn invite(
    client: &Client,
    email: &str,
    role: Role,
    as_json: bool,
) -> anyhow::Result<()> {
    let workspace = selected(client).await?;
    let variables = json!({"workspace": workspace, "email": email, "role": role});
    let invited: Member = client.ask(INVITE, variables).await?;
    if as_json {
        return Ok(output::json(&invited)?);
    }
    let who = plain(&invited.email);
    match &invited.invite_url {
        Some(url) => {
            output::line(&plain(url))?;
            output::say(format_args!(
                "invited {who} as {role}: hand on this link, with which whoever has it can join once"
            ));
        }
        None => output::say(format_args!(
            "invited {who} as {role}: the server sends the link"
        )),
    }
    Ok(())
}

pub(super) async fn set_role(
    client: &Client,
    user: &str,
    role: Role,
    as_json: bool,
) -> anyhow::Result<()> {
    let workspace = selected(client).await?;
    let variables = json!({"workspace": workspace, "user": user, "role": role});
    let member: Member = client.ask(SET_ROLE, variables).await?;
    if as_json {
        return Ok(output::json(&member)?);
    }
    output::say(format_args!("{} is {role} now", plain(&member.email)));
    Ok(())
}

pub(super) async fn remove(client: &Client, user: &str, as_json: bool) -> anyhow::Result<()> {
    let workspace = selected(client).await?;
    let variables = json!({"workspace": workspace, "user": user});
    let member: Member = client.ask(REMOVE, variables).await?;
    if as_json {
        return Ok(output::json(&member)?);
    }
    output::say(format_args!("removed {}", plain(&member.email)));
    Ok(())
}
