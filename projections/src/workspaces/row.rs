//! What is told of a workspace.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::{Row, postgres::PgRow};
use toolroom_domain::{WorkspaceId, workspace::Plan};

use crate::read;

/// A workspace as it stands now.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkspaceRow {
    /// The workspace's id.
    pub id: WorkspaceId,
    /// What people call it.
    pub name: String,
    /// What it has been granted.
    pub plan: Plan,
    /// An IANA name.
    pub time_zone: String,
    /// Whether it is gone.
    pub is_deleted: bool,
    /// When it came into being.
    pub created_at: Timestamp,
}

impl WorkspaceRow {
    pub(super) fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: WorkspaceId::from_uuid(row.try_get("workspace_id")?),
            name: row.try_get("name")?,
            plan: read::variant(row, "plan")?,
            time_zone: row.try_get("time_zone")?,
            is_deleted: row.try_get("is_deleted")?,
            created_at: row.try_get::<SqlTimestamp, _>("created_at")?.to_jiff(),
        })
    }

    /// Its place in the list of workspaces.
    pub fn key(&self) -> super::WorkspaceKey {
        super::WorkspaceKey {
            created_at: self.created_at,
            id: self.id,
        }
    }
}
