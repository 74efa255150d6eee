//! What was refused. Serialised names are frozen.

use cqrs_es::DomainEvent;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{actor::Actor, claim::EventClaims, id::WorkspaceId};

/// Attempts of one sender at one operation that were refused alike. From which address and with
/// which program they came, the event's metadata tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Denial {
    /// What was asked for, such as `registerTool`.
    pub operation: String,
    /// Why it was refused: a stable code, such as `FORBIDDEN`.
    pub reason: String,
    /// Who asked.
    pub actor: Actor,
    /// How often.
    pub count: u64,
    /// When for the first time.
    #[schemars(with = "String")]
    pub first_at: Timestamp,
    /// When for the last time.
    #[schemars(with = "String")]
    pub last_at: Timestamp,
}

/// What was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum Event {
    /// Somebody was refused something.
    #[serde(rename = "AccessDenied")]
    Denied {
        /// Whose that would have been.
        workspace: WorkspaceId,
        /// Who and what.
        #[serde(flatten)]
        denial: Denial,
    },
    /// So many further refusals are told by no event of their own.
    #[serde(rename = "AccessDenialsOmitted")]
    Omitted {
        /// Whose that would have been.
        workspace: WorkspaceId,
        /// How many.
        count: u64,
        /// When the first.
        #[schemars(with = "String")]
        first_at: Timestamp,
        /// When the last.
        #[schemars(with = "String")]
        last_at: Timestamp,
    },
}

impl DomainEvent for Event {
    fn event_type(&self) -> String {
        match self {
            Self::Denied { .. } => "AccessDenied",
            Self::Omitted { .. } => "AccessDenialsOmitted",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

impl EventClaims for Event {}
