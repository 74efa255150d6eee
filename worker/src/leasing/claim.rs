//! Taking due jobs to oneself.

use sqlx::{PgPool, Row};
use toolroom_domain::{JobId, WorkspaceId, job::Ground};

/// For how long a claim holds before the job must have been started, in seconds: a node that dies
/// in between delays the job by this much.
const CLAIM_SECONDS: f64 = 10.0;

/// A job that this node may try to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The job.
    pub job: JobId,
    /// To whom it belongs.
    pub workspace: WorkspaceId,
    /// Its latest attempt, as the queue knows it; 0 before the first.
    pub attempt: u32,
    /// Whether that attempt is running, and its node has fallen silent.
    pub is_silent: bool,
}

impl Claimed {
    /// On what ground it may be started.
    pub(crate) fn ground(&self) -> Ground {
        let attempt = self.attempt;
        match self.is_silent {
            true => Ground::Silent { attempt },
            false => Ground::Due { after: attempt },
        }
    }
}

/// Takes up to `limit` jobs that are due, highest priority first, then oldest; and jobs whose
/// node has fallen silent.
///
/// # Errors
/// When the database does not answer; nothing was taken then.
pub async fn claim(pool: &PgPool, node: &str, limit: i64) -> Result<Vec<Claimed>, sqlx::Error> {
    let rows = sqlx::query(
        "with due as materialized (
             select q.job_id, q.workspace_id, q.attempt, q.running
             from queue q
             left join leases l on l.job_id = q.job_id and l.attempt = q.attempt
             -- what waits since a moment to come: the clock has stepped back meanwhile
             where not q.running
               and (q.run_at <= clock_timestamp() or q.since > clock_timestamp())
               and (l.until is null or l.until < clock_timestamp())
             order by q.priority desc, q.position
             limit $2
             for update of q skip locked
         ), silent as materialized (
             select q.job_id, q.workspace_id, q.attempt, q.running
             from queue q
             left join leases l on l.job_id = q.job_id and l.attempt = q.attempt
             -- until a first heartbeat the lease is the one that the Started event tells
             where q.running and coalesce(l.until, q.lease_until) < clock_timestamp()
             order by q.position
             limit $2
             for update of q skip locked
         ), wanted as (
             select * from silent union all select * from due limit $2
         ), taken as (
             insert into leases as l (job_id, attempt, node, until)
             select job_id, attempt, $1, clock_timestamp() + make_interval(secs => $3) from wanted
             on conflict (job_id) do update
             set attempt = excluded.attempt, node = excluded.node, until = excluded.until
             where l.until < clock_timestamp() or l.attempt <> excluded.attempt
             returning job_id
         )
         select w.job_id, w.workspace_id, w.attempt, w.running
         from wanted w join taken using (job_id)",
    )
    .bind(node)
    .bind(limit)
    .bind(CLAIM_SECONDS)
    .fetch_all(pool)
    .await?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            let attempt: i32 = row.get("attempt");
            Some(Claimed {
                job: row.get::<&str, _>("job_id").parse().ok()?,
                workspace: row.get::<&str, _>("workspace_id").parse().ok()?,
                attempt: u32::try_from(attempt).unwrap_or_default(),
                is_silent: row.get("running"),
            })
        })
        .collect())
}

/// How many jobs wait to be started, due or not.
///
/// # Errors
/// When the database does not answer.
pub async fn depth(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from queue where not running")
        .fetch_one(pool)
        .await
}
