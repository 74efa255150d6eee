//! Tools.

mod connector;
pub(super) mod input;
pub(super) mod loader;
pub(super) mod mutation;
pub(super) mod object;
mod query;
mod spec;

pub use connector::{ConnectorMutation, ConnectorQuery};
pub use mutation::ToolMutation;
pub use object::ToolObject;
pub use query::ToolQuery;
