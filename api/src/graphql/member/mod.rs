//! Members.

mod mutation;
mod object;
mod query;

pub use mutation::MemberMutation;
pub use query::MemberQuery;
