//! One execution of a tool.
//!
//! ```text
//!            Request            Start              Succeed
//!  (nothing) ───────► PENDING ────────► RUNNING ───────────► SUCCEEDED
//!                       │ ▲    TakeOver │ ▲ │       Fail
//!                Cancel │ │         └───┘ │ └──────────────► FAILED ──┐
//!                       ▼ │                                           │
//!                   CANCELLED ◄── Cancel (RUNNING)       Retry ───────┘
//!                         └────────────────────────────◄──────────────┘
//! ```
//!
//! An attempt that fails and is to be repeated makes the job PENDING again, due later, without
//! FAILED in between. What would do a thing twice is never repeated by itself.
//!
//! An *attempt* is one start. Only the current attempt's outcome counts: a node that was presumed
//! dead and comes back finds its outcome refused.

mod aggregate;
mod command;
mod error;
mod event;
mod memory;
mod repeat;
pub mod retry;
mod state;
#[cfg(test)]
mod tests;
mod told;

pub use command::{Command, Ground, Request, check_turn};
pub use error::{Error, NODE_LOST};
pub use event::{Event, Failure, Progress, ToolRef};
pub use state::{Attempt, Job, Status};
pub use told::{Line, Lines, Receipt, ReceiptOutcome, SecretUse, Told};

/// The field to which the URL of a receipt is bound when it is sealed.
pub const SENT_URL_FIELD: &str = "sent_url";

/// To what a job's sealed field is bound: in the place of another field or job it does not open.
pub fn seal_context(job: crate::id::JobId, field: &str) -> String {
    format!("{job}/{field}")
}
