//! What was refused to somebody, for whoever looks after a workspace: one stream a workspace and day.
//!
//! ```text
//!             Deny, Omit
//!   (nothing) ──────────► DAY ◄─┐ Deny, Omit
//!                          └────┘
//! ```
//!
//! A refusal is no change, and whoever is refused can be refused without end. So what is told is
//! bounded: like ones come together as one event with a count, an hour has at most
//! [`crate::limits::DENIALS_PER_HOUR`] of those, and the rest is told as a number.

mod aggregate;
mod command;
mod error;
mod event;
#[cfg(test)]
mod tests;

pub use aggregate::{Denials, stream_id};
pub use command::Command;
pub use error::Error;
pub use event::{Denial, Event};
