//! What API keys a workspace has had.

mod apply;
pub mod query;
pub mod row;

pub use apply::ApiKeys;
pub use query::ApiKeyOrder;
pub use row::ApiKeyRow;
