//! What has happened to an API key. Serialised names are frozen.

use cqrs_es::DomainEvent;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    actor::Actor,
    claim::EventClaims,
    id::{ApiKeyId, WorkspaceId},
    role::Role,
};

/// What has happened to an API key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum Event {
    /// It came into being.
    #[serde(rename = "ApiKeyCreated")]
    Created {
        /// The key's id.
        id: ApiKeyId,
        /// The workspace that it opens.
        workspace: WorkspaceId,
        /// What people call it.
        name: String,
        /// The part of the key that is no secret, by which it is looked up.
        prefix: String,
        /// What it may do.
        role: Role,
        /// Whether its holder runs the server, whatever the role.
        #[serde(default, skip_serializing_if = "is_false")]
        operator: bool,
        /// Who made it.
        created_by: Actor,
        /// From when on it opens nothing; never, if left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<String>")]
        expires_at: Option<Timestamp>,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// It opens nothing any more.
    #[serde(rename = "ApiKeyRevoked")]
    Revoked {
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl DomainEvent for Event {
    fn event_type(&self) -> String {
        match self {
            Self::Created { .. } => "ApiKeyCreated",
            Self::Revoked { .. } => "ApiKeyRevoked",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

/// Names of keys need not be unique. Prefixes must be, over all workspaces, which a claim cannot
/// hold: the table of hashes does.
impl EventClaims for Event {}
