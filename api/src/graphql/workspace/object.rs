//! A workspace, and what belongs to it.

use async_graphql::{Context, Enum, ID, Object, SimpleObject};
use toolroom_projections::workspaces::WorkspaceRow;

use crate::{
    error::ApiError,
    graphql::{app, connection::saturated, scalar::DateTime},
    service,
};

/// What somebody may do in a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "toolroom_domain::Role")]
pub enum Role {
    /// Everything.
    Owner,
    /// Everything but the workspace's end.
    Admin,
    /// Runs and makes tools.
    Member,
    /// Reads.
    Viewer,
    /// Reads catalogue, jobs and audit, and runs nothing.
    Auditor,
}

/// What a workspace has been granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "toolroom_domain::workspace::Plan")]
#[allow(missing_docs, reason = "each name is the plan itself")]
pub enum Plan {
    Free,
    Pro,
    Enterprise,
}

/// How much a workspace may run. The largest number that there is means that nothing is set.
#[derive(SimpleObject)]
pub struct Quota {
    /// Runs an hour.
    hourly_limit: i32,
    /// Runs counted in this hour.
    hourly_used: i32,
    /// Runs a day.
    daily_limit: i32,
    /// Runs counted today.
    daily_used: i32,
}

impl From<service::quota::Quota> for Quota {
    fn from(quota: service::quota::Quota) -> Self {
        Self {
            hourly_limit: saturated(quota.hourly_limit.into()),
            hourly_used: saturated(quota.hourly_used.into()),
            daily_limit: saturated(quota.daily_limit.into()),
            daily_used: saturated(quota.daily_used.into()),
        }
    }
}

/// To whom everything belongs.
pub struct WorkspaceObject(pub WorkspaceRow);

#[Object(name = "Workspace")]
impl WorkspaceObject {
    /// Its id: what `X-Workspace-Id` selects it by.
    async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// Its name, which others may have too.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// What it has been granted.
    async fn plan(&self) -> Plan {
        self.0.plan.into()
    }

    /// In which times are read that name no other zone: an IANA name.
    async fn time_zone(&self) -> &str {
        &self.0.time_zone
    }

    /// How much it may run.
    async fn quota(&self, ctx: &Context<'_>) -> Result<Quota, ApiError> {
        service::quota(app(ctx), self.0.id).await.map(Quota::from)
    }

    /// When it came into being.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }
}

/// Who asks.
#[derive(SimpleObject)]
pub struct Viewer {
    /// Who, as events name them.
    pub id: ID,
    /// Their address, if they have one.
    pub email: Option<String>,
    /// How they were recognised.
    pub authenticated_by: String,
    /// The selected workspace.
    pub workspace: WorkspaceObject,
    /// What they may do in it.
    pub role: Role,
}
