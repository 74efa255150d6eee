//! What Toolroom is, without how it is stored or reached.
//!
//! Aggregates decide (`handle`) and remember (`apply`); nothing here does IO, reads a clock or
//! draws a random number. What an aggregate needs of the world is handed in with the command.
//!
//! One folder an aggregate, each of the same shape: `aggregate`, `command`, `event`, `error`.

pub mod access;
pub mod actor;
pub mod api_key;
pub mod claim;
pub mod clock;
pub mod code;
pub mod connector;
pub mod denial;
pub mod id;
pub mod job;
pub mod limits;
pub mod measure;
pub mod name;
pub mod owned;
pub mod plan;
pub mod port;
pub mod role;
pub mod sealed;
pub mod secret;
#[cfg(test)]
mod testing;
pub mod tool;
pub mod user;
pub mod violation;
pub mod workspace;

pub use actor::Actor;
pub use claim::{ClaimChange, EventClaims};
pub use clock::Clock;
pub use code::{ErrorCategory, ErrorCode, Refusal};
pub use id::{ApiKeyId, InvitationId, JobId, SecretId, SessionId, ToolId, WorkspaceId};
pub use owned::Owned;
pub use role::Role;
pub use sealed::{BlobRef, Sealed};
pub use user::UserId;
pub use violation::Violation;
