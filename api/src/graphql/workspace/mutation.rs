//! Making, changing and ending workspaces.

use async_graphql::{Context, ID, Object};

use super::object::{Plan, WorkspaceObject};
use crate::{
    error::ApiError,
    graphql::{StillThere, app, request},
    service::workspaces,
};

/// Making, changing and ending workspaces.
#[derive(Default)]
pub struct WorkspaceMutation;

#[Object(guard = "StillThere")]
impl WorkspaceMutation {
    /// Make a workspace and become its owner. A command id counts whichever workspace is selected.
    async fn create_workspace(
        &self,
        ctx: &Context<'_>,
        name: String,
        command_id: Option<String>,
    ) -> Result<WorkspaceObject, ApiError> {
        let (state, sender) = (app(ctx), request(ctx)?);
        let made = workspaces::create(state, sender, name, command_id.as_deref());
        made.await.map(WorkspaceObject)
    }

    /// Change what is named of the selected workspace, and leave the rest.
    async fn update_workspace(
        &self,
        ctx: &Context<'_>,
        id: ID,
        name: Option<String>,
        time_zone: Option<String>,
        command_id: Option<String>,
    ) -> Result<WorkspaceObject, ApiError> {
        let (state, sender) = (app(ctx), request(ctx)?);
        let change = (name, time_zone);
        let updated = workspaces::update(state, sender, &id, change, command_id.as_deref());
        updated.await.map(WorkspaceObject)
    }

    /// End the selected workspace; nobody can select it any more.
    async fn delete_workspace(
        &self,
        ctx: &Context<'_>,
        id: ID,
        command_id: Option<String>,
    ) -> Result<WorkspaceObject, ApiError> {
        let (state, sender) = (app(ctx), request(ctx)?);
        let deleted = workspaces::delete(state, sender, &id, command_id.as_deref());
        deleted.await.map(WorkspaceObject)
    }

    /// Grant the selected workspace more, or less. Only for whoever runs the server.
    async fn set_plan(
        &self,
        ctx: &Context<'_>,
        workspace_id: ID,
        plan: Plan,
        command_id: Option<String>,
    ) -> Result<WorkspaceObject, ApiError> {
        let (state, sender) = (app(ctx), request(ctx)?);
        let command_id = command_id.as_deref();
        let granted = workspaces::set_plan(state, sender, &workspace_id, plan.into(), command_id);
        granted.await.map(WorkspaceObject)
    }
}
