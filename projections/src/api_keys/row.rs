//! What is told of an API key: nothing that opens anything.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::{Row, postgres::PgRow};
use toolroom_domain::{ApiKeyId, Role, WorkspaceId};

use crate::read;

/// An API key as it stands now. When it was last used the log does not know.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiKeyRow {
    /// The key's id.
    pub id: ApiKeyId,
    /// Which workspace it opens.
    pub workspace: WorkspaceId,
    /// What people call it.
    pub name: String,
    /// The part of the key that is no secret.
    pub prefix: String,
    /// What its holder may do.
    pub role: Role,
    /// Whether its holder runs the server, whatever the role.
    pub operator: bool,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From this moment on it opens nothing.
    pub expires_at: Option<Timestamp>,
    /// Since when it opens nothing.
    pub revoked_at: Option<Timestamp>,
}

impl ApiKeyRow {
    pub(super) fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let time = |column: &str| {
            let time: Option<SqlTimestamp> = row.try_get(column)?;
            Ok::<_, sqlx::Error>(time.map(SqlTimestamp::to_jiff))
        };
        Ok(Self {
            id: ApiKeyId::from_uuid(row.try_get("id")?),
            workspace: WorkspaceId::from_uuid(row.try_get("workspace_id")?),
            name: row.try_get("name")?,
            prefix: row.try_get("prefix")?,
            role: read::variant(row, "role")?,
            operator: row.try_get("operator")?,
            created_by: row.try_get("created_by")?,
            created_at: row.try_get::<SqlTimestamp, _>("created_at")?.to_jiff(),
            expires_at: time("expires_at")?,
            revoked_at: time("revoked_at")?,
        })
    }

    /// Its place in the list of keys.
    pub fn key(&self) -> super::ApiKeyOrder {
        super::ApiKeyOrder {
            created_at: self.created_at,
            id: self.id,
        }
    }
}
