//! What GraphQL and REST both do: commands and reads in one place, in no contract's shape.
//!
//! Every function takes the state and the request's context, and answers with rows of the read
//! models, or with what the aggregate itself says where a read model is behind.

pub mod audit;
pub mod changes;
pub(crate) mod directory;
pub mod follow;
pub mod health;
pub mod host;
pub mod jobs;
pub mod keys;
pub mod members;
pub(crate) mod name;
pub mod operations;
pub(crate) mod past;
pub mod quota;
pub mod secrets;
pub(crate) mod sender;
pub mod settle;
pub mod stats;
pub mod tool_health;
pub mod tools;
pub mod workspaces;

pub use quota::quota;
