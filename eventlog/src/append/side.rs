//! Rows that stand beside the events of a command, in the same transaction: what the log must not
//! hold, or what must be found before a workspace is known.

use std::fmt;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;

/// A row beside a command's events. It belongs to the command's workspace.
#[derive(Clone)]
pub enum SideRow {
    /// An API key may be shown from now on.
    KeyHash {
        /// The part of the key that is no secret; unique over all workspaces.
        prefix: String,
        /// The key's id.
        key_id: String,
        /// The keyed hash of the whole key.
        hash: Vec<u8>,
        /// What its holder may do, such as `MEMBER`.
        role: &'static str,
        /// Whether its holder runs the server. Only who has the database can make such a key.
        operator: bool,
        /// From this moment on it opens nothing.
        expires_at: Option<Timestamp>,
    },
    /// An API key opens nothing any more.
    KeyRevoked {
        /// The key's id.
        key_id: String,
        /// Since when.
        at: Timestamp,
    },
    /// An invitation may be accepted by whoever shows the token.
    InvitationToken {
        /// The token's SHA-256, in hexadecimal digits.
        token_hash: String,
        /// The invitation's id.
        invitation_id: String,
        /// The key that invites, if it is one.
        key_id: Option<String>,
        /// From this moment on it is not accepted.
        expires_at: Timestamp,
    },
}

impl fmt::Debug for SideRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyHash { key_id, .. } => write!(f, "KeyHash({key_id})"),
            Self::KeyRevoked { key_id, .. } => write!(f, "KeyRevoked({key_id})"),
            Self::InvitationToken { invitation_id, .. } => {
                write!(f, "InvitationToken({invitation_id})")
            }
        }
    }
}

/// Writes a row. These are rare, so each is a statement of its own.
pub(super) async fn write_in_tx(
    tx: &mut PgConnection,
    workspace: &str,
    row: &SideRow,
) -> Result<(), sqlx::Error> {
    let statement = match row {
        SideRow::KeyHash {
            prefix,
            key_id,
            hash,
            role,
            operator,
            expires_at,
        } => sqlx::query(
            "insert into key_hashes
                 (workspace_id, prefix, key_id, hash, role, operator, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(workspace)
        .bind(prefix)
        .bind(key_id)
        .bind(hash)
        .bind(*role)
        .bind(operator)
        .bind(expires_at.map(|at| at.to_sqlx())),
        SideRow::KeyRevoked { key_id, at } => sqlx::query(
            "update key_hashes set revoked_at = coalesce(revoked_at, $3)
             where workspace_id = $1 and key_id = $2",
        )
        .bind(workspace)
        .bind(key_id)
        .bind(at.to_sqlx()),
        SideRow::InvitationToken {
            token_hash,
            invitation_id,
            key_id,
            expires_at,
        } => sqlx::query(
            "insert into invitation_tokens
                 (workspace_id, token_hash, invitation_id, key_id, expires_at)
             values ($1, $2, $3, $4, $5)",
        )
        .bind(workspace)
        .bind(token_hash)
        .bind(invitation_id)
        .bind(key_id)
        .bind(expires_at.to_sqlx()),
    };
    statement.execute(tx).await?;
    Ok(())
}
