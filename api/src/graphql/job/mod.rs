//! Jobs.

mod mutation;
mod object;
mod parts;
mod query;
mod subscription;
mod values;

pub use mutation::JobMutation;
pub use query::JobQuery;
pub use subscription::JobSubscription;
