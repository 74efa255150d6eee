//! What came of a call, and whether another attempt follows.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use toolroom_domain::{
    ErrorCode,
    job::{self, Command, Failure, Told, retry},
};
use toolroom_eventlog::{CommandError, append::SideRow};

use super::{Attempts, Started, recorder::Recorder};
use crate::{executor::CallError, gate::Ground};

impl Attempts {
    /// The command that ends the attempt, and what is written beside its events.
    pub(super) async fn outcome(
        &self,
        started: &Started,
        recorder: &Recorder,
        (duration_us, told): (u64, Told),
        result: Result<Value, CallError>,
        side: &mut Vec<SideRow>,
    ) -> Result<Command, CommandError<job::Error>> {
        let result = match result {
            Ok(output) => recorder.seal("output", &output).await?,
            Err(error) => Err(error),
        };
        let at = self.clock.now();
        let (attempt, exit_code) = (recorder.attempt(), recorder.exit_code());
        let error = match result {
            Ok(output) => {
                return Ok(Command::Succeed {
                    attempt,
                    output: output.among(side),
                    duration_us,
                    exit_code,
                    told,
                    at,
                });
            }
            Err(error) => error,
        };
        // What cannot be kept of the details is left out: why the run failed is told without.
        let details = match &error.details {
            Some(details) => recorder.seal("error", details).await?.ok(),
            None => None,
        };
        let details = details.map(|details| details.among(side));
        let is_kept_back = error.code == ErrorCode::RateLimitExceeded && told.receipts.is_empty();
        let retry_at =
            next_attempt(started, &error, is_kept_back).and_then(|pause| after(at, pause));
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
/// follow. The job itself refuses what would do a thing twice. An attempt that has only waited for the
/// tool's rate is none of those that the policy grants.
fn next_attempt(started: &Started, error: &CallError, is_kept_back: bool) -> Option<Duration> {
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
    let failures = job.failures() + u32::from(!is_kept_back);
    retry::pause(&policy, failures, error.retry_after, chance).ok()
}

fn after(at: Timestamp, pause: Duration) -> Option<Timestamp> {
    at.checked_add(pause).ok()
}
