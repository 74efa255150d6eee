//! A key by which a program is known.
//!
//! ```text
//!             Create            Revoke
//!   (nothing) ───────► CREATED ───────► REVOKED
//! ```
//!
//! What a client shows is `tr_<prefix>_<secret>`. The prefix is told here and by itself opens
//! nothing; the secret is in no event, nor is its hash, which the server keeps outside the log.
//! A key that has expired is not revoked: its end follows from the clock and is no event.

mod aggregate;
mod command;
mod error;
mod event;
#[cfg(test)]
mod tests;

pub use aggregate::{ApiKey, is_prefix};
pub use command::Command;
pub use error::Error;
pub use event::Event;
