//! Why a call failed, in words that may be shown to anybody who may see the job.

use std::time::Duration;

use serde_json::{Value, json};
use toolroom_domain::{ErrorCategory, ErrorCode, Violation};

/// What the other side said, as far as it is kept: enough to see what was wrong, too little to
/// fill a log.
pub const DETAILS_BYTES: usize = 4 * 1024;
/// Bytes of a name that is told of.
const NAME_BYTES: usize = 200;
/// Violations told of one value; whoever has more mends these first.
pub const VIOLATIONS: usize = 50;

/// Why the executor could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The HTTP client could not be built.
    #[error("the client for calls to the outside could not be built: {0}")]
    Client(#[from] reqwest::Error),
    /// Two native functions have one path.
    #[error("the native function `{path}` is registered twice; give one of them another path")]
    DuplicateNative {
        /// The path.
        path: String,
    },
    /// A native function's own schema does not compile.
    #[error("the input schema of the native function `{path}` does not compile: {problem}")]
    NativeSchema {
        /// The function's path.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Why one attempt failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    /// The stable code.
    pub code: ErrorCode,
    /// By which a caller decides what to do next.
    pub category: ErrorCategory,
    /// What was wrong and how to mend it, without input values, secrets or internals.
    pub message: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// What the other side said, or which input was wrong: at most about [`DETAILS_BYTES`]. It may
    /// hold personal data and is for the caller to seal.
    pub details: Option<Value>,
    /// When the other side says that it may be tried again, counted from its answer.
    pub retry_after: Option<Duration>,
}

impl CallError {
    /// The tool failed; whether it is worth trying again follows from the category.
    pub fn failed(category: ErrorCategory, message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::ToolFailed,
            category,
            message: message.into(),
            retryable: matches!(
                category,
                ErrorCategory::Network
                    | ErrorCategory::RateLimit
                    | ErrorCategory::Timeout
                    | ErrorCategory::ServerError
            ),
            details: None,
            retry_after: None,
        }
    }

    /// A call went out that must not be doubled, and nobody knows what came of it.
    pub fn outcome_unknown(category: ErrorCategory, message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::OutcomeUnknown,
            retryable: false,
            ..Self::failed(category, message)
        }
    }

    /// What the call was given, or what it is defined as, is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::ValidationFailed,
            ..Self::failed(ErrorCategory::Validation, message)
        }
    }

    /// The egress guard refused the address.
    pub fn egress_denied(message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::EgressDenied,
            ..Self::failed(ErrorCategory::Authorization, message)
        }
    }

    /// A value is larger than may be handled.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::PayloadTooLarge,
            ..Self::failed(ErrorCategory::Validation, message)
        }
    }

    /// The call was not made, because it could not be recorded before.
    pub fn unrecorded() -> Self {
        Self {
            code: ErrorCode::InternalError,
            retryable: true,
            ..Self::failed(
                ErrorCategory::Unknown,
                "the call was not made, because it could not be recorded before; try again",
            )
        }
    }

    /// The run was cancelled while it ran.
    pub fn cancelled() -> Self {
        Self {
            code: ErrorCode::JobCancelled,
            ..Self::failed(ErrorCategory::Unknown, "the run was cancelled")
        }
    }

    /// The same error with what the other side said.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// The same error with the name of what is wrong. Names may come from an input, so they stand here
    /// and not in the message.
    #[must_use]
    pub(crate) fn about(self, name: &str) -> Self {
        self.with_details(json!({ "name": beginning(name, NAME_BYTES) }))
    }

    /// The same error with what is wrong with which field, as far as there is room. Names of fields
    /// may be personal, so they stand here and not in the message.
    #[must_use]
    pub fn with_violations(self, violations: &[Violation]) -> Self {
        let mut room = DETAILS_BYTES;
        let told: Vec<_> = violations
            .iter()
            .map_while(|violation| {
                room = room.checked_sub(violation.path.len() + violation.message.len())?;
                Some(violation)
            })
            .collect();
        self.with_details(json!({ "violations": told }))
    }
}

/// The beginning of a text, at most `max_bytes` long and cut between characters.
pub(crate) fn beginning(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

/// The error of a type among the causes of another.
pub(super) fn cause<'e, T: std::error::Error + 'static>(
    error: &'e (dyn std::error::Error + 'static),
) -> Option<&'e T> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
