//! Inviting, joining, changing and removing members.

use async_graphql::{Context, ID, Object};

use super::object::Member;
use crate::{
    error::ApiError,
    graphql::{StillThere, app, request, workspace::Role},
    service::members,
};

/// Inviting, joining, changing and removing members.
#[derive(Default)]
pub struct MemberMutation;

#[Object(guard = "StillThere")]
impl MemberMutation {
    /// Join the workspace of an invitation, by showing the token of its link.
    async fn accept_invitation(
        &self,
        ctx: &Context<'_>,
        token: String,
        command_id: Option<String>,
    ) -> Result<Member, ApiError> {
        let (state, sender) = (app(ctx), request(ctx)?);
        let joined = members::accept(state, sender, &token, command_id.as_deref());
        joined.await.map(Member::from)
    }

    /// Let somebody join the selected workspace, within a week. Their link goes by mail where a
    /// mail server is configured and takes it, else it is in `inviteUrl`: then hand it on. An open
    /// invitation of the same address is withdrawn.
    async fn invite_member(
        &self,
        ctx: &Context<'_>,
        workspace_id: ID,
        email: String,
        role: Role,
        command_id: Option<String>,
    ) -> Result<Member, ApiError> {
        let (state, sender) = (app(ctx), request(ctx)?);
        let whom = (email, role.into());
        let invited = members::invite(state, sender, &workspace_id, whom, command_id.as_deref());
        invited.await.map(Member::from)
    }

    /// Give a member of the selected workspace, or somebody invited, another role.
    async fn set_member_role(
        &self,
        ctx: &Context<'_>,
        workspace_id: ID,
        user_id: ID,
        role: Role,
        command_id: Option<String>,
    ) -> Result<Member, ApiError> {
        let (state, sender) = (app(ctx), request(ctx)?);
        let change = (user_id.as_str(), role.into());
        let command_id = command_id.as_deref();
        let changed = members::set_role(state, sender, &workspace_id, change, command_id);
        changed.await.map(Member::from)
    }

    /// End a membership of the selected workspace, or withdraw an invitation.
    async fn remove_member(
        &self,
        ctx: &Context<'_>,
        workspace_id: ID,
        user_id: ID,
        command_id: Option<String>,
    ) -> Result<Member, ApiError> {
        let (state, sender) = (app(ctx), request(ctx)?);
        let command_id = command_id.as_deref();
        let removed = members::remove(state, sender, &workspace_id, &user_id, command_id);
        removed.await.map(Member::from)
    }
}
