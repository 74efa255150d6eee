//! `json.query`: what a JSONPath (RFC 9535) names in a value.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use toolroom_domain::{ErrorCategory, limits};

use super::Context;
use crate::executor::{error::CallError, jsonpath::Path};

/// What to look for, and where.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// The value to look into.
    data: Value,
    /// A JSONPath such as `$.items[?@.price < 10].name`.
    path: String,
}

/// Everything that the path names, in order.
pub(super) async fn query(_: Context, input: Input) -> Result<Vec<Value>, CallError> {
    tokio::task::spawn_blocking(move || search(&input))
        .await
        .map_err(|_| CallError::failed(ErrorCategory::Unknown, "the query broke off"))?
}

fn search(Input { data, path }: &Input) -> Result<Vec<Value>, CallError> {
    let refuse = |problem| CallError::invalid(format!("`path` {problem}"));
    let found = Path::parse(path)
        .and_then(|path| path.all(data))
        .map_err(|problem| refuse(problem.to_string()))?;
    // Each match is at least two bytes of the answer; copies are not made of what is too many.
    if found.len() > limits::JOB_VALUE_BYTES / 2 {
        return Err(refuse("names more than an answer can hold".to_owned()));
    }
    let mut left = limits::JOB_VALUE_BYTES;
    for value in &found {
        let bytes = value.to_string().len();
        left = left
            .checked_sub(bytes)
            .ok_or_else(|| refuse("names more than an answer can hold".to_owned()))?;
    }
    Ok(found.into_iter().cloned().collect())
}
