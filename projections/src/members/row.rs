//! What is told of a member.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use serde::{Deserialize, Serialize};
use sqlx::{Row, postgres::PgRow};
use toolroom_domain::{InvitationId, Role, WorkspaceId};

use crate::read;

/// Where somebody stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// They may join. Whether the invitation has expired is the clock's to tell.
    Invited,
    /// They are a member.
    Active,
    /// They were, or their invitation was withdrawn.
    Removed,
}

impl Status {
    /// The status as clients see it, such as `ACTIVE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invited => "INVITED",
            Self::Active => "ACTIVE",
            Self::Removed => "REMOVED",
        }
    }
}

/// A member, or somebody invited, as they stand now.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberRow {
    /// Of which workspace.
    pub workspace: WorkspaceId,
    /// The user's id; before they joined, their invitation's.
    pub id: String,
    /// The invitation by which they came, or may come; none for who made the workspace.
    pub invitation: Option<InvitationId>,
    /// Their address, if it is known: the account's, else the one at which they were invited.
    pub email: Option<String>,
    /// What they are, will be, or were.
    pub role: Role,
    /// Where they stand.
    pub status: Status,
    /// When they were invited, or made the workspace.
    pub added_at: Timestamp,
    /// When they became a member.
    pub joined_at: Option<Timestamp>,
}

impl MemberRow {
    pub(super) fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let invitation: Option<uuid::Uuid> = row.try_get("invitation_id")?;
        let joined_at: Option<SqlTimestamp> = row.try_get("joined_at")?;
        Ok(Self {
            workspace: WorkspaceId::from_uuid(row.try_get("workspace_id")?),
            id: row.try_get("member_id")?,
            invitation: invitation.map(InvitationId::from_uuid),
            email: row.try_get("email")?,
            role: read::variant(row, "role")?,
            status: read::variant(row, "status")?,
            added_at: row.try_get::<SqlTimestamp, _>("added_at")?.to_jiff(),
            joined_at: joined_at.map(SqlTimestamp::to_jiff),
        })
    }

    /// Its place in the list of members.
    pub fn key(&self) -> super::MemberKey {
        super::MemberKey {
            added_at: self.added_at,
            id: self.id.clone(),
        }
    }
}
