//! Jobs: run, submitted, watched, ended.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::Value;
use toolroom_domain::{
    ErrorCode, JobId,
    job::{self, Command, Job, Status, ToolRef},
    limits::{JOB_PRIORITY, JSON_DEPTH},
    port::RunRequest,
    tool::{self, Definition},
};
use toolroom_eventlog::{
    Aggregate as _, CommandContext, Executed, Position,
    command::{NamedCommand, Target},
    history, ids,
    vault::Opened,
};
use toolroom_projections::{
    Page,
    jobs::{self, JobFilter, ListJobs},
};

use super::{
    directory::Entry,
    quota::within_quota,
    settle::{JOBS, after_command, after_run, before_read},
    tools::actions,
};
use crate::{
    error::ApiError,
    state::{AppState, READ_YOUR_WRITES, RequestContext},
};

mod bulk;
pub mod console;
pub mod log;
mod mapped;
mod run;
mod submit;
mod told;
mod values;
mod view;

pub use bulk::{BULK_JOBS, Submission, submit_all};
pub use mapped::{mapped, read_mapping};
pub use run::{attempts, progress};
pub use submit::submit;
pub use told::{TOLD_BYTES, Told};
pub(crate) use values::open;
pub use values::{
    Fetched, Field, failure_details, fetch, input, output, sent_url, shown, value_of,
};
pub use view::{JobView, LastEvent};

use submit::{Asked, accept_submission, changed_something, hand_in, request};

/// How long `executeTool` waits when it is not told, in milliseconds.
pub const DEFAULT_WAIT_MS: u64 = 30_000;

/// How long `executeTool` waits at the most, in milliseconds: what proxies let a request take.
pub const MAX_WAIT_MS: u64 = 300_000;

/// The one action of a tool that is no connector.
pub const RUN_ACTION: &str = "run";

/// Which tool to run. A text is looked up by id, by number and by name, in that order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum ToolSelector {
    /// By id, number or name.
    Any(String),
    /// By name alone.
    Name(String),
}

/// What to run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Call {
    /// Which tool.
    pub tool: ToolSelector,
    /// Which version; the newest if left out.
    pub version: Option<u32>,
    /// Which of the tool's actions.
    pub action: Option<String>,
    /// What the tool is given.
    pub input: Value,
    /// Whether it is a rehearsal.
    pub is_test: bool,
}

/// A call whose tool is found and whose input fits.
struct Accepted {
    tool: Arc<Entry>,
    version: u32,
    definition: Arc<Definition>,
    /// None where the tool has only one.
    action: Option<String>,
}

impl Accepted {
    fn tool_ref(&self) -> ToolRef {
        ToolRef {
            id: self.tool.id,
            version: self.version,
            kind: self.definition.config.kind(),
            connector: self.definition.config.connector().map(str::to_owned),
        }
    }
}

async fn accept(state: &AppState, ctx: &RequestContext, call: &Call) -> Result<Accepted, ApiError> {
    // Before the tool is looked for: its name went with what is derived.
    state.must_not_be_erased(ctx.workspace).await?;
    if tool::depth(&call.input) > JSON_DEPTH {
        let problem = format!("must nest at most {JSON_DEPTH} levels");
        return Err(ApiError::invalid_field("input", problem));
    }
    let tool = match &call.tool {
        ToolSelector::Any(text) => state.directory.find(ctx.workspace, text).await?,
        ToolSelector::Name(name) => state.directory.by_name(ctx.workspace, name).await?,
    };
    must_run(&tool)?;
    let version = call.version.unwrap_or(tool.version);
    let definition = state.directory.definition(&tool, version).await?;
    let action = actions::named(state, &definition, call.action.as_deref())?;
    state
        .checker
        .check_input(
            tool.id,
            version,
            &definition,
            action.as_deref(),
            &call.input,
        )
        .map_err(|found| {
            ApiError::invalid(found.into_iter().map(|v| v.under("input")).collect())
        })?;
    Ok(Accepted {
        tool,
        version,
        definition,
        action,
    })
}

/// Whether a call would be accepted.
///
/// # Errors
/// When it would not, as [`execute`] would refuse it.
pub async fn check(state: &AppState, ctx: &RequestContext, call: &Call) -> Result<(), ApiError> {
    accept(state, ctx, call).await.map(drop)
}

fn must_run(tool: &Entry) -> Result<(), ApiError> {
    if tool.is_deleted {
        return Err(ApiError::refused(&tool::Error::Deleted));
    }
    if !tool.is_active {
        return Err(ApiError::new(
            ErrorCode::Conflict,
            format!(
                "the tool `{}` is not active; let it run with `setToolActive`",
                tool.name
            ),
        ));
    }
    Ok(())
}

/// Runs a tool and waits for its end, or for `timeout_ms`: then the job is returned as it is. A
/// tool that fails is a job that failed, no error.
///
/// # Errors
/// When the call is not accepted: nothing was run.
pub async fn execute(
    state: &AppState,
    ctx: &RequestContext,
    call: Call,
    timeout_ms: Option<u64>,
    command_id: Option<&str>,
) -> Result<JobView, ApiError> {
    let wait = timeout_ms.unwrap_or(DEFAULT_WAIT_MS);
    if !(1..=MAX_WAIT_MS).contains(&wait) {
        let problem = format!("must be from 1 to {MAX_WAIT_MS}");
        return Err(ApiError::invalid_field("timeoutMs", problem));
    }
    let command = ctx.command(command_id, "executeTool", &call)?;
    if let Some(first) = state.log.bus.recall::<Job>(&command).await? {
        return settled(state, ctx, first).await;
    }
    let accepted = accept(state, ctx, &call).await?;
    let request = to_run(ctx, accepted, call, 0, command);
    let run = async {
        let wait = Duration::from_millis(wait);
        Ok(state.runner.run(request, wait).await?)
    };
    let outcome = within_quota(state, ctx.workspace, run, |_| true).await?;
    after_run(state, ctx, outcome.global_seq).await?;
    JobView::of_aggregate(&outcome.job, LastEvent::Written(outcome.global_seq))
}

fn to_run(
    ctx: &RequestContext,
    accepted: Accepted,
    call: Call,
    priority: i32,
    command: CommandContext,
) -> RunRequest {
    RunRequest {
        job: JobId::from_uuid(ids::new_uuid()),
        workspace: ctx.workspace,
        tool: accepted.tool.id,
        version: accepted.version,
        definition: accepted.definition,
        action: accepted.action,
        input: call.input,
        is_test: call.is_test,
        priority,
        actor: ctx.actor.clone(),
        named: command
            .named
            .map(|NamedCommand { id, request }| (id, request)),
        correlation_id: ctx.request_id.clone(),
        ip: ctx.ip.clone(),
        user_agent: ctx.user_agent.clone(),
    }
}

/// Ends a job, running or not.
///
/// # Errors
/// When there is no such job, or it has ended otherwise.
pub async fn cancel(
    state: &AppState,
    ctx: &RequestContext,
    job: JobId,
    command_id: Option<&str>,
) -> Result<JobView, ApiError> {
    let sender = ctx.command(command_id, "cancelJob", &job)?;
    let at = state.clock.now();
    let command = Command::Cancel { reason: None, at };
    let executed = act(state, job, command, &sender).await?;
    settled(state, ctx, executed).await
}

/// Tries a failed job again, with the same input and version.
///
/// # Errors
/// When there is no such job, or it has not failed.
pub async fn retry(
    state: &AppState,
    ctx: &RequestContext,
    job: JobId,
    command_id: Option<&str>,
) -> Result<JobView, ApiError> {
    let sender = ctx.command(command_id, "retryJob", &job)?;
    if let Some(first) = state.log.bus.recall::<Job>(&sender).await? {
        return settled(state, ctx, first).await;
    }
    let at = state.clock.now();
    let asking = act(state, job, Command::Retry { run_at: at, at }, &sender);
    let executed = within_quota(state, ctx.workspace, asking, changed_something).await?;
    settled(state, ctx, executed).await
}

async fn act(
    state: &AppState,
    job: JobId,
    command: Command,
    sender: &CommandContext,
) -> Result<Executed<Job>, ApiError> {
    let target = Target::Existing(job.to_string());
    let acted = state.log.bus.execute(target, command, sender).await;
    acted.map_err(|error| of_job(error.into(), job))
}

/// Runs a past job again in the background, with the tool version and the input it had then. With
/// `recorded`, it is answered as then: nothing is run, and nothing sent.
///
/// # Errors
/// When there is no such job, its input was erased, its tool may not run, or it has no answer on
/// record.
pub async fn rerun(
    state: &AppState,
    ctx: &RequestContext,
    job: JobId,
    recorded: bool,
    command_id: Option<&str>,
) -> Result<JobView, ApiError> {
    let command = ctx.command(command_id, "rerunJob", &(job, recorded))?;
    if let Some(first) = state.log.bus.recall::<Job>(&command).await? {
        return settled(state, ctx, first).await;
    }
    let loaded = state
        .log
        .bus
        .load::<Job>(ctx.workspace, &job.to_string())
        .await
        .map_err(|error| of_job(error.into(), job))?;
    let past = JobView::of_aggregate(&loaded.aggregate, LastEvent::Newest)?;
    if recorded && !matches!(past.status, job::Status::Succeeded | job::Status::Failed) {
        let error = ApiError::new(
            ErrorCode::Conflict,
            format!(
                "the job is {}: it has no answer on record; leave `recorded` out to run it",
                past.status
            ),
        );
        return Err(of_job(error, job));
    }
    let Opened::Value(input) = open(state, ctx.workspace, job, "input", &past.input).await? else {
        let error = ApiError::new(
            ErrorCode::Conflict,
            "the job's input was erased; submit a new job with an input",
        );
        return Err(of_job(error, job));
    };
    let tool = state.directory.by_id(ctx.workspace, past.tool.id).await?;
    must_run(&tool)?;
    let asked = Asked {
        tool: past.tool,
        action: past.action,
        input,
        is_test: past.is_test,
        // A job of before there were bounds has one outside them.
        priority: past.priority.clamp(-JOB_PRIORITY, JOB_PRIORITY),
        run_at: None,
        rerun_of: Some(job),
        recorded,
    };
    let executed = request(state, ctx, asked, command).await?;
    settled(state, ctx, executed).await
}

async fn settled(
    state: &AppState,
    ctx: &RequestContext,
    executed: Executed<Job>,
) -> Result<JobView, ApiError> {
    after_command(state, ctx, executed.global_seq, JOBS).await?;
    // A repeated command answers with the job as it is now, whose last event may be a later one.
    let last_event = match executed.global_seq {
        Some(global_seq) if !executed.repeated => LastEvent::Written(global_seq),
        _ => LastEvent::Newest,
    };
    JobView::of_aggregate(&executed.after.aggregate, last_event)
}

/// The same error, naming the job that it concerns.
pub(crate) fn of_job(mut error: ApiError, job: JobId) -> ApiError {
    error.job_id = Some(job);
    error
}

/// A job by its id, from the log itself where the read model does not show its newest state.
///
/// # Errors
/// When the workspace has no such job, or the database does not answer.
pub async fn get(state: &AppState, ctx: &RequestContext, id: JobId) -> Result<JobView, ApiError> {
    before_read(state, ctx, JOBS).await?;
    let reads = state.log.database.reads();
    let text = id.to_string();
    // Who was told of an end by a subscription, which reads the log itself, and now asks for the
    // job shall not see it running. To be asked before the row is read: after it, the read model
    // may have moved on.
    let is_behind = state
        .projections
        .watch(JOBS)
        .is_some_and(|seen| *seen.borrow() < *state.log.feed.watch().borrow());
    let (row, is_held) = tokio::try_join!(
        jobs::query::by_id(reads, ctx.workspace, id),
        state
            .projections
            .holds_back(ctx.workspace, JOBS, Job::TYPE, &text),
    )?;
    if let Some(row) = row.filter(|_| !is_held && !is_behind) {
        return Ok(row.into());
    }
    let loaded = state.log.bus.load::<Job>(ctx.workspace, &text).await?;
    JobView::of_aggregate(&loaded.aggregate, LastEvent::Newest)
}

/// The jobs of the workspace, the newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    state: &AppState,
    ctx: &RequestContext,
    list: &ListJobs,
) -> Result<Page<JobView>, ApiError> {
    before_read(state, ctx, JOBS).await?;
    let page = jobs::query::list(state.log.database.reads(), ctx.workspace, list).await?;
    Ok(Page {
        rows: page.rows.into_iter().map(JobView::from).collect(),
        has_next: page.has_next,
        has_previous: page.has_previous,
        total_count: page.total_count,
    })
}

/// The jobs that pass a filter, the newest first, from a place in their list on; and how many there
/// are in all.
///
/// # Errors
/// When the database does not answer.
pub async fn part(
    state: &AppState,
    ctx: &RequestContext,
    filter: &JobFilter,
    offset: usize,
    limit: usize,
) -> Result<(Vec<JobView>, i64), ApiError> {
    before_read(state, ctx, JOBS).await?;
    let reads = state.log.database.reads();
    let (offset, limit) = (offset as i64, limit as i64);
    let (rows, total) = jobs::query::part(reads, ctx.workspace, filter, offset, limit).await?;
    Ok((rows.into_iter().map(JobView::from).collect(), total))
}

/// Where a job's last event is.
///
/// # Errors
/// When it is not in the log's order yet, or the database does not answer.
pub async fn last_event(state: &AppState, job: &JobView) -> Result<Position, ApiError> {
    let position = match job.last_event {
        LastEvent::At(position) => Some(position),
        LastEvent::Written(global_seq) => {
            state
                .log
                .feed
                .position_of(global_seq, READ_YOUR_WRITES)
                .await?
        }
        LastEvent::Newest => {
            let id = job.id.to_string();
            let reads = state.log.database.reads();
            let events = history::of_stream(reads, job.workspace, Job::TYPE, &id, i64::MAX).await?;
            events.last().map(|event| event.position)
        }
    };
    let position = position.ok_or_else(|| {
        ApiError::not_yet(
            "the job's last event has no place in the log yet; read it again in a moment",
        )
    })?;
    state.position(position).await
}

/// Why a run that was waited for gave no output.
pub fn why_nothing(job: &JobView) -> (ErrorCode, String) {
    match (job.status, &job.error) {
        (_, Some(why)) => {
            let known = ErrorCode::ALL.iter().find(|code| code.as_str() == why.code);
            let code = known.copied().unwrap_or(ErrorCode::ToolFailed);
            (code, why.message.clone())
        }
        (Status::Cancelled, None) => {
            let told = format!("the run was cancelled; it is {}", job.id);
            (ErrorCode::JobCancelled, told)
        }
        (_, None) => {
            let (waited, job) = (MAX_WAIT_MS / 1000, job.id);
            let told = format!("the tool has not ended within {waited} s; it runs on as {job}");
            (ErrorCode::ToolFailed, told)
        }
    }
}
