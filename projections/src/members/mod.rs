//! Who belongs to a workspace, and who may join.

mod apply;
mod fold;
pub mod query;
pub mod row;

pub use apply::Members;
pub use query::MemberKey;
pub use row::{MemberRow, Status};
