//! What has happened to a secret. Serialised names are frozen.

use cqrs_es::DomainEvent;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    claim::EventClaims,
    id::{SecretId, WorkspaceId},
};

/// What has happened to a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum Event {
    /// It came into being, or did so again after it was deleted.
    #[serde(rename = "SecretCreated")]
    Created {
        /// The secret's id, which follows from workspace and name.
        id: SecretId,
        /// To whom it belongs.
        workspace: WorkspaceId,
        /// What tool definitions call it.
        name: String,
        /// The value's version: 1, or one more than the last before it was deleted.
        version: u32,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// It has another value, and the one before is erased.
    #[serde(rename = "SecretReplaced")]
    Replaced {
        /// The new value's version.
        version: u32,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// Its value is erased.
    #[serde(rename = "SecretDeleted")]
    Deleted {
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
}

impl DomainEvent for Event {
    fn event_type(&self) -> String {
        match self {
            Self::Created { .. } => "SecretCreated",
            Self::Replaced { .. } => "SecretReplaced",
            Self::Deleted { .. } => "SecretDeleted",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

/// The id follows from the name, so that the stream itself is the name's only holder.
impl EventClaims for Event {}
