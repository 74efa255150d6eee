//! Why an API key refuses a command.

use crate::{
    code::{ErrorCode, Refusal},
    role::Role,
    violation::{self, Violation},
};

/// Why an API key refuses a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such key.
    #[error("there is no such API key; list them with the query `apiKeys`")]
    Unknown,
    /// The id is taken.
    #[error("this API key was created already")]
    AlreadyCreated,
    /// The key would be able to do more than its maker.
    #[error(
        "an API key of role {role} would do more than you may; create it with a role no higher than your own"
    )]
    AboveOwnRole {
        /// The role that was asked for.
        role: Role,
    },
    /// The key is an operator's, and whoever wants to revoke it is none.
    #[error(
        "this key runs the server; only an operator may revoke it: ask whoever runs the server, or make an operator's key with `toolroom keys create --direct --operator` and revoke it with that"
    )]
    RunsServer,
    /// The input is wrong.
    #[error("the API key is not valid: {}", violation::summary(.0))]
    Invalid(Vec<Violation>),
}

impl Refusal for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown => ErrorCode::NotFound,
            Self::AlreadyCreated => ErrorCode::Conflict,
            Self::AboveOwnRole { .. } | Self::RunsServer => ErrorCode::Forbidden,
            Self::Invalid(_) => ErrorCode::ValidationFailed,
        }
    }

    fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Invalid(violations) => violations.clone(),
            _ => Vec::new(),
        }
    }
}
