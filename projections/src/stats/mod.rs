//! How often each tool was run, how that ended, and how long it took.

mod apply;
mod latency;
pub mod query;

pub use apply::Stats;
pub use query::{GroupBy, Period, StatsBucket, StatsQuery};
