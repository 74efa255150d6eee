//! What belongs to a job.

use async_graphql::{Context, Enum, ID, Object, SimpleObject};
use serde_json::Value;
use toolroom_domain::{
    ErrorCategory as Category, JobId, WorkspaceId,
    job::{self, Attempt, Failure, Line, ReceiptOutcome as Outcome, Status},
};

use crate::{
    error::ApiError,
    graphql::{app, scalar::DateTime, tool::object::int},
    service::jobs,
};

/// What a job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum JobKind {
    /// It runs a tool.
    Execution,
    /// It makes tools.
    Generation,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "Status")]
pub enum JobStatus {
    /// It waits to be started.
    Pending,
    /// A node runs it.
    Running,
    /// It gave an output.
    #[graphql(name = "COMPLETED")]
    Succeeded,
    /// It gave an error.
    Failed,
    /// Somebody ended it.
    Cancelled,
}

/// Why a run failed, in the terms by which a caller decides what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "Category")]
pub enum ErrorCategory {
    /// The other side could not be reached.
    Network,
    /// Credentials were missing or wrong.
    Authentication,
    /// The credentials do not permit it.
    Authorization,
    /// Too many requests.
    RateLimit,
    /// The input or the configuration is wrong.
    Validation,
    /// It took too long.
    Timeout,
    /// The other side failed.
    ServerError,
    /// None of these.
    Unknown,
}

/// What became of a call that went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "Outcome")]
pub enum ReceiptOutcome {
    /// The other side answered.
    Answered,
    /// It surely did not arrive.
    NotSent,
    /// It is under way, or nobody knows whether it arrived.
    Unknown,
}

/// A call that went out, or was about to.
#[derive(SimpleObject)]
pub struct Receipt {
    /// The attempt that made it.
    attempt: i32,
    /// By which the other side can tell a repetition: the same in each attempt.
    idempotency_key: String,
    /// The HTTP method.
    method: String,
    /// Where to: the origin, and the path in the words of the tool's definition, into which nothing is
    /// filled.
    url: String,
    /// The URL that it went to, without secrets: null where it says no more than `url`, and after the
    /// workspace was erased.
    sent_url: Option<String>,
    /// A digest of what was sent, secrets left out: equal for equal requests of this workspace. It tells
    /// nothing else to whoever has not the workspace's key.
    request_sha256: String,
    /// When.
    sent_at: DateTime,
    /// The HTTP status of the answer.
    status: Option<i32>,
    /// What became of it.
    outcome: ReceiptOutcome,
    /// Whether repeating it does nothing twice.
    repeatable: bool,
}

impl Receipt {
    /// A call of an attempt, with the URL that it went to.
    pub(super) fn of(attempt: u32, call: job::Receipt, sent_url: Option<String>) -> Self {
        Self {
            attempt: int(attempt),
            idempotency_key: call.idempotency_key,
            method: call.method,
            url: call.url,
            sent_url,
            request_sha256: call.request_sha256,
            sent_at: call.sent_at.into(),
            status: call.status.map(i32::from),
            outcome: call.outcome.into(),
            repeatable: call.repeatable,
        }
    }
}

/// One line of what a run wrote or the runtime decided.
#[derive(SimpleObject)]
pub struct JobLog {
    /// When.
    at: DateTime,
    /// How important it is: `debug`, `info`, `warn` or `error`.
    level: String,
    /// Who wrote it: `stdout`, `stderr`, `runtime`, or what the tool calls itself.
    source: String,
    /// What.
    message: String,
}

impl From<Line> for JobLog {
    fn from(line: Line) -> Self {
        Self {
            at: line.at.into(),
            level: line.level,
            source: line.source,
            message: line.message,
        }
    }
}

/// How many tools a generation was asked for, and made.
#[derive(SimpleObject)]
pub struct GenerationSummary {
    /// Asked for.
    total_requested: i32,
    /// Made.
    successful: i32,
    /// Not made.
    failed: i32,
}

/// A file of a generated tool.
#[derive(SimpleObject)]
pub struct ToolFile {
    /// The tool's id.
    tool_id: ID,
    /// The file's name.
    file_name: String,
    /// Where it lies, from the tools folder.
    file_path: String,
    /// What it is for.
    description: String,
    /// Its content.
    code: String,
    /// Where the tool can be called.
    endpoint: Option<String>,
    /// Whether the tool is in the catalogue.
    registered: bool,
    /// When it was made.
    created_at: DateTime,
}

/// A requirement from which no tool was made.
#[derive(SimpleObject)]
pub struct ToolGenerationFailure {
    /// What was asked for.
    tool_requirement: Value,
    /// Why it was not made.
    error: String,
}

/// How far a job is.
#[derive(SimpleObject)]
pub struct JobProgress {
    /// How many parts it has; an execution has one.
    pub(super) total: i32,
    /// Parts done.
    pub(super) completed: i32,
    /// Parts that failed.
    pub(super) failed: i32,
    /// Parts under way.
    pub(super) in_progress: i32,
    /// The tool that is being made.
    pub(super) current_tool: Option<String>,
    /// What it is doing, as it says itself.
    pub(super) step: Option<String>,
    /// From 0 to 100, as it says itself.
    pub(super) percentage: Option<f64>,
}

/// Why a run failed.
pub struct JobError {
    pub(super) workspace: WorkspaceId,
    pub(super) job: JobId,
    pub(super) failure: Failure,
}

/// Why a run failed.
#[Object]
impl JobError {
    /// A stable code, such as `TOOL_FAILED` or `EGRESS_DENIED`.
    async fn code(&self) -> &str {
        &self.failure.code
    }

    /// What kind of failure it is.
    async fn category(&self) -> ErrorCategory {
        self.failure.category.into()
    }

    /// What went wrong.
    async fn message(&self) -> &str {
        &self.failure.message
    }

    /// Whether the same call may succeed later.
    async fn retryable(&self) -> bool {
        self.failure.retryable
    }

    /// What the tool or the other side said; `erased` when its key is gone.
    async fn details(&self, ctx: &Context<'_>) -> Result<Option<Value>, ApiError> {
        jobs::failure_details(app(ctx), self.workspace, self.job, &self.failure).await
    }
}

/// One start of a job, and how it ended.
pub struct JobAttempt {
    pub(super) workspace: WorkspaceId,
    pub(super) job: JobId,
    pub(super) attempt: Attempt,
}

/// One start of a job, and how it ended.
#[Object]
impl JobAttempt {
    /// Counts from 1.
    async fn number(&self) -> i32 {
        int(self.attempt.number)
    }

    /// When it began.
    async fn started_at(&self) -> DateTime {
        self.attempt.started_at.into()
    }

    /// When it ended.
    async fn finished_at(&self) -> Option<DateTime> {
        self.attempt.finished_at.map(DateTime)
    }

    /// The node that ran it.
    async fn node(&self) -> &str {
        &self.attempt.node
    }

    /// Why it failed, if it did.
    async fn error(&self) -> Option<JobError> {
        Some(JobError {
            workspace: self.workspace,
            job: self.job,
            failure: self.attempt.error.clone()?,
        })
    }
}

/// The id of a job as an argument.
pub(super) fn job_id(path: &str, id: &ID) -> Result<JobId, ApiError> {
    id.parse().map_err(|_| {
        ApiError::invalid_field(
            path,
            "is not a job's id; it has the form `job_` followed by 32 hexadecimal digits",
        )
    })
}
