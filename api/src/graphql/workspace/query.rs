//! Finding workspaces.

use async_graphql::{Context, Object};
use toolroom_domain::{Role, access::Caller, access::Operation};
use toolroom_projections::workspaces::WorkspaceKey;

use super::object::{Viewer, WorkspaceObject};
use crate::{
    error::ApiError,
    graphql::{
        app,
        connection::{Listed, Scope, cost},
        request,
    },
    service::workspaces,
};

/// Finding workspaces.
#[derive(Default)]
pub struct WorkspaceQuery;

#[Object]
impl WorkspaceQuery {
    /// Who asks, and in which workspace.
    async fn viewer(&self, ctx: &Context<'_>) -> Result<Viewer, ApiError> {
        let (state, sender) = (app(ctx), request(ctx)?);
        sender.require(Operation::Viewer)?;
        let role = match sender.caller {
            Caller::User(Some(role)) | Caller::Key(role) => role,
            // Who may do everything is more than an owner, which clients know nothing above.
            Caller::Operator | Caller::User(None) | Caller::Anonymous => Role::Owner,
        };
        Ok(Viewer {
            id: sender.actor.as_str().into(),
            email: sender.email.clone(),
            authenticated_by: sender.credential.as_str().to_owned(),
            workspace: WorkspaceObject(workspaces::current(state, sender).await?),
            role: role.into(),
        })
    }

    /// The workspaces that the sender may select, the newest first: a person's own, a key's one.
    #[graphql(complexity = "cost(first, 50, child_complexity)")]
    async fn workspaces(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(50)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Listed<WorkspaceObject>, ApiError> {
        let scope = Scope::new(ctx, "workspaces", &(), first, 50, after.as_deref())?;
        let page = scope.page(parse_key)?;
        let page = workspaces::list(app(ctx), request(ctx)?, &page).await?;
        Ok(scope.connection(
            page,
            |row| format!("{},{}", row.created_at, row.id),
            WorkspaceObject,
        ))
    }
}

fn parse_key(key: &str) -> Option<WorkspaceKey> {
    let (created_at, id) = key.split_once(',')?;
    Some(WorkspaceKey {
        created_at: created_at.parse().ok()?,
        id: id.parse().ok()?,
    })
}
