//! A workspace as this contract shows it.

use serde::Serialize;
use toolroom_domain::workspace::Plan;
use toolroom_projections::workspaces::WorkspaceRow;

use crate::{error::ApiError, rest::Edge, service};

/// A workspace as this contract shows it.
#[derive(Debug, Serialize)]
pub(super) struct Workspace {
    id: String,
    name: String,
    plan: Plan,
    time_zone: String,
    quota: Quota,
    created_at: String,
}

#[derive(Debug, Serialize)]
struct Quota {
    hourly_limit: u32,
    hourly_used: u32,
    daily_limit: u32,
    daily_used: u32,
}

impl Workspace {
    pub(super) async fn new(edge: &Edge, row: WorkspaceRow) -> Result<Self, ApiError> {
        let quota = service::quota(&edge.state, row.id).await?;
        // As GraphQL shows them: 32 bits with a sign.
        let shown = |number: u32| number.min(i32::MAX.unsigned_abs());
        Ok(Self {
            id: row.id.to_string(),
            name: row.name,
            plan: row.plan,
            time_zone: row.time_zone,
            quota: Quota {
                hourly_limit: shown(quota.hourly_limit),
                hourly_used: shown(quota.hourly_used),
                daily_limit: shown(quota.daily_limit),
                daily_used: shown(quota.daily_used),
            },
            created_at: row.created_at.to_string(),
        })
    }
}

/// A field's path as this contract calls it.
pub(super) fn renamed(path: &str) -> String {
    match path {
        "timeZone" => "time_zone".to_owned(),
        other => other.to_owned(),
    }
}
