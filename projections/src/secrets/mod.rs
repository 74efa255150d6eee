//! Which secrets a workspace has, and which jobs were given them. Never a value.

mod apply;
pub mod query;
pub mod row;

pub use apply::Secrets;
pub use row::SecretRow;
