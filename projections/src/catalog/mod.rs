//! What tools there are: the catalogue.

mod apply;
mod fold;
pub mod query;
pub mod row;

pub use apply::Catalog;
pub use fold::as_of;
pub use query::{ListTools, ToolFilter};
pub use row::{ToolRow, VersionRow};
