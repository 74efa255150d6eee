//! What can be told of refusals.

use jiff::Timestamp;

use super::event::Denial;
use crate::id::WorkspaceId;

/// What can be told of refusals. Each belongs to the day of its last one, UTC.
#[derive(Clone, Debug)]
pub enum Command {
    /// Tells of attempts that were refused alike.
    Deny {
        /// Whose that would have been.
        workspace: WorkspaceId,
        /// Who and what.
        denial: Denial,
    },
    /// Tells how many there were beside those that were told.
    Omit {
        /// Whose that would have been.
        workspace: WorkspaceId,
        /// How many.
        count: u64,
        /// When the first.
        first_at: Timestamp,
        /// When the last.
        last_at: Timestamp,
    },
}
