//! Why a tool refuses a command.

use crate::{
    code::{ErrorCode, Refusal},
    violation::{self, Violation},
};

/// Why a tool refuses a command.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// There is no such tool.
    #[error("there is no such tool; list them with the query `tools`")]
    Unknown,
    /// The id is taken.
    #[error("this tool is registered already")]
    AlreadyRegistered,
    /// It was deleted.
    #[error("the tool was deleted; bring it back with `restoreToolVersion`")]
    Deleted,
    /// The sender looked at another version.
    #[error(
        "expected version {expected}, but the tool is at version {current}; read it again and repeat the change"
    )]
    VersionConflict {
        /// The version that the sender named.
        expected: u32,
        /// The version it is at.
        current: u32,
    },
    /// It never had such a version.
    #[error("the tool has no version {version}; it is at version {current}")]
    NoSuchVersion {
        /// The version that was named.
        version: u32,
        /// The version it is at.
        current: u32,
    },
    /// It has as many versions as a tool may have.
    #[error("the tool has {limit} versions, as many as one tool may have; register a new tool")]
    TooManyVersions {
        /// The bound.
        limit: u32,
    },
    /// The input is wrong.
    #[error("the tool is not valid: {}", violation::summary(.0))]
    Invalid(Vec<Violation>),
}

impl Refusal for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown => ErrorCode::NotFound,
            Self::AlreadyRegistered
            | Self::Deleted
            | Self::VersionConflict { .. }
            | Self::TooManyVersions { .. } => ErrorCode::Conflict,
            Self::NoSuchVersion { .. } => ErrorCode::NotFound,
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
