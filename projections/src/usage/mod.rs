//! How many runs were asked for in each hour: what quotas are counted from.

mod apply;
pub mod query;

pub use apply::Usage;
pub use query::Runs;
