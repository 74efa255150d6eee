//! How often each tool was run, how that ended, and how long it took.

mod latency;
pub mod query;

pub use query::{GroupBy, Period, StatsBucket, StatsQuery};
