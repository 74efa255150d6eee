//! Rows that stand beside the events of a command, in the same transaction: what the log must not
//! hold, or what must be found before a workspace is known.

use std::fmt;

use bytes::Bytes;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;

use crate::erase;

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
    /// A sealed value takes the place of the one of this kind and name, which is gone then. Made by
    /// [`crate::Vault::seal_row`].
    VaultPut {
        /// What it is, such as `secret`.
        kind: &'static str,
        /// Its name, among those of one kind.
        name: String,
        /// To which version of the name it is bound.
        version: u32,
        /// Its data key, encrypted with the master key.
        wrapped_key: Vec<u8>,
        /// Which master key that is.
        master_key_id: String,
        /// The value, encrypted with the data key.
        data: Vec<u8>,
    },
    /// The value of this kind and name is gone, with its key.
    VaultErase {
        /// What it is, such as `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A value too large for the log; an equal one of the workspace may be there already.
    Blob {
        /// Its name, as its event tells it.
        sha256: String,
        /// With which data key of the workspace it is sealed.
        key: i64,
        /// Nonce, ciphertext and tag. Shared, since a command is copied on its way.
        data: Bytes,
    },
    /// All that is kept for the workspace outside the log and its read models goes, but for its
    /// large values, which may be many and which nobody can open from then on.
    Erase,
}

impl SideRow {
    /// About how many bytes are sent to the database for it.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Blob { data, .. } => data.len(),
            _ => 0,
        }
    }
}

impl fmt::Debug for SideRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyHash { key_id, .. } => write!(f, "KeyHash({key_id})"),
            Self::KeyRevoked { key_id, .. } => write!(f, "KeyRevoked({key_id})"),
            Self::InvitationToken { invitation_id, .. } => {
                write!(f, "InvitationToken({invitation_id})")
            }
            Self::VaultPut {
                kind,
                name,
                version,
                ..
            } => write!(f, "VaultPut({kind}/{name}@{version})"),
            Self::VaultErase { kind, name } => write!(f, "VaultErase({kind}/{name})"),
            Self::Blob { sha256, data, .. } => write!(f, "Blob({sha256}, {} bytes)", data.len()),
            Self::Erase => f.write_str("Erase"),
        }
    }
}

/// Why a row was not written.
#[derive(Debug)]
pub(super) enum SideError {
    /// The workspace was erased: what came now would outlive the erasure.
    Erased,
    Database(sqlx::Error),
}

impl From<sqlx::Error> for SideError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// Writes a row. These are rare, so each is a statement of its own.
pub(super) async fn write_in_tx(
    tx: &mut PgConnection,
    workspace: &str,
    row: &SideRow,
) -> Result<(), SideError> {
    let outlives_the_data_key = matches!(
        row,
        SideRow::KeyHash { .. } | SideRow::InvitationToken { .. } | SideRow::VaultPut { .. }
    );
    if outlives_the_data_key && erase::is_erased_in_tx(tx, workspace).await? {
        return Err(SideError::Erased);
    }
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
        SideRow::VaultPut {
            kind,
            name,
            version,
            wrapped_key,
            master_key_id,
            data,
        } => sqlx::query(
            "insert into vault (workspace_id, kind, name, version, wrapped_key, master_key_id, data)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (workspace_id, kind, name) do update
             set version = excluded.version, wrapped_key = excluded.wrapped_key,
                 master_key_id = excluded.master_key_id, data = excluded.data,
                 created_at = clock_timestamp()",
        )
        .bind(workspace)
        .bind(kind)
        .bind(name)
        .bind(i32::try_from(*version).unwrap_or(i32::MAX))
        .bind(wrapped_key)
        .bind(master_key_id)
        .bind(data),
        SideRow::VaultErase { kind, name } => sqlx::query(
            "delete from vault where workspace_id = $1 and kind = $2 and name = $3",
        )
        .bind(workspace)
        .bind(kind)
        .bind(name),
        SideRow::Blob { sha256, key, data } => sqlx::query(
            // The key is locked until the commit: a value is kept before its workspace is erased, and
            // goes with it, or not at all.
            "insert into blobs (workspace_id, sha256, key, data)
             select $1, $2, $3, $4 from vault
             where id = $3 and workspace_id = $1 and wrapped_key is not null
             for share
             on conflict (workspace_id, sha256) do nothing",
        )
        .bind(workspace)
        .bind(sha256)
        .bind(key)
        .bind(&data[..]),
        SideRow::Erase => return Ok(erase::in_tx(tx, workspace).await?),
    };
    statement.execute(tx).await?;
    Ok(())
}
