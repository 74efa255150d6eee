//! What jobs there are, and how far each is.

mod apply;
mod counts;
mod fold;
pub mod query;
pub mod row;

pub use apply::Jobs;
pub use query::{JobFilter, JobKey, ListJobs};
pub use row::JobRow;
