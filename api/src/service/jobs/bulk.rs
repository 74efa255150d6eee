//! Many jobs with one request: what a queue's client sends by the hundred should not pay for a
//! request each.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde::Serialize;

use super::{Accepted, Call, JobView, accept_submission, hand_in, settled};
use crate::{
    error::ApiError,
    service::settle::{JOBS, after_command},
    state::{AppState, RequestContext},
};
use toolroom_domain::job::Job;

/// Jobs of one request: more would hold a connection for long, and win nothing.
pub const BULK_JOBS: usize = 500;

/// Characters that the number of a job adds to the command's id.
const SUFFIX_CHARS: usize = 4;

/// A run for the background.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Submission {
    /// What to run.
    pub call: Call,
    /// Not before this moment.
    pub run_at: Option<Timestamp>,
    /// Higher runs first.
    pub priority: i32,
}

/// Submits all of them, or none if one is not accepted. They are appended together, as far as they
/// come together.
///
/// # Errors
/// What is wrong with each, paths beginning with `jobs.N`. After an error of the database some may
/// have been submitted; the same `command_id` again submits the rest.
pub async fn submit_all(
    state: &AppState,
    ctx: &RequestContext,
    submissions: Vec<Submission>,
    command_id: Option<&str>,
) -> Result<Vec<JobView>, ApiError> {
    if !(1..=BULK_JOBS).contains(&submissions.len()) {
        let problem = format!("must hold from 1 to {BULK_JOBS} jobs");
        return Err(ApiError::invalid_field("jobs", problem));
    }
    let bound = toolroom_domain::limits::COMMAND_ID_CHARS - SUFFIX_CHARS;
    if command_id.is_some_and(|id| id.chars().count() > bound) {
        let problem = format!("must have at most {bound} characters where it names many jobs");
        return Err(ApiError::invalid_field("commandId", problem));
    }
    let accepted = accept_all(state, ctx, &submissions).await?;
    let asked = submissions.into_iter().zip(accepted).enumerate();
    let jobs: Vec<_> = stream::iter(asked)
        .map(|(index, (submission, accepted))| {
            let id = command_id.map(|id| format!("{id}/{index}"));
            async move { submit_one(state, ctx, submission, accepted, id.as_deref()).await }
        })
        .buffered(BULK_JOBS)
        .try_collect()
        .await?;
    // So that they come no faster than the list of jobs can follow.
    let written = jobs.iter().filter_map(JobView::written);
    after_command(state, ctx, written.max(), JOBS).await?;
    Ok(jobs)
}

async fn accept_all(
    state: &AppState,
    ctx: &RequestContext,
    submissions: &[Submission],
) -> Result<Vec<Accepted>, ApiError> {
    let (mut accepted, mut found) = (Vec::with_capacity(submissions.len()), Vec::new());
    for (index, submission) in submissions.iter().enumerate() {
        match accept_submission(state, ctx, submission).await {
            Ok(call) => accepted.push(call),
            Err(error) if error.violations.is_empty() => {
                let mut error = error;
                error.message = format!("job {index}: {}", error.message);
                return Err(error);
            }
            Err(error) => {
                let under = |v: toolroom_domain::Violation| v.under(&format!("jobs.{index}"));
                found.extend(error.violations.into_iter().map(under));
            }
        }
    }
    if found.is_empty() {
        Ok(accepted)
    } else {
        Err(ApiError::invalid(found))
    }
}

async fn submit_one(
    state: &AppState,
    ctx: &RequestContext,
    submission: Submission,
    accepted: Accepted,
    command_id: Option<&str>,
) -> Result<JobView, ApiError> {
    let command = ctx.command(command_id, "submitJob", &submission)?;
    if let Some(first) = state.log.bus.recall::<Job>(&command).await? {
        return settled(state, ctx, first).await;
    }
    Box::pin(hand_in(state, ctx, submission, accepted, command)).await
}
