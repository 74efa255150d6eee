//! Why something is not told of refusals.

use crate::{
    code::{ErrorCode, Refusal},
    limits,
    violation::{self, Violation},
};

/// Why something is not told of refusals.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Enough were told in this hour.
    #[error(
        "{} refusals of this hour are told already; tell the number of the others",
        limits::DENIALS_PER_HOUR
    )]
    HourFull,
    /// What is to be told is wrong.
    #[error("the refusal is not valid: {}", violation::summary(.0))]
    Invalid(Vec<Violation>),
}

impl Refusal for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::HourFull => ErrorCode::RateLimitExceeded,
            Self::Invalid(_) => ErrorCode::ValidationFailed,
        }
    }

    fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Invalid(violations) => violations.clone(),
            Self::HourFull => Vec::new(),
        }
    }
}
