//! Unique names, as a consequence of events.
//!
//! An aggregate cannot see its siblings, so uniqueness lives beside the log: an event takes or
//! releases a claim, and the claim's row is written in the transaction that appends the event.

/// One change of the set of taken names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimChange {
    /// The event makes `key` the aggregate's own; another holder is a conflict.
    Take {
        /// What kind of name it is, such as `tool-name`.
        scope: &'static str,
        /// The name, in the form in which it must be unique.
        key: String,
    },
    /// The event gives `key` up.
    Release {
        /// As for [`ClaimChange::Take`].
        scope: &'static str,
        /// As for [`ClaimChange::Take`].
        key: String,
    },
}

/// Says which claims an event changes; most change none.
pub trait EventClaims {
    /// The changes, in the order in which they apply.
    fn claim_changes(&self) -> Vec<ClaimChange> {
        Vec::new()
    }
}
