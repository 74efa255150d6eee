//! What the end of a call says of the other side.

use toolroom_domain::{ErrorCategory, ErrorCode};

use super::{Proof, Settled};

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

impl Settled {
    /// Whether it, or a request of it, was kept back by us.
    pub(super) fn is_kept_back(&self) -> bool {
        let code = self.failed.map(|(code, _)| code);
        matches!(
            code,
            Some(ErrorCode::RateLimitExceeded | ErrorCode::CircuitOpen)
        )
    }

    /// Whether the other side had enough of us.
    pub(super) fn is_refused(&self) -> bool {
        let category = self.failed.map(|(_, category)| category);
        category == Some(ErrorCategory::RateLimit) && !self.is_kept_back()
    }

    /// What it says of whether the other side works.
    pub(super) fn verdict(&self) -> Verdict {
        match (self.failed, self.proof) {
            (Some((code, category)), _) => Verdict::of(code, category),
            (None, Proof::Works) => Verdict::Works,
            (None, Proof::Answers) => Verdict::Answers,
            (None, Proof::Nothing) => Verdict::Silent,
        }
    }
}
