//! A running Toolroom to tell stories of.

mod answering;
mod app;
mod mailbox;
pub mod people;
mod socket;

pub use answering::{Answering, answer};
pub use app::{Answer, App, binary, native, rest};
pub use mailbox::Mailbox;
pub use socket::Socket;

use std::time::Duration;

/// Far more than anything here takes, so that a failure is told and not hung on.
pub const PATIENCE: Duration = Duration::from_secs(30);
