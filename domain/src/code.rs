//! The codes by which clients tell errors apart, and what a refused command says.

use serde::{Deserialize, Serialize};

use crate::violation::Violation;

/// A stable name for what went wrong. It is `extensions.code` in GraphQL and `code` in REST bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs, reason = "each name is the code itself")]
pub enum ErrorCode {
    InvalidRequest,
    InvalidToolRequirement,
    InsufficientApiSpecs,
    GenerationTimeout,
    AiServiceError,
    AiServiceRateLimited,
    JobNotFound,
    JobCancelled,
    JobAlreadyCompleted,
    RateLimitExceeded,
    ServiceUnavailable,
    InternalError,
    Unauthenticated,
    Forbidden,
    NotFound,
    Conflict,
    IdempotencyConflict,
    ValidationFailed,
    PayloadTooLarge,
    QuotaExceeded,
    CircuitOpen,
    EgressDenied,
    ToolFailed,
    OutcomeUnknown,
    ResumeRequired,
}

impl ErrorCode {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::InvalidRequest,
        Self::InvalidToolRequirement,
        Self::InsufficientApiSpecs,
        Self::GenerationTimeout,
        Self::AiServiceError,
        Self::AiServiceRateLimited,
        Self::JobNotFound,
        Self::JobCancelled,
        Self::JobAlreadyCompleted,
        Self::RateLimitExceeded,
        Self::ServiceUnavailable,
        Self::InternalError,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::Conflict,
        Self::IdempotencyConflict,
        Self::ValidationFailed,
        Self::PayloadTooLarge,
        Self::QuotaExceeded,
        Self::CircuitOpen,
        Self::EgressDenied,
        Self::ToolFailed,
        Self::OutcomeUnknown,
        Self::ResumeRequired,
    ];

    /// The code as clients see it, such as `VALIDATION_FAILED`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::InvalidToolRequirement => "INVALID_TOOL_REQUIREMENT",
            Self::InsufficientApiSpecs => "INSUFFICIENT_API_SPECS",
            Self::GenerationTimeout => "GENERATION_TIMEOUT",
            Self::AiServiceError => "AI_SERVICE_ERROR",
            Self::AiServiceRateLimited => "AI_SERVICE_RATE_LIMITED",
            Self::JobNotFound => "JOB_NOT_FOUND",
            Self::JobCancelled => "JOB_CANCELLED",
            Self::JobAlreadyCompleted => "JOB_ALREADY_COMPLETED",
            Self::RateLimitExceeded => "RATE_LIMIT_EXCEEDED",
            Self::ServiceUnavailable => "SERVICE_UNAVAILABLE",
            Self::InternalError => "INTERNAL_ERROR",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::Conflict => "CONFLICT",
            Self::IdempotencyConflict => "IDEMPOTENCY_CONFLICT",
            Self::ValidationFailed => "VALIDATION_FAILED",
            Self::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::CircuitOpen => "CIRCUIT_OPEN",
            Self::EgressDenied => "EGRESS_DENIED",
            Self::ToolFailed => "TOOL_FAILED",
            Self::OutcomeUnknown => "OUTCOME_UNKNOWN",
            Self::ResumeRequired => "RESUME_REQUIRED",
        }
    }

    /// The code of this text, if there is one.
    pub fn find(code: &str) -> Option<Self> {
        let text = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(code);
        Self::deserialize(text).ok()
    }
}

/// Why a run failed, in the terms by which a caller decides what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCategory {
    /// The other side could not be reached.
    Network,
    /// Credentials were missing or wrong.
    Authentication,
    /// The credentials do not permit it.
    Authorization,
    /// Too many requests.
    RateLimit,
    /// The input or the configuration is wrong.
    Validation,
    /// It took too long.
    Timeout,
    /// The other side failed.
    ServerError,
    /// None of these.
    Unknown,
}

/// A command that was refused: what an edge needs to answer it. Every aggregate's error has one.
pub trait Refusal: std::error::Error {
    /// The stable code.
    fn code(&self) -> ErrorCode;
    /// What is wrong with which field, where that is known.
    fn violations(&self) -> Vec<Violation> {
        Vec::new()
    }
}
