//! Which event is where: the index by which the log is searched.

mod apply;
pub mod filter;
pub mod query;

pub use apply::Audit;
pub use filter::AuditFilter;
pub use query::{AuditQuery, AuditRow, Order};
