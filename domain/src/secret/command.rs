//! What can be asked of a secret.

use jiff::Timestamp;

use crate::id::WorkspaceId;

/// What can be asked of a secret. Where a value comes with it, it is sealed beforehand for a version,
/// which the command names: should another command come between, the version is taken and the
/// command is refused with [`super::Error::Overtaken`], to be sent again with the value sealed anew.
#[derive(Clone, Debug)]
pub enum Command {
    /// Brings it into being.
    Create {
        /// To whom it shall belong.
        workspace: WorkspaceId,
        /// What tool definitions shall call it.
        name: String,
        /// For which version the value was sealed.
        version: u32,
        /// When.
        at: Timestamp,
    },
    /// Gives it another value.
    Replace {
        /// For which version the value was sealed.
        version: u32,
        /// When.
        at: Timestamp,
    },
    /// Has its value erased.
    Delete {
        /// When.
        at: Timestamp,
    },
}
