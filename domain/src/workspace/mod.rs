//! A tenant: whose everything is, and who may do what in it.
//!
//! ```text
//!             Create             Delete
//!   (nothing) ───────► PRESENT ──────────► DELETED
//!                         │ Erase             │ Erase
//!                         ▼                   ▼
//!                      ERASED: its key is gone, and whoever runs the server alone sees what is left
//!
//!   a member:          Invite            Accept            Remove
//!            (nothing) ──────► INVITED ─────────► ACTIVE ──────────► REMOVED
//!                                 └─────────────── Remove ──────────────┘
//! ```
//!
//! Always somebody is an OWNER, and nobody gives a role that is not no higher than their own, nor
//! changes whoever stands above them. Who may do what at all is [`crate::access`]'s; the sender's
//! role is read here, from the state, so that a role that was just taken away is not used again.
//!
//! An invitation's token is in no event: only its hash, by which it is found once. Withdrawing,
//! inviting the same address anew, and the fall of whoever sent it end an invitation.

mod aggregate;
mod check;
mod command;
mod error;
mod event;
mod invite;
mod state;
#[cfg(test)]
mod tests;

pub use check::is_email;
pub use command::{Command, Sender};
pub use error::Error;
pub use event::{ERASED, Event, MemberRef, Plan, TokenHash};
pub use state::{Invitation, Member, Workspace};
