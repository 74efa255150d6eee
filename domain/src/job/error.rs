//! Why a job refuses a command.

use super::state::Status;
use crate::{
    code::{ErrorCode, Refusal},
    violation::Violation,
};

/// The code of an attempt whose node fell silent.
pub const NODE_LOST: &str = "NODE_LOST";

/// Why a job refuses a command.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// There is no such job.
    #[error("there is no such job; list them with the query `jobs`")]
    Unknown,
    /// The id is taken.
    #[error("this job was requested already")]
    AlreadyRequested,
    /// It has ended, and what has ended does not change.
    #[error("the job has already ended: it is {status}")]
    AlreadyEnded {
        /// How it ended.
        status: Status,
    },
    /// Another attempt is the current one.
    #[error("attempt {attempt} is not the running one; the job is at attempt {current}")]
    StaleAttempt {
        /// The attempt that was named.
        attempt: u32,
        /// The current one.
        current: u32,
    },
    /// It is running already.
    #[error("the job is running already, attempt {attempt}")]
    AlreadyRunning {
        /// The running attempt.
        attempt: u32,
    },
    /// Only a failed job can be tried again.
    #[error("only a failed job can be retried; this one is {status}")]
    NotFailed {
        /// What it is.
        status: Status,
    },
    /// It was started as often as a job may be.
    #[error("the job was started {limit} times, as often as a job may be; submit a new one")]
    TooManyAttempts {
        /// The bound.
        limit: u32,
    },
    /// The input is wrong.
    #[error("`{}` {}", .0.path, .0.message)]
    Invalid(Violation),
}

impl Refusal for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown => ErrorCode::JobNotFound,
            Self::AlreadyEnded {
                status: Status::Cancelled,
            } => ErrorCode::JobCancelled,
            Self::AlreadyEnded { .. } => ErrorCode::JobAlreadyCompleted,
            Self::Invalid(_) => ErrorCode::ValidationFailed,
            Self::AlreadyRequested
            | Self::StaleAttempt { .. }
            | Self::AlreadyRunning { .. }
            | Self::NotFailed { .. }
            | Self::TooManyAttempts { .. } => ErrorCode::Conflict,
        }
    }

    fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Invalid(violation) => vec![violation.clone()],
            _ => Vec::new(),
        }
    }
}
