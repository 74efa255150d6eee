//! What tools there are: the catalogue.

pub mod query;
pub mod row;

pub use query::{ListTools, ToolFilter};
pub use row::{ToolRow, VersionRow};
