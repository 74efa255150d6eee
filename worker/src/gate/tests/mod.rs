//! The parts of the gate that need no database.

mod circuit;
mod pace;
mod verdict;

use jiff::{SignedDuration, Timestamp};

/// So many milliseconds after the epoch.
fn at(ms: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_millis(ms)
}
