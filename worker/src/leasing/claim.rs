//! Taking due jobs to oneself: fairly, and cheaply however many wait.
//!
//! Each workspace that waits has an equal part of a batch; within its part go those of the highest
//! priority, then the oldest, of all its tools. Tools that may not be run now are stepped over, however
//! many jobs they have: jobs lie in a line for each tool of each workspace, and the lines are found by
//! one look-up each (a loose index scan).

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::{PgPool, Row, postgres::PgRow};
use tokio::time::Instant;
use toolroom_domain::{JobId, ToolId, WorkspaceId, job::Ground};

/// For how long a claim holds before the job must have been started, in seconds: a node that dies
/// in between delays the job by this much.
const CLAIM_SECONDS: f64 = 10.0;

/// How often this node looks for jobs that have come due and for nodes that have fallen silent: both
/// are slow clocks, and need not be asked with each batch.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Jobs that are noted as due in one statement, which holds their rows.
const DUE_AT_ONCE: i64 = 1_000;

/// Workspaces that one batch is taken from: each costs a look-up of some 10 µs. The next batch goes on
/// with the next ones.
const WORKSPACES: i32 = 64;

/// Tools of a workspace that one batch is taken from. The next batch goes on with the next ones.
const TOOLS: i32 = 32;

/// Jobs of each tool that are looked at at the least: of many workspaces some have none to give.
const EACH: f64 = 8.0;

/// Batches in a row that may find nothing before others are waited for: what waits may all be taken
/// already, and not be told so yet.
const FRUITLESS: u32 = 8;

/// Workspaces of more tools than that, of which is remembered where to go on. Beyond, some begin anew.
const RESUMED: usize = 1_000;

/// A job that this node may try to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The job.
    pub job: JobId,
    /// To whom it belongs.
    pub workspace: WorkspaceId,
    /// What it runs.
    pub tool: ToolId,
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

/// What is not to be taken now, as far as there is such.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rooms {
    /// For how many more jobs of a tool there is room; the others are not limited.
    pub tools: Vec<(ToolId, usize)>,
    /// Workspaces for which there is none.
    pub full: Vec<WorkspaceId>,
}

/// Where batches ended, when there was more than one batch looks at.
#[derive(Debug, Default)]
struct Cursor {
    /// The last workspace that was looked at; empty for all of them.
    workspace: String,
    /// The last tool that was looked at, by workspace.
    tools: BTreeMap<String, String>,
}

impl Cursor {
    /// Notes that a batch came from here to a workspace, or to the last one, and in which of these
    /// workspaces it did not come to the last tool.
    fn moved(&mut self, to: Option<String>, cut: impl IntoIterator<Item = (String, String)>) {
        let to = to.unwrap_or_default();
        let seen =
            |workspace: &String| *workspace > self.workspace && (to.is_empty() || *workspace <= to);
        self.tools.retain(|workspace, _| !seen(workspace));
        self.tools.extend(cut);
        if self.tools.len() > RESUMED {
            self.tools.clear();
        }
        self.workspace = to;
    }

    fn is_at_the_beginning(&self) -> bool {
        self.workspace.is_empty() && self.tools.is_empty()
    }
}

/// Takes jobs for one node.
#[derive(Debug)]
pub struct Claims {
    pool: PgPool,
    node: String,
    cursor: Cursor,
    fruitless: u32,
    looked_at: Option<Instant>,
    /// Whether the last batch did not begin at the beginning.
    began_later: bool,
}

/// Jobs that were taken.
#[derive(Debug, Default)]
pub struct Batch {
    /// The jobs.
    pub jobs: Vec<Claimed>,
    /// Whether there may be more to be had at once.
    pub more: bool,
}

impl Claims {
    /// Claims in the name of a node.
    pub fn new(pool: PgPool, node: String) -> Self {
        Self {
            pool,
            node,
            cursor: Cursor::default(),
            fruitless: 0,
            looked_at: None,
            began_later: false,
        }
    }

    /// Takes up to `limit` jobs: those whose node has fallen silent, then those that are due.
    ///
    /// # Errors
    /// When the database does not answer; what was taken then is free again after some seconds.
    pub async fn take(&mut self, limit: usize, rooms: &Rooms) -> Result<Batch, sqlx::Error> {
        let mut jobs = Vec::new();
        let mut more = false;
        if self
            .looked_at
            .is_none_or(|at| at.elapsed() >= LOOK_INTERVAL)
        {
            self.looked_at = Some(Instant::now());
            more |= note_due(&self.pool).await?;
            jobs = silent(&self.pool, &self.node, limit).await?;
        }
        if jobs.len() < limit {
            self.due(limit - jobs.len(), rooms, &mut jobs).await?;
        }
        self.fruitless = match jobs.is_empty() {
            true => self.fruitless + 1,
            false => 0,
        };
        // A batch that began or ended in the middle has not seen all that waits.
        let is_cut = !self.cursor.is_at_the_beginning() || self.began_later;
        more |= !jobs.is_empty() || (is_cut && !self.fruitless.is_multiple_of(FRUITLESS));
        Ok(Batch { jobs, more })
    }

    /// Puts jobs back that were taken and cannot be begun now. Should that fail, their claims run out.
    pub async fn put_back(&self, jobs: &[Claimed]) {
        if jobs.is_empty() {
            return;
        }
        let ids: Vec<_> = jobs.iter().map(|claimed| claimed.job.to_string()).collect();
        let put_back = sqlx::query(
            "update leases set until = clock_timestamp() - interval '1 second'
             where node = $1 and job_id = any($2)",
        )
        .bind(&self.node)
        .bind(ids)
        .execute(&self.pool)
        .await;
        if let Err(error) = put_back {
            tracing::debug!(%error, "jobs that were taken in excess are free again when their claims run out");
        }
    }

    /// Takes jobs that are due.
    async fn due(
        &mut self,
        limit: usize,
        rooms: &Rooms,
        jobs: &mut Vec<Claimed>,
    ) -> Result<(), sqlx::Error> {
        let (tools, free): (Vec<String>, Vec<i64>) = rooms
            .tools
            .iter()
            .map(|(tool, free)| (tool.to_string(), i64::try_from(*free).unwrap_or(i64::MAX)))
            .unzip();
        let (resumed, after): (Vec<&str>, Vec<&str>) = self
            .cursor
            .tools
            .iter()
            .map(|(workspace, tool)| (workspace.as_str(), tool.as_str()))
            .unzip();
        let rows = sqlx::query(DUE)
            .bind(&self.node)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .bind(&self.cursor.workspace)
            .bind(resumed)
            .bind(after)
            .bind(WORKSPACES)
            .bind(TOOLS)
            .bind(tools)
            .bind(free)
            .bind(CLAIM_SECONDS)
            .bind(EACH)
            .bind(
                rooms
                    .full
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>(),
            )
            .fetch_all(&self.pool)
            .await?;
        self.began_later = !self.cursor.is_at_the_beginning();
        if let Some(row) = rows.first() {
            let cut: Vec<String> = row.try_get("cut_workspaces")?;
            let at: Vec<String> = row.try_get("cut_tools")?;
            let to = row.try_get("last_workspace")?;
            self.cursor.moved(to, cut.into_iter().zip(at));
        }
        jobs.extend(rows.iter().filter_map(claimed));
        Ok(())
    }
}

/// `$1` node, `$2` jobs, `$3` last workspace, `$4` and `$5` last tools by workspace, `$6` workspaces, `$7`
/// tools of each, `$8` and `$9` rooms of tools, `$10` seconds, `$11` jobs of each tool at
/// the least, `$12` full workspaces. The first row may hold no job: each tells
/// where this batch ended.
const DUE: &str = "
    with recursive workspace as (
        (select workspace_id, 1 as nth from queue
         where not running and run_at is null and workspace_id > $3
         order by workspace_id limit 1)
        union all
        select next.workspace_id, w.nth + 1
        from workspace w cross join lateral (
            select workspace_id from queue
            where not running and run_at is null and workspace_id > w.workspace_id
            order by workspace_id limit 1
        ) next
        where w.nth < $6
    ), share as materialized (
        select least($2, greatest($11::float8, ceil($2::float8 / nullif(count(*), 0))))::bigint as each from workspace
    ), line as materialized (
        select w.workspace_id, t.tool_id, t.nth
        from workspace w
        left join unnest($4::text[], $5::text[]) as resumed (workspace_id, tool_id)
            on resumed.workspace_id = w.workspace_id
        cross join lateral (
            with recursive tool as (
                (select tool_id, 1 as nth from queue
                 where not running and run_at is null
                   and workspace_id = w.workspace_id
                   and tool_id > coalesce(resumed.tool_id, '')
                 order by tool_id limit 1)
                union all
                select next.tool_id, t.nth + 1
                from tool t cross join lateral (
                    select tool_id from queue
                    where not running and run_at is null
                      and workspace_id = w.workspace_id and tool_id > t.tool_id
                    order by tool_id limit 1
                ) next
                where t.nth < $7
            )
            select tool_id, nth from tool
        ) t
        where w.workspace_id <> all($12::text[])
    ), candidate as (
        select q.*, row_number() over (
                   partition by l.workspace_id order by q.priority desc, q.position) as turn
        from line l
        left join unnest($8::text[], $9::bigint[]) as room (tool_id, free)
            on room.tool_id = l.tool_id
        cross join share
        cross join lateral (
            select q.job_id, q.priority, q.position
            from queue q
            where not q.running and q.run_at is null
              and q.workspace_id = l.workspace_id and q.tool_id = l.tool_id
              and coalesce((select held.until < clock_timestamp() from leases held
                            where held.job_id = q.job_id and held.attempt = q.attempt), true)
            order by q.priority desc, q.position
            limit least(share.each, coalesce(room.free, share.each))
        ) q
    ), wanted as materialized (
        select job_id from candidate
        order by turn, priority desc, position limit $2
    ), locked as materialized (
        select q.job_id, q.workspace_id, q.tool_id, q.attempt, q.priority, q.position
        from wanted cross join lateral (
            -- what another node takes at this very moment is left to it
            select * from queue where job_id = wanted.job_id for update skip locked
        ) q
    ), taken as (
        insert into leases as l (job_id, attempt, node, until)
        select job_id, attempt, $1, clock_timestamp() + make_interval(secs => $10) from locked
        on conflict (job_id) do update
        set attempt = excluded.attempt, node = excluded.node, until = excluded.until
        where l.until < clock_timestamp() or l.attempt <> excluded.attempt
        returning job_id
    )
    select job.*, false as running, ended.*
    from (
        select (select max(workspace_id) from workspace where nth = $6) as last_workspace,
               array(select workspace_id from line where nth = $7 order by 1) as cut_workspaces,
               array(select tool_id from line where nth = $7 order by workspace_id) as cut_tools
    ) ended
    left join (select locked.* from locked join taken using (job_id)) job on true
    order by job.priority desc, job.position";

/// Takes jobs whose node has fallen silent.
async fn silent(pool: &PgPool, node: &str, limit: usize) -> Result<Vec<Claimed>, sqlx::Error> {
    let rows = sqlx::query(
        "with silent as materialized (
             select q.job_id, q.workspace_id, q.tool_id, q.attempt, q.running
             from queue q
             left join leases l on l.job_id = q.job_id and l.attempt = q.attempt
             -- until a first heartbeat the lease is the one that the Started event tells
             where q.running and coalesce(l.until, q.lease_until) < clock_timestamp()
             order by q.position
             limit $2
             for update of q skip locked
         ), taken as (
             insert into leases as l (job_id, attempt, node, until)
             select job_id, attempt, $1, clock_timestamp() + make_interval(secs => $3) from silent
             on conflict (job_id) do update
             set attempt = excluded.attempt, node = excluded.node, until = excluded.until
             where l.until < clock_timestamp() or l.attempt <> excluded.attempt
             returning job_id
         )
         select s.* from silent s join taken using (job_id)",
    )
    .bind(node)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .bind(CLAIM_SECONDS)
    .fetch_all(pool)
    .await?;
    Ok(rows.iter().filter_map(claimed).collect())
}

/// Puts jobs that have come due into their lines; says whether there are more.
async fn note_due(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let noted = sqlx::query(
        "update queue set run_at = null
         where ctid = any(array(
             select ctid from queue
             where not running and run_at is not null and run_at <= clock_timestamp()
             order by run_at
             limit $1
             for update skip locked
         ) || array(
             -- what waits since a moment to come: the clock has stepped back meanwhile
             select ctid from queue
             where not running and run_at is not null and since > clock_timestamp()
             limit $1
             for update skip locked
         ))",
    )
    .bind(DUE_AT_ONCE)
    .execute(pool)
    .await?;
    Ok(i64::try_from(noted.rows_affected()).unwrap_or(0) >= DUE_AT_ONCE)
}

fn claimed(row: &PgRow) -> Option<Claimed> {
    let text = |column| row.try_get::<Option<&str>, _>(column).ok().flatten();
    let attempt: i32 = row.try_get::<Option<_>, _>("attempt").ok()??;
    Some(Claimed {
        job: text("job_id")?.parse().ok()?,
        workspace: text("workspace_id")?.parse().ok()?,
        tool: text("tool_id")?.parse().ok()?,
        attempt: u32::try_from(attempt).unwrap_or_default(),
        is_silent: row.try_get("running").ok()?,
    })
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
