//! `outputMapping`: what of an output a caller wants, and under which names. The job keeps all of it.

use serde_json::{Map, Value};
use toolroom_domain::{Violation, port::OutputMapping};

use super::{JobView, of_job};
use crate::{error::ApiError, state::AppState};

/// Entries of one mapping: each may walk through the whole output.
const MAX_ENTRIES: usize = 100;

/// Characters of a key that an error repeats.
const SHOWN_CHARS: usize = 64;

/// The mapping that a client sent.
///
/// # Errors
/// All that is wrong with it, paths relative to the mapping.
pub fn read_mapping(
    state: &AppState,
    sent: Map<String, Value>,
) -> Result<OutputMapping, Vec<Violation>> {
    if sent.len() > MAX_ENTRIES {
        let problem = format!("must have at most {MAX_ENTRIES} entries");
        return Err(vec![Violation::new("", problem)]);
    }
    let (mut mapping, mut found) = (OutputMapping::new(), Vec::new());
    for (key, value) in sent {
        match value {
            Value::String(value) => {
                mapping.insert(key, value);
            }
            _ => {
                let problem = "must be a text, such as `message.id` or `$.items[0].id`";
                found.push(Violation::new(shortened(&key), problem));
            }
        }
    }
    if found.is_empty() {
        let checked = state.presenter.check_output_mapping(&mapping);
        found.extend(checked.err().into_iter().flatten());
    }
    match found.is_empty() {
        true => Ok(mapping),
        false => Err(found
            .into_iter()
            .map(|v| Violation::new(shortened(&v.path), v.message))
            .collect()),
    }
}

fn shortened(key: &str) -> String {
    key.chars().take(SHOWN_CHARS).collect()
}

/// What a mapping picks from the output of a job.
///
/// # Errors
/// When the output is too large for one of its paths: the job has run none the less.
pub async fn mapped(
    state: &AppState,
    job: &JobView,
    mapping: Option<&OutputMapping>,
    output: Value,
) -> Result<Value, ApiError> {
    let Some(mapping) = mapping else {
        return Ok(output);
    };
    let mapped = state.presenter.map_output(mapping, output).await;
    mapped.map_err(|error| of_job(ApiError::from(error).under("outputMapping"), job.id))
}
