//! What jobs there are, and how far each is.

pub mod query;
pub mod row;

pub use query::{JobFilter, JobKey, ListJobs};
pub use row::JobRow;
