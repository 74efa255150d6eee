//! The one table from what can go wrong to what clients are told: a code, a status, a category.
//!
//! GraphQL and REST render the same [`ApiError`], each in its own shape. A fault of ours keeps its
//! cause for the log, where [`ApiError::report`] writes it once; clients learn only that there was
//! one.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use toolroom_domain::{
    ErrorCategory, ErrorCode, JobId, Refusal, Violation, api_key, job, port::PortError, secret,
    tool, workspace,
};
use toolroom_eventlog::{
    CommandError,
    database::{Fault, classify},
    position::{ParsePositionError, StaleEpoch},
    vault::{self, RotationError},
};
use toolroom_projections::{RebuildError, RetryError};

use crate::auth::Reason;

/// When to come again after the database was away or too busy, in milliseconds: long enough for a
/// restart, short enough for a person to wait.
pub const RETRY_AFTER_MS: u64 = 1_000;

/// Names that are suggested in the place of an unknown one.
const CANDIDATES: usize = 3;

/// How alike a name must be to be suggested, from 0 to 1.
const CANDIDATE_LIKENESS: f64 = 0.6;

type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why a request was not fulfilled, in no contract's shape yet.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The stable code.
    pub code: ErrorCode,
    /// What was wrong, where, and how to mend it.
    pub message: String,
    /// What is wrong with which field.
    pub violations: Vec<Violation>,
    /// When to try again, in milliseconds, if that may help.
    pub retry_after_ms: Option<u64>,
    /// Names near to one that was not found.
    pub candidates: Box<[String]>,
    /// The job that it concerns.
    pub job_id: Option<JobId>,
    /// Why a credential does not count. For the log: never shown.
    pub(crate) refused_for: Option<Reason>,
    /// What lies behind a fault of ours. Never shown.
    cause: Option<Cause>,
}

impl ApiError {
    /// An error of which no more is to be said.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            violations: Vec::new(),
            retry_after_ms: None,
            candidates: Box::default(),
            job_id: None,
            refused_for: None,
            cause: None,
        }
    }

    /// Some fields are wrong.
    pub fn invalid(violations: Vec<Violation>) -> Self {
        let told: Vec<_> = violations
            .iter()
            .map(|v| match v.path.as_str() {
                "" => v.message.clone(),
                path => format!("`{path}` {}", v.message),
            })
            .collect();
        Self {
            violations,
            ..Self::new(ErrorCode::ValidationFailed, told.join("; "))
        }
    }

    /// One field is wrong.
    pub fn invalid_field(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(vec![Violation::new(path, message)])
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    /// A fault of ours.
    pub fn internal(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self {
            cause: Some(Arc::new(cause)),
            ..Self::new(ErrorCode::InternalError, "internal error")
        }
    }

    /// The database is away or overloaded.
    pub fn unavailable() -> Self {
        Self::not_yet("the database is not available; try again in a moment")
    }

    /// What was asked for may be there in a moment.
    pub fn not_yet(message: impl Into<String>) -> Self {
        Self {
            retry_after_ms: Some(RETRY_AFTER_MS),
            ..Self::new(ErrorCode::ServiceUnavailable, message)
        }
    }

    /// What an aggregate, or a rule of the same kind, refuses.
    pub fn refused(refusal: &impl Refusal) -> Self {
        Self {
            violations: refusal.violations(),
            ..Self::new(refusal.code(), refusal.to_string())
        }
    }

    /// Why a command had no effect; `refused` tells of the refusals of what it acts on.
    pub(crate) fn of_command<E: std::error::Error>(
        error: CommandError<E>,
        refused: impl FnOnce(E) -> Self,
    ) -> Self {
        let message = error.to_string();
        match error {
            CommandError::Refused(refusal) => refused(refusal),
            CommandError::NotFound => Self::not_found(message),
            CommandError::NameTaken { .. } | CommandError::Erased => {
                Self::new(ErrorCode::Conflict, message)
            }
            CommandError::IdempotencyConflict => Self::new(ErrorCode::IdempotencyConflict, message),
            CommandError::Contended | CommandError::Unavailable => Self::not_yet(message),
            CommandError::Internal(cause) => Self {
                cause: Some(Arc::from(cause)),
                ..Self::new(ErrorCode::InternalError, "internal error")
            },
        }
    }

    /// Suggests the names among `known` that are most like `unknown`.
    #[must_use]
    pub fn with_candidates_for(
        mut self,
        unknown: &str,
        known: impl IntoIterator<Item = String>,
    ) -> Self {
        let wanted = unknown.to_lowercase();
        let mut near: Vec<(f64, String)> = known
            .into_iter()
            .map(|name| (strsim::jaro_winkler(&wanted, &name.to_lowercase()), name))
            .filter(|(likeness, _)| *likeness >= CANDIDATE_LIKENESS)
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        self.candidates = near
            .into_iter()
            .take(CANDIDATES)
            .map(|(_, name)| name)
            .collect();
        self
    }

    /// The same error with what there is to choose from.
    #[must_use]
    pub fn with_candidates(mut self, known: impl IntoIterator<Item = String>) -> Self {
        self.candidates = known.into_iter().take(CANDIDATES).collect();
        self
    }

    /// The same error, for whoever may come again after this time.
    #[must_use]
    pub fn retry_after(mut self, time: Duration) -> Self {
        // Rounded up, so that whoever waits for it does not come too early.
        let ms = time.as_nanos().div_ceil(1_000_000);
        self.retry_after_ms = Some(u64::try_from(ms).unwrap_or(u64::MAX));
        self
    }

    /// The same error with its paths seen from one level further out.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.violations = self
            .violations
            .into_iter()
            .map(|v| v.under(prefix))
            .collect();
        self
    }

    /// The HTTP status of the code.
    pub fn status(&self) -> StatusCode {
        status(self.code)
    }

    /// What kind of failure it is.
    pub fn category(&self) -> ErrorCategory {
        category(self.code)
    }

    /// Writes a fault of ours to the log, once: to be called where the error leaves the server.
    pub fn report(&self, request_id: &str) {
        if let Some(cause) = &self.cause {
            tracing::error!(request_id, error = %chain(cause.as_ref()), "a request failed");
        }
    }
}

/// An error with all that lies behind it.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// The HTTP status of a code.
pub fn status(code: ErrorCode) -> StatusCode {
    use ErrorCode as C;
    match code {
        C::InvalidRequest
        | C::InvalidToolRequirement
        | C::InsufficientApiSpecs
        | C::ValidationFailed => StatusCode::BAD_REQUEST,
        C::Unauthenticated => StatusCode::UNAUTHORIZED,
        C::Forbidden | C::EgressDenied => StatusCode::FORBIDDEN,
        C::JobNotFound | C::NotFound => StatusCode::NOT_FOUND,
        C::JobCancelled
        | C::JobAlreadyCompleted
        | C::Conflict
        | C::IdempotencyConflict
        | C::ResumeRequired => StatusCode::CONFLICT,
        C::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        C::RateLimitExceeded | C::QuotaExceeded | C::AiServiceRateLimited => {
            StatusCode::TOO_MANY_REQUESTS
        }
        C::InternalError | C::ToolFailed | C::OutcomeUnknown => StatusCode::INTERNAL_SERVER_ERROR,
        C::AiServiceError => StatusCode::BAD_GATEWAY,
        C::ServiceUnavailable | C::CircuitOpen => StatusCode::SERVICE_UNAVAILABLE,
        C::GenerationTimeout => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// What kind of failure a code is, in the terms by which a caller decides what to do next.
pub fn category(code: ErrorCode) -> ErrorCategory {
    use ErrorCode as C;
    match code {
        C::InvalidRequest
        | C::InvalidToolRequirement
        | C::InsufficientApiSpecs
        | C::ValidationFailed
        | C::PayloadTooLarge
        | C::JobNotFound
        | C::NotFound
        | C::JobCancelled
        | C::JobAlreadyCompleted
        | C::Conflict
        | C::IdempotencyConflict
        | C::ResumeRequired => ErrorCategory::Validation,
        C::Unauthenticated => ErrorCategory::Authentication,
        C::Forbidden | C::EgressDenied => ErrorCategory::Authorization,
        C::RateLimitExceeded | C::QuotaExceeded | C::AiServiceRateLimited => {
            ErrorCategory::RateLimit
        }
        C::GenerationTimeout => ErrorCategory::Timeout,
        C::InternalError | C::ServiceUnavailable | C::AiServiceError | C::CircuitOpen => {
            ErrorCategory::ServerError
        }
        C::ToolFailed | C::OutcomeUnknown => ErrorCategory::Unknown,
    }
}

/// A refusal that says "there is none" in the words of its aggregate.
pub trait Absence: Refusal + Send + Sync + 'static {
    /// There is none.
    fn absent() -> Self;
}

impl Absence for tool::Error {
    fn absent() -> Self {
        Self::Unknown
    }
}

impl Absence for job::Error {
    fn absent() -> Self {
        Self::Unknown
    }
}

impl Absence for workspace::Error {
    fn absent() -> Self {
        Self::Unknown
    }
}

impl Absence for secret::Error {
    fn absent() -> Self {
        Self::Unknown
    }
}

impl Absence for api_key::Error {
    fn absent() -> Self {
        Self::Unknown
    }
}

impl<E: Absence> From<CommandError<E>> for ApiError {
    fn from(error: CommandError<E>) -> Self {
        match error {
            CommandError::NotFound => Self::refused(&E::absent()),
            other => Self::of_command(other, |refusal| Self::refused(&refusal)),
        }
    }
}

impl From<PortError> for ApiError {
    fn from(error: PortError) -> Self {
        if error.code == ErrorCode::InternalError {
            return Self::internal(error);
        }
        Self {
            violations: error.violations,
            retry_after_ms: error.retry_after_ms,
            ..Self::new(error.code, error.message)
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        match classify(&error) {
            Fault::Unavailable | Fault::Contended => Self::unavailable(),
            Fault::Constraint | Fault::Permanent => Self::internal(error),
        }
    }
}

impl From<RetryError> for ApiError {
    fn from(error: RetryError) -> Self {
        let message = error.to_string();
        match error {
            RetryError::NotFound => Self::not_found(message),
            RetryError::OtherVersion(_) | RetryError::StillPoisonous { .. } => {
                Self::new(ErrorCode::Conflict, message)
            }
            RetryError::Database(error) => error.into(),
        }
    }
}

impl From<RebuildError> for ApiError {
    fn from(error: RebuildError) -> Self {
        let message = error.to_string();
        match error {
            RebuildError::Unknown { .. } => Self::not_found(message),
            RebuildError::Interrupted => Self::not_yet(message),
            RebuildError::Stopped { .. } => Self::internal(error),
            RebuildError::Database(error) => error.into(),
        }
    }
}

impl From<vault::Error> for ApiError {
    fn from(error: vault::Error) -> Self {
        match error {
            vault::Error::Database(error) => error.into(),
            vault::Error::Erased => Self::new(ErrorCode::Conflict, error.to_string()),
            vault::Error::TooLarge { .. } | vault::Error::TooManyValues { .. } => {
                Self::new(ErrorCode::PayloadTooLarge, error.to_string())
            }
            other => Self::internal(other),
        }
    }
}

impl From<RotationError> for ApiError {
    fn from(error: RotationError) -> Self {
        match error {
            RotationError::Database(error) => error.into(),
            other => Self::new(ErrorCode::Conflict, other.to_string()),
        }
    }
}

impl From<StaleEpoch> for ApiError {
    fn from(error: StaleEpoch) -> Self {
        Self::new(ErrorCode::ResumeRequired, error.to_string())
    }
}

impl From<ParsePositionError> for ApiError {
    fn from(error: ParsePositionError) -> Self {
        Self::new(ErrorCode::ValidationFailed, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_suggests_the_nearest_first() {
        let known = ["format_text", "weather", "format_test", "echo"].map(str::to_owned);
        let error = ApiError::not_found("there is no tool `fromat_text`")
            .with_candidates_for("fromat_text", known);
        assert_eq!(*error.candidates, ["format_text", "format_test"]);
    }

    #[test]
    fn a_fault_of_ours_says_nothing_of_its_cause() {
        let error = ApiError::internal(std::io::Error::other("relation jobs is broken"));
        assert_eq!(error.to_string(), "internal error");
        assert_eq!(error.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn an_absent_job_has_a_code_of_its_own() {
        let error = ApiError::from(CommandError::<job::Error>::NotFound);
        assert_eq!(error.code, ErrorCode::JobNotFound);
        let error = ApiError::from(CommandError::<tool::Error>::NotFound);
        assert_eq!(error.code, ErrorCode::NotFound);
    }

    #[test]
    fn paths_are_told_from_further_out() {
        let error = ApiError::invalid_field("name", "must not be empty").under("input");
        assert_eq!(error.violations[0].path, "input.name");
        assert_eq!(error.message, "`name` must not be empty");
    }
}
