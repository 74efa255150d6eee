//! What has happened to a tool. Serialised names are frozen.

use cqrs_es::DomainEvent;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::definition::Definition;
use crate::{
    claim::{ClaimChange, EventClaims},
    id::{ToolId, WorkspaceId},
};

/// The scope in which tool names are unique: one holder a workspace.
pub const NAME_SCOPE: &str = "tool-name";

/// What has happened to a tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum Event {
    /// It came into being, as version 1, active.
    #[serde(rename = "ToolRegistered")]
    Registered {
        /// The tool's id.
        id: ToolId,
        /// To whom it belongs.
        workspace: WorkspaceId,
        /// The integer id.
        number: i32,
        /// Unique in the workspace.
        name: String,
        /// A name for people.
        title: Option<String>,
        /// What it is for.
        description: String,
        /// A free grouping.
        category: Option<String>,
        /// Free labels.
        tags: Vec<String>,
        /// What it does.
        definition: Box<Definition>,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// How it presents itself changed; the whole new presentation.
    #[serde(rename = "ToolDetailsChanged")]
    DetailsChanged {
        /// The name it had, so that the claim can be released.
        previous_name: String,
        /// The name from now on.
        name: String,
        /// A name for people.
        title: Option<String>,
        /// What it is for.
        description: String,
        /// A free grouping.
        category: Option<String>,
        /// Free labels.
        tags: Vec<String>,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// What it does changed: a new version.
    #[serde(rename = "ToolRevised")]
    Revised {
        /// The new version's number.
        version: u32,
        /// What it does from now on.
        definition: Box<Definition>,
        /// The earlier version that this one repeats, if it was restored.
        restored_from: Option<u32>,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// It may run.
    #[serde(rename = "ToolActivated")]
    Activated {
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// It may not run.
    #[serde(rename = "ToolDeactivated")]
    Deactivated {
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// It left the catalogue; its name is free.
    #[serde(rename = "ToolDeleted")]
    Deleted {
        /// The name that became free.
        name: String,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// It is back in the catalogue under its name.
    #[serde(rename = "ToolRestored")]
    Restored {
        /// The name that it took again.
        name: String,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// Its calls kept failing: none is made for a while.
    #[serde(rename = "ToolCircuitOpened")]
    CircuitOpened {
        /// How many calls had failed.
        failures: u32,
        /// From when on one call may try whether it works again.
        #[schemars(with = "String")]
        until: Timestamp,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// Its calls succeed again.
    #[serde(rename = "ToolCircuitClosed")]
    CircuitClosed {
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
}

impl DomainEvent for Event {
    fn event_type(&self) -> String {
        match self {
            Self::Registered { .. } => "ToolRegistered",
            Self::DetailsChanged { .. } => "ToolDetailsChanged",
            Self::Revised { .. } => "ToolRevised",
            Self::Activated { .. } => "ToolActivated",
            Self::Deactivated { .. } => "ToolDeactivated",
            Self::Deleted { .. } => "ToolDeleted",
            Self::Restored { .. } => "ToolRestored",
            Self::CircuitOpened { .. } => "ToolCircuitOpened",
            Self::CircuitClosed { .. } => "ToolCircuitClosed",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

fn take(name: &str) -> ClaimChange {
    ClaimChange::Take {
        scope: NAME_SCOPE,
        key: name.to_owned(),
    }
}

fn release(name: &str) -> ClaimChange {
    ClaimChange::Release {
        scope: NAME_SCOPE,
        key: name.to_owned(),
    }
}

impl EventClaims for Event {
    fn claim_changes(&self) -> Vec<ClaimChange> {
        match self {
            Self::Registered { name, .. } | Self::Restored { name, .. } => vec![take(name)],
            Self::DetailsChanged {
                previous_name,
                name,
                ..
            } if previous_name != name => vec![release(previous_name), take(name)],
            Self::Deleted { name, .. } => vec![release(name)],
            _ => Vec::new(),
        }
    }
}
