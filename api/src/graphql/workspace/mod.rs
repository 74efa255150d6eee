//! Workspaces, and who asks in which.

mod mutation;
mod object;
mod query;

pub use mutation::WorkspaceMutation;
pub use object::Role;
pub use query::WorkspaceQuery;
