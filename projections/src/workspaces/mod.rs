//! What workspaces there are.

mod apply;
pub mod query;
pub mod row;

pub use apply::Workspaces;
pub use query::{Whose, WorkspaceKey};
pub use row::WorkspaceRow;
