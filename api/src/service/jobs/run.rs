//! What the runs of a job tell of themselves.

use toolroom_domain::job::{Attempt, Job, Progress, Status};

use super::JobView;
use crate::{error::ApiError, state::AppState};

/// How far a job is: while it runs, as it last said on this node; else as the log tells.
pub fn progress(state: &AppState, job: &JobView) -> Progress {
    let attempt = job.attempts.last().map_or(0, |attempt| attempt.number);
    let live = (job.status == Status::Running)
        .then(|| state.log.signals.live.latest(job.id))
        .flatten()
        .filter(|report| report.attempt == attempt);
    match live {
        None => job.progress.clone(),
        // Another node tells no words.
        Some(report) => Progress {
            step: report.progress.step.or_else(|| job.progress.step.clone()),
            percentage: report.progress.percentage.or(job.progress.percentage),
        },
    }
}

/// The attempts of a job with what each did: its calls, its secrets, its lines.
///
/// # Errors
/// When the workspace has no such job, or the database does not answer.
pub async fn attempts(state: &AppState, job: &JobView) -> Result<Vec<Attempt>, ApiError> {
    let id = job.id.to_string();
    let loaded = state.log.bus.load::<Job>(job.workspace, &id).await?;
    Ok(loaded.aggregate.attempts().to_vec())
}
