//! What the end of a call says of the other side.

use toolroom_domain::{ErrorCategory, ErrorCode};

/// What the end of a call says of whether the other side works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Works,
    /// It fails: it could not be reached, took too long, failed by itself, or may have done half.
    Fails,
    /// It answered, and blames the caller: credentials, permissions, too many requests. So it lives,
    /// which is all that a probe asks; but it does not prove that calls succeed.
    Answers,
    /// Nothing: the call did not go out, was called off, or failed for a reason of its own.
    Silent,
}

impl Verdict {
    /// By a failed call's code and category.
    pub fn of(code: ErrorCode, category: ErrorCategory) -> Self {
        match (code, category) {
            (ErrorCode::OutcomeUnknown, _) => Self::Fails,
            // Refused or called off by ourselves, whatever the category says.
            (
                ErrorCode::EgressDenied
                | ErrorCode::JobCancelled
                | ErrorCode::CircuitOpen
                | ErrorCode::RateLimitExceeded
                | ErrorCode::ServiceUnavailable
                | ErrorCode::ValidationFailed
                | ErrorCode::PayloadTooLarge,
                _,
            ) => Self::Silent,
            (_, ErrorCategory::Network | ErrorCategory::Timeout | ErrorCategory::ServerError) => {
                Self::Fails
            }
            (
                _,
                ErrorCategory::Authentication
                | ErrorCategory::Authorization
                | ErrorCategory::RateLimit,
            ) => Self::Answers,
            (_, ErrorCategory::Validation | ErrorCategory::Unknown) => Self::Silent,
        }
    }
}
