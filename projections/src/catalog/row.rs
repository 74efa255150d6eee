//! What the catalogue tells of a tool.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::{Row, postgres::PgRow};
use toolroom_domain::{
    ToolId, WorkspaceId,
    tool::{Definition, Kind},
};

use crate::read;

/// A tool as it stands now.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolRow {
    /// The tool's id.
    pub id: ToolId,
    /// The integer id.
    pub number: i32,
    /// To whom it belongs.
    pub workspace: WorkspaceId,
    /// Unique in the workspace, while it is not deleted.
    pub name: String,
    /// A name for people.
    pub title: Option<String>,
    /// What it is for.
    pub description: String,
    /// A free grouping.
    pub category: Option<String>,
    /// Free labels.
    pub tags: Vec<String>,
    /// How it is run.
    pub kind: Kind,
    /// Whether it may run.
    pub is_active: bool,
    /// Whether it left the catalogue.
    pub is_deleted: bool,
    /// Its newest version.
    pub version: u32,
    /// What that version does.
    pub definition: Definition,
    /// Who registered it.
    pub created_by: String,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// While its circuit is not closed: from when on one call may try whether it works.
    pub circuit_open_until: Option<Timestamp>,
    /// The position of its last event.
    pub last_event: i64,
}

impl ToolRow {
    pub(super) fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: ToolId::from_uuid(row.try_get("id")?),
            number: row.try_get("number")?,
            workspace: WorkspaceId::from_uuid(row.try_get("workspace_id")?),
            name: row.try_get("name")?,
            title: row.try_get("title")?,
            description: row.try_get("description")?,
            category: row.try_get("category")?,
            tags: read::json(row, "tags")?,
            kind: read::variant(row, "kind")?,
            is_active: row.try_get("is_active")?,
            is_deleted: row.try_get("is_deleted")?,
            version: read::unsigned(row, "version")?,
            definition: read::json(row, "definition")?,
            created_by: row.try_get("created_by")?,
            created_at: row.try_get::<SqlTimestamp, _>("created_at")?.to_jiff(),
            updated_at: row.try_get::<SqlTimestamp, _>("updated_at")?.to_jiff(),
            circuit_open_until: row
                .try_get::<Option<SqlTimestamp>, _>("circuit_open_until")?
                .map(SqlTimestamp::to_jiff),
            last_event: row.try_get("last_event")?,
        })
    }
}

/// One version of a tool: immutable.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionRow {
    /// The tool.
    pub tool: ToolId,
    /// To whom it belongs.
    pub workspace: WorkspaceId,
    /// Counts from 1.
    pub version: u32,
    /// What it does.
    pub definition: Definition,
    /// When it was made.
    pub changed_at: Timestamp,
    /// Who made it.
    pub changed_by: String,
    /// The earlier version that it repeats.
    pub restored_from: Option<u32>,
    /// The position of the event that made it.
    pub last_event: i64,
}

impl VersionRow {
    pub(super) fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let restored_from: Option<i64> = row.try_get("restored_from")?;
        Ok(Self {
            tool: ToolId::from_uuid(row.try_get("tool_id")?),
            workspace: WorkspaceId::from_uuid(row.try_get("workspace_id")?),
            version: read::unsigned(row, "version")?,
            definition: read::json(row, "definition")?,
            changed_at: row.try_get::<SqlTimestamp, _>("changed_at")?.to_jiff(),
            changed_by: row.try_get("changed_by")?,
            restored_from: restored_from.and_then(|version| u32::try_from(version).ok()),
            last_event: row.try_get("last_event")?,
        })
    }
}
