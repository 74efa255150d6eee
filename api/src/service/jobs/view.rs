//! A job as it is told, from the read model or from its aggregate.

use jiff::Timestamp;
use toolroom_domain::{
    JobId, Sealed, WorkspaceId,
    job::{Attempt, Failure, Job, Progress, Status, ToolRef},
    tool::Kind,
};
use toolroom_projections::jobs::JobRow;

use crate::error::ApiError;

/// Where a job's last event is, as far as is known without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastEvent {
    /// At this position.
    At(i64),
    /// Where the event of this `global_seq` is put in order.
    Written(i64),
    /// Wherever its newest event is.
    Newest,
}

/// A job as it is told. What it was given and gave back stays sealed until it is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct JobView {
    /// The job's id.
    pub id: JobId,
    /// To whom it belongs.
    pub workspace: WorkspaceId,
    /// Where it stands.
    pub status: Status,
    /// Which version of which tool it runs.
    pub tool: ToolRef,
    /// Which of the tool's actions.
    pub action: Option<String>,
    /// What the tool is given.
    pub input: Sealed,
    /// What the tool gave back.
    pub output: Option<Sealed>,
    /// Why it failed.
    pub error: Option<Failure>,
    /// Whether it is a rehearsal.
    pub is_test: bool,
    /// Each start and how it ended, oldest first.
    pub attempts: Vec<Attempt>,
    /// How far it is.
    pub progress: Progress,
    /// Higher runs first.
    pub priority: i32,
    /// When it was requested.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How long the last call took, in microseconds.
    pub duration_us: Option<u64>,
    /// Where its last event is.
    pub last_event: LastEvent,
}

impl From<JobRow> for JobView {
    fn from(row: JobRow) -> Self {
        Self {
            id: row.id,
            workspace: row.workspace,
            status: row.status,
            tool: ToolRef {
                id: row.tool,
                version: row.tool_version,
                kind: row.tool_kind,
                connector: (row.tool_kind == Kind::Connector).then_some(row.tool_type),
            },
            action: row.action,
            input: row.input,
            output: row.output,
            error: row.error,
            is_test: row.is_test,
            attempts: row.attempts,
            progress: row.progress,
            priority: row.priority,
            created_at: row.created_at,
            updated_at: row.updated_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            duration_us: row.duration_us,
            last_event: LastEvent::At(row.last_event),
        }
    }
}

impl JobView {
    /// The `global_seq` of its last event, if the command that is answered wrote it.
    pub fn written(&self) -> Option<i64> {
        match self.last_event {
            LastEvent::Written(global_seq) => Some(global_seq),
            LastEvent::At(_) | LastEvent::Newest => None,
        }
    }

    /// The job as its aggregate tells it.
    ///
    /// # Errors
    /// When it was never requested: there is no such job.
    pub fn of_aggregate(job: &Job, last_event: LastEvent) -> Result<Self, ApiError> {
        let told = || {
            let created_at = job.requested_at()?;
            Some(Self {
                id: job.id()?,
                workspace: job.workspace()?,
                status: job.status(),
                tool: job.tool()?.clone(),
                action: job.action().map(str::to_owned),
                input: job.input()?.clone(),
                output: job.output().cloned(),
                error: job.error().cloned(),
                is_test: job.is_test(),
                attempts: job.attempts().to_vec(),
                progress: job.progress().clone(),
                priority: job.priority(),
                created_at,
                updated_at: job.updated_at().unwrap_or(created_at),
                started_at: job.attempts().first().map(|attempt| attempt.started_at),
                finished_at: job.finished_at(),
                duration_us: job.duration_us(),
                last_event,
            })
        };
        told().ok_or_else(|| ApiError::refused(&toolroom_domain::job::Error::Unknown))
    }
}
