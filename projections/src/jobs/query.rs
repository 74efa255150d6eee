//! Reads of jobs. Each is one statement, and sees one workspace.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::{Row as _, postgres::PgRow};
use toolroom_domain::{JobId, ToolId, WorkspaceId, job::Status};
use toolroom_eventlog::Reads;

use super::row::JobRow;
use crate::{
    page::{MAX_ROWS, Page, PageRequest},
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
    /// Of which type that is, such as `NATIVE` or `SLACK`.
    pub tool_type: Option<String>,
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
        "select id, workspace_id, status, tool_id, tool_version, tool_kind, tool_type, action,
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

/// The words themselves, not parameters: the planner cannot prove of a parameter that an index of
/// some statuses covers it.
fn push_status(sql: &mut Statement, status: &[Status]) {
    if !status.is_empty() {
        let names: Vec<_> = status.iter().copied().map(status_text).collect();
        sql.push(format!(" and status in ('{}')", names.join("', '")));
    }
}

fn push_filter(sql: &mut Statement, filter: &JobFilter) {
    push_status(sql, &filter.status);
    if let Some(tool) = filter.tool {
        sql.push(" and tool_id = ").push_bind(tool.uuid());
    }
    if let Some(tool_type) = &filter.tool_type {
        sql.push(" and tool_type = ").push_bind(tool_type.clone());
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
    let count = || count(workspace, &list.filter);
    read::page(reads, workspace, &list.page, JobRow::read, rows, count).await
}

/// How many jobs pass a filter: added up from what was counted as they changed, where that tells.
fn count(workspace: WorkspaceId, filter: &JobFilter) -> Statement {
    let mut sql = Statement::new(match filter.since {
        None => {
            "select coalesce(sum(jobs), 0)::bigint from projections.job_counts where workspace_id = "
        }
        Some(_) => "select count(*) from projections.jobs where workspace_id = ",
    });
    sql.push_bind(workspace.uuid());
    push_filter(&mut sql, filter);
    sql
}

/// The jobs that pass a filter, the newest first, from a place in their list on; and how many there
/// are in all.
///
/// # Errors
/// When the database does not answer.
pub async fn part(
    reads: &Reads,
    workspace: WorkspaceId,
    filter: &JobFilter,
    offset: i64,
    limit: i64,
) -> Result<(Vec<JobRow>, i64), sqlx::Error> {
    let rows = read::all(reads, workspace, JobRow::read, || {
        let mut sql = jobs();
        sql.push_bind(workspace.uuid());
        // Passed over in the index alone: a job's row is wide.
        sql.push(" and id in (select id from projections.jobs where workspace_id = ");
        sql.push_bind(workspace.uuid());
        push_filter(&mut sql, filter);
        sql.push(" order by created_at desc, id desc limit ");
        sql.push_bind(limit.clamp(0, MAX_ROWS));
        sql.push(" offset ").push_bind(offset.max(0));
        sql.push(") order by created_at desc, id desc");
        sql
    });
    let total = read::first(
        reads,
        workspace,
        |row| row.try_get(0),
        || count(workspace, filter),
    );
    let (rows, total) = tokio::try_join!(rows, total)?;
    Ok((rows, total.unwrap_or(0)))
}

/// Runs that are looked at to tell how a tool is doing.
const RECENT: i64 = 20;

/// Jobs among which they are looked for: those that wait have not ended.
const LOOKED_THROUGH: i64 = 200;

/// How the last runs of a tool ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecentRuns {
    /// The tool.
    pub tool: ToolId,
    /// How many have ended, cancelled ones left out.
    pub ended: i64,
    /// How many of these failed by the tool's fault: it could not be reached, took too long, failed by
    /// itself, or may have done half.
    pub failed: i64,
    /// How long half of them took at the most, in milliseconds.
    pub p50_ms: Option<f64>,
}

/// How the last runs of tools ended, of those that were requested since a moment; tools without any are
/// left out.
///
/// # Errors
/// When the database does not answer.
pub async fn recent_of_tools(
    reads: &Reads,
    workspace: WorkspaceId,
    tools: &[ToolId],
    since: Timestamp,
) -> Result<Vec<RecentRuns>, sqlx::Error> {
    let ids: Vec<_> = tools.iter().map(|tool| tool.uuid()).collect();
    let read = |row: &PgRow| {
        Ok(RecentRuns {
            tool: ToolId::from_uuid(row.try_get("tool_id")?),
            ended: row.try_get("ended")?,
            failed: row.try_get("failed")?,
            p50_ms: row.try_get("p50_ms")?,
        })
    };
    read::all(reads, workspace, read, || {
        let mut sql = Statement::new("select t.id as tool_id, r.* from unnest(");
        sql.push_bind(ids.clone());
        sql.push(
            "::uuid[]) as t (id)
             cross join lateral (
                 select count(*) as ended,
                        count(*) filter (
                            where status = 'FAILED'
                              -- as text: json refuses to look into what holds \\u0000. Within a
                              -- text of the error, quotation marks are escaped.
                              and (error like '%\"category\":\"NETWORK\"%'
                                   or error like '%\"category\":\"TIMEOUT\"%'
                                   or error like '%\"category\":\"SERVER_ERROR\"%'
                                   or error like '%\"code\":\"OUTCOME_UNKNOWN\"%')
                              and error not like '%\"code\":\"CIRCUIT_OPEN\"%'
                        ) as failed,
                        percentile_cont(0.5) within group (order by duration_us) / 1000 as p50_ms
                 from (
                     select * from (
                         select status, error::text as error, duration_us, created_at, id
                         from projections.jobs
                         where workspace_id = ",
        );
        sql.push_bind(workspace.uuid());
        sql.push(" and tool_id = t.id and created_at >= ");
        sql.push_bind(since.to_sqlx());
        sql.push(" order by created_at desc, id desc limit ");
        sql.push_bind(LOOKED_THROUGH);
        sql.push(
            ") newest
                     where status in ('SUCCEEDED', 'FAILED')
                     order by created_at desc, id desc
                     limit ",
        );
        sql.push_bind(RECENT);
        sql.push(") last) r where r.ended > 0");
        sql
    })
    .await
}
