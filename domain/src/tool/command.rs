//! What can be asked of a tool.

use jiff::Timestamp;
use serde::Serialize;

use super::definition::Definition;
use crate::{
    id::{ToolId, WorkspaceId},
    limits,
    name::{self, check_text},
    violation::Violation,
};

/// How a tool presents itself: what can change without changing what it does.
#[derive(Clone, Debug, PartialEq, Serialize)]
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

impl Details {
    /// Checks names, texts and their number.
    ///
    /// # Errors
    /// All violations found, each at its field's name.
    pub fn check(&self) -> Result<(), Vec<Violation>> {
        let mut found: Vec<Violation> = Vec::new();
        found.extend(name::check(&self.name).err());
        if self.description.trim().is_empty() {
            let problem = "must not be empty: it is what a model chooses the tool by";
            found.push(Violation::new("description", problem));
        }
        found.extend(check_text("description", &self.description, limits::DESCRIPTION_CHARS).err());
        if let Some(title) = &self.title {
            found.extend(check_text("title", title, limits::LABEL_CHARS).err());
        }
        if let Some(category) = &self.category {
            found.extend(check_text("category", category, limits::LABEL_CHARS).err());
        }
        if self.tags.len() > limits::TAGS {
            let problem = format!("must be at most {}", limits::TAGS);
            found.push(Violation::new("tags", problem));
        }
        for (i, tag) in self.tags.iter().enumerate().take(limits::TAGS) {
            found.extend(check_text(&format!("tags.{i}"), tag, limits::LABEL_CHARS).err());
        }
        if found.is_empty() { Ok(()) } else { Err(found) }
    }
}

/// A change of [`Details`]: `None` leaves a field as it is, and is left out when written.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DetailsPatch {
    /// A new name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A new title, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Option<String>>,
    /// A new description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A new category, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Option<String>>,
    /// New tags.
    #[serde(skip_serializing_if = "Option::is_none")]
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
    /// Tells that its calls keep failing, or failed when it was tried whether they succeed again. Told
    /// again, or after something later, it changes nothing.
    OpenCircuit {
        /// How many calls failed.
        failures: u32,
        /// From when on one call may try whether it works again.
        until: Timestamp,
        /// When.
        at: Timestamp,
    },
    /// Tells that its calls succeed again. Told again, or after something later, it changes nothing.
    CloseCircuit {
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
