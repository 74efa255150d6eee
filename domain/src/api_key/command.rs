//! What can be asked of an API key.

use jiff::Timestamp;

use crate::{
    access::Caller,
    actor::Actor,
    id::{ApiKeyId, WorkspaceId},
    role::Role,
};

/// What can be asked of an API key.
#[derive(Clone, Debug)]
pub enum Command {
    /// Brings the key into being. Its secret was drawn beforehand and is not told.
    Create {
        /// The key's id.
        id: ApiKeyId,
        /// The workspace that it opens.
        workspace: WorkspaceId,
        /// What people call it.
        name: String,
        /// The part of the key that is no secret.
        prefix: String,
        /// What it shall be able to do.
        role: Role,
        /// Whether its holder runs the server: only whoever has the database can say so.
        operator: bool,
        /// Who makes it.
        created_by: Actor,
        /// What they may do themselves.
        creator: Caller,
        /// From when on it shall open nothing.
        expires_at: Option<Timestamp>,
        /// When.
        at: Timestamp,
    },
    /// Has it open nothing any more. Whoever may revoke keys may revoke one above their own role:
    /// a key that leaked must not wait for an owner. A key that runs the server is the exception:
    /// only an operator revokes it.
    Revoke {
        /// What whoever revokes it may do.
        revoker: Caller,
        /// When.
        at: Timestamp,
    },
}
