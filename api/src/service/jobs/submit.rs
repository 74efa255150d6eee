//! Runs for the background: begun at once where this node has room, else requested for whichever node
//! has room first.

use jiff::Timestamp;
use serde_json::Value;
use toolroom_domain::{
    JobId,
    job::{self, Command, Job, Request, ToolRef, seal_context},
    port::Offered,
};
use toolroom_eventlog::{CommandContext, Executed, command::Target, ids};

use super::{Accepted, JobView, LastEvent, Submission, accept, settled, to_run};
use crate::{
    error::ApiError,
    service::{quota::within_quota, settle::after_run},
    state::{AppState, RequestContext},
};

/// Submits a run for the background.
///
/// # Errors
/// When the call is not accepted: nothing will be run.
pub async fn submit(
    state: &AppState,
    ctx: &RequestContext,
    submission: Submission,
    command_id: Option<&str>,
) -> Result<JobView, ApiError> {
    let command = ctx.command(command_id, "submitJob", &submission)?;
    if let Some(first) = state.log.bus.recall::<Job>(&command).await? {
        return settled(state, ctx, first).await;
    }
    let accepted = accept_submission(state, ctx, &submission).await?;
    let job = Box::pin(hand_in(state, ctx, submission, accepted, command)).await?;
    if let Some(written) = job.written() {
        after_run(state, ctx, written).await?;
    }
    Ok(job)
}

/// Has an accepted run begun by this node, if it is due and the node has room; else requested, for
/// whichever node has room first.
pub(super) async fn hand_in(
    state: &AppState,
    ctx: &RequestContext,
    submission: Submission,
    accepted: Accepted,
    command: CommandContext,
) -> Result<JobView, ApiError> {
    if submission.run_at.is_some_and(|at| at > state.clock.now()) {
        let asked = Asked::of(submission, &accepted);
        let executed = Box::pin(request(state, ctx, asked, command)).await?;
        return of_new(&executed);
    }
    let tool = accepted.tool_ref();
    let Submission {
        call,
        run_at,
        priority,
    } = submission;
    let run = to_run(ctx, accepted, call, priority, command.clone());
    let offer = async { Ok(state.runner.offer(run).await?) };
    let is_begun = |offered: &Offered| matches!(offered, Offered::Begun(_));
    match within_quota(state, ctx.workspace, offer, is_begun).await? {
        Offered::Begun(begun) => {
            JobView::of_aggregate(&begun.job, LastEvent::Written(begun.global_seq))
        }
        // Its input may be large: it is taken back, not kept twice.
        Offered::NoRoom(back) => {
            let asked = Asked {
                tool,
                action: back.action,
                input: back.input,
                is_test: back.is_test,
                priority,
                run_at,
                rerun_of: None,
                recorded: false,
            };
            of_new(&Box::pin(request(state, ctx, asked, command)).await?)
        }
    }
}

fn of_new(executed: &Executed<Job>) -> Result<JobView, ApiError> {
    let last_event = executed
        .global_seq
        .map_or(LastEvent::Newest, LastEvent::Written);
    JobView::of_aggregate(&executed.after.aggregate, last_event)
}

pub(super) async fn accept_submission(
    state: &AppState,
    ctx: &RequestContext,
    submission: &Submission,
) -> Result<Accepted, ApiError> {
    job::check_turn(submission.priority, submission.run_at, state.clock.now())
        .map_err(|found| ApiError::invalid(vec![found]))?;
    accept(state, ctx, &submission.call).await
}

/// A run for the background, its input in the clear.
pub(super) struct Asked {
    pub(super) tool: ToolRef,
    pub(super) action: Option<String>,
    pub(super) input: Value,
    pub(super) is_test: bool,
    pub(super) priority: i32,
    pub(super) run_at: Option<Timestamp>,
    pub(super) rerun_of: Option<JobId>,
    pub(super) recorded: bool,
}

impl Asked {
    fn of(submission: Submission, accepted: &Accepted) -> Self {
        let Submission {
            call,
            run_at,
            priority,
        } = submission;
        Self {
            tool: accepted.tool_ref(),
            action: accepted.action.clone(),
            input: call.input,
            is_test: call.is_test,
            priority,
            run_at,
            rerun_of: None,
            recorded: false,
        }
    }
}

pub(super) async fn request(
    state: &AppState,
    ctx: &RequestContext,
    asked: Asked,
    mut command: CommandContext,
) -> Result<Executed<Job>, ApiError> {
    let id = JobId::from_uuid(ids::new_uuid());
    let input = state
        .log
        .vault
        .seal_value(ctx.workspace, &seal_context(id, "input"), &asked.input)
        .await?
        .beside(&mut command);
    // What is sealed is not needed in the clear as well.
    drop(asked.input);
    let request = Command::Request(Box::new(Request {
        id,
        workspace: ctx.workspace,
        tool: asked.tool,
        action: asked.action,
        input,
        is_test: asked.is_test,
        priority: asked.priority,
        run_at: asked.run_at,
        rerun_of: asked.rerun_of,
        recorded: asked.recorded,
        at: state.clock.now(),
    }));
    let target = Target::New(id.to_string());
    let asking = async { Ok(state.log.bus.execute(target, request, &command).await?) };
    within_quota(state, ctx.workspace, asking, changed_something).await
}

pub(super) fn changed_something(executed: &Executed<Job>) -> bool {
    !executed.repeated && executed.global_seq.is_some()
}
