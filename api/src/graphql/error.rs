//! Gives every error of a response its code, and whatever else clients go by.

use async_graphql::{PathSegment, Response, ServerError, Value};
use toolroom_domain::{ErrorCode, Violation};

use crate::error::{ApiError, category};

/// Completes the errors of a response; a fault of ours is reported to the log here.
pub(super) fn complete(mut response: Response, request_id: &str) -> Response {
    for error in &mut response.errors {
        complete_one(error, request_id);
    }
    response
}

fn complete_one(error: &mut ServerError, request_id: &str) {
    let known = error.source::<ApiError>().cloned();
    let told = known.unwrap_or_else(|| of_library(error));
    told.report(request_id);
    let extensions = error.extensions.get_or_insert_default();
    extensions.set("code", told.code.as_str());
    let category = serde_json::to_value(category(told.code)).unwrap_or_default();
    extensions.set("category", Value::from_json(category).unwrap_or_default());
    let details = serde_json::to_value(&told.violations).unwrap_or_default();
    extensions.set("details", Value::from_json(details).unwrap_or_default());
    extensions.set("requestId", request_id);
    if let Some(after) = told.retry_after_ms {
        extensions.set("retryAfterMs", after);
    }
    if !told.candidates.is_empty() {
        let candidates = told.candidates.iter().cloned().map(Value::String).collect();
        extensions.set("candidates", Value::List(candidates));
    }
    if let Some(job) = told.job_id {
        extensions.set("jobId", job.to_string());
    }
}

/// What the library found: a value that does not fit its type, or a document that does not fit
/// the schema.
fn of_library(error: &ServerError) -> ApiError {
    let message = error.message.clone();
    let names_a_value = [
        "Invalid value for argument",
        "Failed to parse",
        "Expected input type",
    ]
    .iter()
    .any(|beginning| message.starts_with(beginning))
        || (message.starts_with("Variable") && message.contains("expected type"));
    if !names_a_value {
        return ApiError::new(ErrorCode::InvalidRequest, message);
    }
    let path = quoted(&message).unwrap_or_else(|| dotted(&error.path));
    let mut told = ApiError::new(ErrorCode::ValidationFailed, message.clone());
    told.violations = vec![Violation::new(path, message)];
    told
}

/// The argument that `Invalid value for argument "input.name", …` names.
fn quoted(message: &str) -> Option<String> {
    let rest = message.strip_prefix("Invalid value for argument \"")?;
    rest.split_once('"').map(|(path, _)| path.to_owned())
}

fn dotted(path: &[PathSegment]) -> String {
    path.iter()
        .map(|segment| match segment {
            PathSegment::Field(name) => name.clone(),
            PathSegment::Index(index) => index.to_string(),
        })
        .collect::<Vec<_>>()
        .join(".")
}
