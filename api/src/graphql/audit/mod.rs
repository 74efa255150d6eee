//! The audit: every event, as it happened and played back.

mod object;
mod query;
mod subscription;

pub(super) use object::{AuditConnectionName, AuditEvent, events};
pub use query::AuditQuery;
pub use subscription::AuditSubscription;
