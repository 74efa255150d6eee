//! Jobs.

mod mutation;
mod object;
mod parts;
mod query;
mod subscription;

pub use mutation::JobMutation;
pub use query::JobQuery;
pub use subscription::JobSubscription;
