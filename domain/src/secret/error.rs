//! Why a secret refuses a command.

use crate::{
    code::{ErrorCode, Refusal},
    limits,
    violation::{self, Violation},
};

/// Why a secret refuses a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such secret, or not any more.
    #[error("there is no secret of this name; list them with the query `secrets`, or create it")]
    Unknown,
    /// There is one of this name.
    #[error("the secret `{name}` is there already; replace its value, or choose another name")]
    AlreadyCreated {
        /// Its name.
        name: String,
    },
    /// Another value came first.
    #[error("another value of this secret was set meanwhile; try again in a moment")]
    Overtaken,
    /// The workspace has as many as one may have.
    #[error(
        "the workspace has {} secrets, as many as one may have; delete some first",
        limits::SECRETS
    )]
    TooMany,
    /// The input is wrong.
    #[error("the secret is not valid: {}", violation::summary(.0))]
    Invalid(Vec<Violation>),
}

impl Refusal for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown => ErrorCode::NotFound,
            Self::AlreadyCreated { .. } | Self::Overtaken | Self::TooMany => ErrorCode::Conflict,
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
