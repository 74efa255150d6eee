//! A request that cannot be answered as asked, before it has the shape of any contract.

use std::{sync::Arc, time::Duration};

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value};
use toolroom_domain::{ErrorCode, JobId, Violation};

use crate::error::ApiError;

/// When to come again after being turned away because too much was going on at once.
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(1);

/// By which scheme to try again, as RFC 9110 has a 401 tell.
pub(crate) const CHALLENGE: &str = "Bearer realm=\"toolroom\"";

/// What is wrong with a request. As a response it has no body yet: `answer` gives it the
/// one that the path's contract shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// The stable code.
    pub code: ErrorCode,
    /// What was wrong, where, and how to mend it.
    pub message: Box<str>,
    /// What is wrong with which field.
    pub violations: Box<[Violation]>,
    /// When to try again, if that may help.
    pub retry_after: Option<Duration>,
    /// Names near to one that was not found.
    pub candidates: Box<[String]>,
    /// The job that it concerns.
    pub job: Option<JobId>,
    /// The methods that the path knows, when it was another one.
    pub allow: Option<&'static str>,
    /// What a contract shows beside the error body's fields, or in the place of one.
    pub beside: Box<Map<String, Value>>,
}

impl Problem {
    /// A problem of which no more is to be said.
    pub fn new(status: StatusCode, code: ErrorCode, message: impl Into<Box<str>>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            violations: Box::default(),
            retry_after: None,
            candidates: Box::default(),
            job: None,
            allow: None,
            beside: Box::default(),
        }
    }

    /// The request does not have the form that it must have.
    pub fn malformed(message: impl Into<Box<str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::InvalidRequest, message)
    }

    /// Some fields are wrong.
    pub fn invalid(violations: Vec<Violation>) -> Self {
        ApiError::invalid(violations).into()
    }

    /// The path knows other methods.
    pub fn method_not_allowed(allow: &'static str, message: impl Into<Box<str>>) -> Self {
        Self {
            allow: Some(allow),
            ..Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                ErrorCode::InvalidRequest,
                message,
            )
        }
    }

    /// Too much is going on at once.
    pub fn busy(message: impl Into<Box<str>>) -> Self {
        Self {
            retry_after: Some(BUSY_RETRY_AFTER),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorCode::ServiceUnavailable,
                message,
            )
        }
    }
}

impl From<ApiError> for Problem {
    fn from(mut error: ApiError) -> Self {
        Self {
            violations: std::mem::take(&mut error.violations).into_boxed_slice(),
            candidates: std::mem::take(&mut error.candidates),
            retry_after: error.retry_after_ms.map(Duration::from_millis),
            job: error.job_id,
            ..Self::new(error.status(), error.code, error.message)
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(after) = self.retry_after {
            let seconds = after.as_millis().div_ceil(1000).max(1);
            if let Ok(value) = HeaderValue::try_from(seconds.to_string()) {
                response.headers_mut().insert(header::RETRY_AFTER, value);
            }
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static(CHALLENGE);
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(allow) = self.allow {
            let allow = HeaderValue::from_static(allow);
            response.headers_mut().insert(header::ALLOW, allow);
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}
