//! Gives every error of a response its code, and whatever else clients go by.

use async_graphql::{PathSegment, Response, ServerError, Value};
use toolroom_domain::{
    ErrorCode, Violation,
    access::{Operation, Place},
};

use crate::{
    error::{ApiError, category},
    state::RequestContext,
};

/// Completes the errors of a response; a fault of ours is reported to the log here.
pub(super) fn complete(mut response: Response, sender: Option<&RequestContext>) -> Response {
    for error in &mut response.errors {
        complete_one(error, sender);
    }
    response
}

fn complete_one(error: &mut ServerError, sender: Option<&RequestContext>) {
    let request_id = sender.map_or("", |sender| sender.request_id.as_str());
    let known = error.source::<ApiError>().cloned();
    let told = known.unwrap_or_else(|| of_library(error));
    told.report(request_id);
    // Without a path it was refused before anything was carried out, and is told already.
    if let (Some(sender), Some(PathSegment::Field(field))) = (sender, error.path.first()) {
        sender.note_refusal(operation(field), &told);
    }
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

/// The operation of a field at the root. Under an alias it is one that is not named: what a client
/// calls things is no word for the audit.
fn operation(field: &str) -> &'static str {
    [Place::Query, Place::Mutation, Place::Subscription]
        .into_iter()
        .find_map(|place| Operation::find(place, field))
        .map_or("aliased", Operation::name)
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
