//! API keys.

mod mutation;
mod object;
mod query;

pub use mutation::ApiKeyMutation;
pub use query::ApiKeyQuery;
