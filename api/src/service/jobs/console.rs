//! A run as if it were a process: what it printed, and with which code it ended. One answer for all
//! contracts that ask so, also of tools that are none.

use serde_json::Value;
use toolroom_domain::job::Status;

use super::{JobView, log, output, why_nothing};
use crate::{error::ApiError, state::AppState};

/// What the runs of a job wrote to their standard output; where that is nothing, what the job gave
/// back, as a process would print it. None while there is neither.
///
/// # Errors
/// When the vault cannot be read.
pub async fn stdout(
    state: &AppState,
    job: &JobView,
    lines: &[log::Entry],
) -> Result<Option<String>, ApiError> {
    match log::output_of(lines, "stdout") {
        Some(written) => Ok(Some(written)),
        None => Ok(output(state, job).await?.map(printed)),
    }
}

/// What the runs of a job wrote to their standard error; where that is nothing, why the job gave
/// nothing back.
pub fn stderr(job: &JobView, lines: &[log::Entry]) -> Option<String> {
    let why =
        || matches!(job.status, Status::Failed | Status::Cancelled).then(|| why_nothing(job).1);
    log::output_of(lines, "stderr").or_else(why)
}

/// The code with which the last run's process ended; where there is none, 0 of a job that gave
/// something back and 1 of another. None until it has ended.
pub fn exit_code(job: &JobView) -> Option<i32> {
    let ended = job.attempts.last().and_then(|attempt| attempt.exit_code);
    ended.or(match job.status {
        Status::Succeeded => Some(0),
        Status::Failed | Status::Cancelled => Some(1),
        Status::Pending | Status::Running => None,
    })
}

/// A text as it is, anything else as JSON.
fn printed(output: Value) -> String {
    match output {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
