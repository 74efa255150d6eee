//! Secrets: their names, never their values.

mod mutation;
mod object;
mod query;

pub use mutation::SecretMutation;
pub use query::SecretQuery;
