//! What this node's former self held when it was killed: a node that starts again under its name
//! need not wait until those leases run out.
//!
//! That the former self is dead is known by its session in the database, which ends with its
//! process: each node holds, in a session of its own, an advisory lock on its name. While another
//! session holds it, somebody of this name lives, and nothing is released. Should a session be lost
//! without its process, a release does no more than a lease that runs out: the job's aggregate lets
//! one attempt tell the outcome, and has no call made that could be one too many.

use std::time::Duration;

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx};
use sqlx::{Connection as _, PgConnection, PgPool};
use toolroom_domain::JobId;

/// How long to wait for a session of that name to end: the database notices a killed client at
/// once, but a machine under load takes its time.
const SESSION_ENDS_WITHIN: Duration = Duration::from_secs(2);

/// How often to look whether it has.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// This node's name, held against others of the same.
#[derive(Debug)]
pub struct Name {
    pool: PgPool,
    node: String,
    session: Option<PgConnection>,
    /// When this node started, by the database's clock; none while it holds no name.
    since: Option<Timestamp>,
}

impl Name {
    /// The name, not held yet.
    pub fn new(pool: PgPool, node: String) -> Self {
        Self {
            pool,
            node,
            session: None,
            since: None,
        }
    }

    /// Takes the name, and gives up the leases of whoever had it before. To be called before this
    /// node takes any job.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn take(&mut self) -> Result<(), sqlx::Error> {
        let deadline = tokio::time::Instant::now() + SESSION_ENDS_WITHIN;
        while !self.keep().await? {
            if tokio::time::Instant::now() >= deadline {
                tracing::warn!(
                    node = self.node,
                    "another node of this name lives; give each its own with `node`. What this one's former self held is taken over when its leases run out"
                );
                return Ok(());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        let since: SqlTimestamp = sqlx::query_scalar(
            "with released as (
                 update leases set until = clock_timestamp() - interval '1 second'
                 where node = $1 and until > clock_timestamp()
             )
             select clock_timestamp()",
        )
        .bind(&self.node)
        .fetch_one(&self.pool)
        .await?;
        self.since = Some(since.to_jiff());
        Ok(())
    }

    /// Sees to it that the name is held: the session may have been lost. Says whether it is.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn keep(&mut self) -> Result<bool, sqlx::Error> {
        if let Some(session) = &mut self.session {
            if session.ping().await.is_ok() {
                return Ok(true);
            }
            self.session = None;
        }
        // Not the pool's any more: what is given back to a pool keeps its locks.
        let mut session = self.pool.acquire().await?.detach();
        let held = sqlx::query_scalar(
            "select pg_try_advisory_lock(hashtextextended('toolroom node ' || $1, 0))",
        )
        .bind(&self.node)
        .fetch_one(&mut session)
        .await?;
        if held {
            self.session = Some(session);
        }
        Ok(held)
    }

    /// Gives up the attempts that the former self had started and sent no heartbeat for. They may
    /// come into the queue a moment after this node has started.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn release(&self, own: &[(JobId, u32)]) -> Result<(), sqlx::Error> {
        let Some(since) = self.since.filter(|_| self.session.is_some()) else {
            return Ok(());
        };
        let own: Vec<_> = own.iter().map(|(job, _)| job.to_string()).collect();
        sqlx::query(
            "insert into leases as l (job_id, attempt, node, until)
             select q.job_id, q.attempt, $1, clock_timestamp() - interval '1 second'
             from queue q
             where q.running and q.node = $1 and q.since < $2 and not q.job_id = any($3)
             on conflict (job_id) do update
             set attempt = excluded.attempt, node = excluded.node, until = excluded.until
             where l.attempt < excluded.attempt",
        )
        .bind(&self.node)
        .bind(since.to_sqlx())
        .bind(own)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
