//! A named secret that tool definitions refer to as `${NAME}`.
//!
//! ```text
//!             Create            Replace              Delete
//!   (nothing) ───────► PRESENT ◄────────┐ PRESENT ───────────► DELETED
//!                         │             │                         │
//!                         └─────────────┘        Create           │
//!                      PRESENT ◄──────────────────────────────────┘
//! ```
//!
//! Neither a command nor an event holds the value, not even encrypted: it travels beside them into
//! the vault. What the events tell is the value's *version*, to which the row in the vault is bound.
//! Versions of a name never repeat, also after it was deleted and created again: what a job used is
//! told by `NAME@version` for ever. That is why a secret's id follows from its name
//! ([`SecretId::of`]), which makes names unique as well.

mod aggregate;
mod command;
mod error;
mod event;
#[cfg(test)]
mod tests;

pub use aggregate::Secret;
pub use command::Command;
pub use error::Error;
pub use event::Event;

use uuid::Uuid;

use crate::{
    id::{SecretId, WorkspaceId},
    limits,
    violation::Violation,
};

impl SecretId {
    /// The id of the secret of a name: the same whenever it is asked for.
    pub fn of(workspace: WorkspaceId, name: &str) -> Self {
        let within = Uuid::new_v5(&workspace.uuid(), b"secret");
        Self::from_uuid(Uuid::new_v5(&within, name.as_bytes()))
    }
}

/// Whether a text can be a secret's name: that of a variable, `[A-Za-z_][A-Za-z0-9_]*`, at most
/// [`limits::SECRET_NAME_CHARS`] long.
pub fn is_name(text: &str) -> bool {
    text.len() <= limits::SECRET_NAME_CHARS
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The name within a reference such as `${API_KEY}`.
pub fn reference(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    is_name(name).then_some(name)
}

/// Checks a value as it is to be kept. What is wrong is told without it.
///
/// # Errors
/// The violation, at path `value`.
pub fn check_value(value: &str) -> Result<(), Violation> {
    let problem = if value.is_empty() {
        "must not be empty; delete the secret to have none".to_owned()
    } else if value.len() > limits::SECRET_BYTES {
        format!("must have at most {} KiB", limits::SECRET_BYTES / 1024)
    } else {
        return Ok(());
    };
    Err(Violation::new("value", problem))
}
