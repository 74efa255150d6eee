//! What came of a call, and whether another attempt follows.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use toolroom_domain::{
    ErrorCategory, ErrorCode,
    job::{self, Command, Failure, Told, retry},
    limits,
};
use toolroom_eventlog::CommandError;

use super::{Attempts, Started, recorder::Recorder};
use crate::{executor::CallError, gate::Ground};

impl Attempts {
    /// The command that ends the attempt.
    pub(super) async fn outcome(
        &self,
        started: &Started,
        recorder: &Recorder,
        duration_us: u64,
        told: Told,
        result: Result<Value, CallError>,
    ) -> Result<Command, CommandError<job::Error>> {
        let result = result.and_then(|output| match output.to_string().len() {
            size if size > limits::JOB_VALUE_BYTES => Err(CallError::failed(
                ErrorCategory::Validation,
                format!(
                    "the output is {size} bytes as JSON; at most {} are kept",
                    limits::JOB_VALUE_BYTES
                ),
            )),
            _ => Ok(output),
        });
        let at = self.clock.now();
        let (attempt, exit_code) = (recorder.attempt(), recorder.exit_code());
        let error = match result {
            Ok(output) => {
                return Ok(Command::Succeed {
                    attempt,
                    output: recorder.seal("output", &output).await?,
                    duration_us,
                    exit_code,
                    told,
                    at,
                });
            }
            Err(error) => error,
        };
        let details = match &error.details {
            Some(details) => Some(recorder.seal("error", details).await?),
            None => None,
        };
        let retry_at = next_attempt(started, &error).and_then(|pause| after(at, pause));
        Ok(Command::Fail {
            attempt,
            error: Failure {
                code: error.code.as_str().to_owned(),
                category: error.category,
                message: error.message,
                retryable: error.retryable,
                details,
            },
            duration_us,
            exit_code,
            retry_at,
            told,
            at,
        })
    }
}

/// How long to wait before the next attempt; none when the error, or the tool's policy, has none
/// follow. The job itself refuses what would do a thing twice.
fn next_attempt(started: &Started, error: &CallError) -> Option<Duration> {
    let job = &started.job.aggregate;
    if !error.retryable || job.is_recorded() {
        return None;
    }
    // What was not let in at all is told to who waits for it, and not tried behind their back.
    let is_not_let_in = matches!(
        error.code,
        ErrorCode::CircuitOpen | ErrorCode::RateLimitExceeded
    );
    if is_not_let_in && started.wait.ground == Ground::Fore {
        return None;
    }
    let policy = started.definition.policy.resolve();
    let chance = retry::chance(started.id, job.attempt());
    retry::pause(&policy, job.failures() + 1, error.retry_after, chance).ok()
}

fn after(at: Timestamp, pause: Duration) -> Option<Timestamp> {
    at.checked_add(pause).ok()
}
