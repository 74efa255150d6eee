//! Which event is where: the index by which the log is searched.

pub mod filter;
pub mod query;

pub use filter::AuditFilter;
pub use query::{AuditQuery, AuditRow, Order};
