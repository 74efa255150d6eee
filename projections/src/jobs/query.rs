//! Reads of jobs. Each is one statement, and sees one workspace.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use toolroom_domain::{JobId, ToolId, WorkspaceId, job::Status, tool::Kind};
use toolroom_eventlog::Reads;

use super::row::JobRow;
use crate::{
    page::{Page, PageRequest},
    read::{self, Statement},
};

/// What the list of jobs is ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobKey {
    /// When it was requested.
    pub created_at: Timestamp,
    /// The job's id, among those of one moment.
    pub id: JobId,
}

/// Which jobs to list. What is left out does not restrict.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobFilter {
    /// One of these; all when empty.
    pub status: Vec<Status>,
    /// What they run.
    pub tool: Option<ToolId>,
    /// Of which kind that is.
    pub tool_kind: Option<Kind>,
    /// Requested at or after this moment.
    pub since: Option<Timestamp>,
}

/// A list of jobs, the newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct ListJobs {
    /// Which jobs.
    pub filter: JobFilter,
    /// Which part.
    pub page: PageRequest<JobKey>,
}

fn jobs() -> Statement {
    Statement::new(
        "select id, workspace_id, status, tool_id, tool_version, tool_kind, action,
                input::text as input, output::text as output, error::text as error, is_test,
                attempts::text as attempts, progress::text as progress, priority, run_at,
                rerun_of, created_by, created_at, updated_at, started_at, finished_at,
                duration_us, last_event
         from projections.jobs
         where workspace_id = ",
    )
}

/// A job by its id.
///
/// # Errors
/// When the database does not answer.
pub async fn by_id(
    reads: &Reads,
    workspace: WorkspaceId,
    id: JobId,
) -> Result<Option<JobRow>, sqlx::Error> {
    read::first(reads, workspace, JobRow::read, || {
        let mut sql = jobs();
        sql.push_bind(workspace.uuid());
        sql.push(" and id = ").push_bind(id.uuid());
        sql
    })
    .await
}

/// Jobs by their ids, in no particular order; unknown ids are left out.
///
/// # Errors
/// When the database does not answer.
pub async fn by_ids(
    reads: &Reads,
    workspace: WorkspaceId,
    ids: &[JobId],
) -> Result<Vec<JobRow>, sqlx::Error> {
    let ids: Vec<_> = ids.iter().map(|id| id.uuid()).collect();
    read::all(reads, workspace, JobRow::read, || {
        let mut sql = jobs();
        sql.push_bind(workspace.uuid());
        sql.push(" and id = any(").push_bind(ids.clone()).push(")");
        sql
    })
    .await
}

/// The text of a status in its column.
pub(super) fn status_text(status: Status) -> &'static str {
    match status {
        Status::Pending => "PENDING",
        Status::Running => "RUNNING",
        Status::Succeeded => "SUCCEEDED",
        Status::Failed => "FAILED",
        Status::Cancelled => "CANCELLED",
    }
}

fn push_filter(sql: &mut Statement, filter: &JobFilter) {
    if !filter.status.is_empty() {
        let names: Vec<_> = filter.status.iter().copied().map(status_text).collect();
        sql.push(" and status = any(").push_bind(names).push(")");
    }
    if let Some(tool) = filter.tool {
        sql.push(" and tool_id = ").push_bind(tool.uuid());
    }
    if let Some(kind) = filter.tool_kind {
        sql.push(" and tool_kind = ").push_bind(kind.as_str());
    }
    if let Some(since) = filter.since {
        sql.push(" and created_at >= ").push_bind(since.to_sqlx());
    }
}

/// The jobs of a workspace, the newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    reads: &Reads,
    workspace: WorkspaceId,
    list: &ListJobs,
) -> Result<Page<JobRow>, sqlx::Error> {
    let rows = || {
        let mut sql = jobs();
        sql.push_bind(workspace.uuid());
        push_filter(&mut sql, &list.filter);
        if let Some(after) = &list.page.after {
            sql.push(" and (created_at, id) < (");
            sql.push_bind(after.created_at.to_sqlx());
            sql.push(", ").push_bind(after.id.uuid()).push(")");
        }
        sql.push(" order by created_at desc, id desc limit ");
        sql.push_bind(list.page.limit() + 1);
        sql
    };
    let count = || {
        let mut sql = Statement::new("select count(*) from projections.jobs where workspace_id = ");
        sql.push_bind(workspace.uuid());
        push_filter(&mut sql, &list.filter);
        sql
    };
    read::page(reads, workspace, &list.page, JobRow::read, rows, count).await
}
