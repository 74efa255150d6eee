//! What can be asked of a tool.

use jiff::Timestamp;

use super::definition::Definition;
use crate::id::{ToolId, WorkspaceId};

/// How a tool presents itself: what can change without changing what it does.
#[derive(Clone, Debug, PartialEq)]
pub struct Details {
    /// Unique in the workspace.
    pub name: String,
    /// A name for people.
    pub title: Option<String>,
    /// What it is for, in words that a model will read.
    pub description: String,
    /// A free grouping.
    pub category: Option<String>,
    /// Free labels.
    pub tags: Vec<String>,
}

/// A change of [`Details`]: `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DetailsPatch {
    /// A new name.
    pub name: Option<String>,
    /// A new title, or none.
    pub title: Option<Option<String>>,
    /// A new description.
    pub description: Option<String>,
    /// A new category, or none.
    pub category: Option<Option<String>>,
    /// New tags.
    pub tags: Option<Vec<String>>,
}

/// What can be asked of a tool.
#[derive(Clone, Debug)]
pub enum Command {
    /// Brings the tool into being, as version 1.
    Register {
        /// The tool's id.
        id: ToolId,
        /// To whom it belongs.
        workspace: WorkspaceId,
        /// The integer id, drawn beforehand and never used again.
        number: i32,
        /// How it presents itself.
        details: Details,
        /// What it does.
        definition: Box<Definition>,
        /// When.
        at: Timestamp,
    },
    /// Changes details, behaviour or both; a change of behaviour makes a version.
    Revise {
        /// The version that the sender looked at; another current one is a conflict.
        expected_version: Option<u32>,
        /// The change of how it presents itself.
        details: DetailsPatch,
        /// What it shall do from now on.
        definition: Option<Box<Definition>>,
        /// Whether it shall be active.
        active: Option<bool>,
        /// When.
        at: Timestamp,
    },
    /// Lets it run.
    Activate {
        /// When.
        at: Timestamp,
    },
    /// Keeps it from running until it is activated.
    Deactivate {
        /// When.
        at: Timestamp,
    },
    /// Takes it out of the catalogue and frees its name.
    Delete {
        /// When.
        at: Timestamp,
    },
    /// Makes what an earlier version did the newest version, and brings a deleted tool back.
    RestoreVersion {
        /// Which version.
        version: u32,
        /// When.
        at: Timestamp,
    },
}
