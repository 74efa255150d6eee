//! What is told of a job.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::{Row, postgres::PgRow};
use toolroom_domain::{
    JobId, Sealed, ToolId, WorkspaceId,
    job::{Attempt, Failure, Progress, Status},
    tool::Kind,
};

use crate::read;

/// A job as it stands now. What it was given and gave back stays sealed.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRow {
    /// The job's id.
    pub id: JobId,
    /// To whom it belongs.
    pub workspace: WorkspaceId,
    /// Where it stands.
    pub status: Status,
    /// What it runs.
    pub tool: ToolId,
    /// Which version.
    pub tool_version: u32,
    /// Of which kind that is.
    pub tool_kind: Kind,
    /// Its type: the kind, or the connector's type.
    pub tool_type: String,
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
    /// Not before this moment.
    pub run_at: Option<Timestamp>,
    /// The job that it repeats.
    pub rerun_of: Option<JobId>,
    /// Who requested it.
    pub created_by: String,
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
    /// The position of its last event.
    pub last_event: i64,
}

pub(super) fn time(row: &PgRow, column: &str) -> Result<Option<Timestamp>, sqlx::Error> {
    let time: Option<SqlTimestamp> = row.try_get(column)?;
    Ok(time.map(SqlTimestamp::to_jiff))
}

impl JobRow {
    pub(super) fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let rerun_of: Option<uuid::Uuid> = row.try_get("rerun_of")?;
        let duration_us: Option<i64> = row.try_get("duration_us")?;
        Ok(Self {
            id: JobId::from_uuid(row.try_get("id")?),
            workspace: WorkspaceId::from_uuid(row.try_get("workspace_id")?),
            status: read::variant(row, "status")?,
            tool: ToolId::from_uuid(row.try_get("tool_id")?),
            tool_version: read::unsigned(row, "tool_version")?,
            tool_kind: read::variant(row, "tool_kind")?,
            tool_type: row.try_get("tool_type")?,
            action: row.try_get("action")?,
            input: read::json(row, "input")?,
            output: read::json_opt(row, "output")?,
            error: read::json_opt(row, "error")?,
            is_test: row.try_get("is_test")?,
            attempts: read::json(row, "attempts")?,
            progress: read::json(row, "progress")?,
            priority: row.try_get("priority")?,
            run_at: time(row, "run_at")?,
            rerun_of: rerun_of.map(JobId::from_uuid),
            created_by: row.try_get("created_by")?,
            created_at: row.try_get::<SqlTimestamp, _>("created_at")?.to_jiff(),
            updated_at: row.try_get::<SqlTimestamp, _>("updated_at")?.to_jiff(),
            started_at: time(row, "started_at")?,
            finished_at: time(row, "finished_at")?,
            duration_us: duration_us.and_then(|duration| u64::try_from(duration).ok()),
            last_event: row.try_get("last_event")?,
        })
    }

    /// Its place in the list of jobs.
    pub fn key(&self) -> super::JobKey {
        super::JobKey {
            created_at: self.created_at,
            id: self.id,
        }
    }
}
