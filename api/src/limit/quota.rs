//! How many runs a workspace may ask for in an hour and in a day, on all nodes together.
//!
//! Hours and days are those of the clock, in UTC. Runs are granted from a row that all nodes share,
//! by the database's clock. The row is begun with what the log counts, so that nothing is forgotten
//! with it; and what a node finds in it when it starts is compared with that count, once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff_sqlx::ToSqlx;
use sqlx::{PgPool, Row};
use toolroom_domain::{Clock, WorkspaceId, plan::Grants};
use toolroom_eventlog::EventLog;
use toolroom_projections::{
    Reader,
    usage::query::{Runs, runs},
};

use super::share::{Grant, Source};
use crate::service::settle::USAGE;

/// What a node takes at once, of an hour's runs: ten nodes that each hold as much are within a tenth.
const CHUNK: u32 = 100;

/// How long the log's own count is waited for when a row is begun. It is behind only after a restore,
/// while read models are filled.
const COUNT_PATIENCE: Duration = Duration::from_secs(2);

/// Takes up to `$4` runs of the hour and the day that have begun; no row if there is none of them.
const TAKE: &str = "
    with moment as (select coalesce($5, clock_timestamp()) as now)
    update operational.quotas as q
    set granted = greatest(0, least($4, $2 - q.hour_used, $3 - q.day_used)),
        hour_used = q.hour_used + greatest(0, least($4, $2 - q.hour_used, $3 - q.day_used)),
        day_used = q.day_used + greatest(0, least($4, $2 - q.hour_used, $3 - q.day_used))
    from moment
    where q.workspace_id = $1 and q.hour >= date_trunc('hour', now, 'UTC')
    returning q.granted, q.hour_used, q.day_used,
              extract(epoch from q.hour + interval '1 hour' - now)::float8 as hour_left_s,
              extract(epoch from q.day + interval '24 hours' - now)::float8 as day_left_s";

/// Begins the hour and the day of `$4`, or corrects what is there: never down, since what was granted
/// may not be asked for yet.
const BEGIN: &str = "
    insert into operational.quotas as q (workspace_id, hour, hour_used, day, day_used, granted)
    values ($1, date_trunc('hour', $4, 'UTC'), $2, date_trunc('day', $4, 'UTC'), $3, 0)
    on conflict (workspace_id) do update set
        hour_used = case when q.hour < excluded.hour then excluded.hour_used
                         when q.hour > excluded.hour then q.hour_used
                         else greatest(q.hour_used, excluded.hour_used) end,
        day_used = case when q.day < excluded.day then excluded.day_used
                        when q.day > excluded.day then q.day_used
                        else greatest(q.day_used, excluded.day_used) end,
        hour = greatest(q.hour, excluded.hour),
        day = greatest(q.day, excluded.day)";

/// Gives runs back that were taken and not asked for.
const GIVE_BACK: &str = "
    update operational.quotas
    set hour_used = greatest(0, hour_used - $2), day_used = greatest(0, day_used - $2)
    where workspace_id = $1
      and hour = date_trunc('hour', coalesce($3, clock_timestamp()), 'UTC')";

/// Where runs are counted.
pub(super) struct Counters {
    pub(super) log: EventLog,
    pub(super) projections: Reader,
    /// A clock in the place of the database's.
    pub(super) clock: Option<Arc<dyn Clock>>,
}

impl Counters {
    fn pool(&self) -> &PgPool {
        self.log.database.authenticator_pool()
    }

    /// What the log counts of a workspace's runs.
    pub(super) async fn runs(&self, workspace: WorkspaceId) -> Result<Runs, sqlx::Error> {
        let now = self.clock.as_ref().map(|clock| clock.now());
        runs(self.log.database.reads(), workspace, now).await
    }

    async fn begin(&self, workspace: WorkspaceId) -> Result<(), sqlx::Error> {
        let head = self.log.feed.head().await?.position;
        let waiting = self.projections.wait_for(USAGE, head, COUNT_PATIENCE);
        if !waiting.await? {
            tracing::warn!(
                "the count of runs is behind the log; a quota may be begun with too few"
            );
        }
        let runs = self.runs(workspace).await?;
        let bounded = |runs| i64::try_from(runs).unwrap_or(i64::MAX);
        sqlx::query(BEGIN)
            .bind(workspace.to_string())
            .bind(bounded(runs.hour))
            .bind(bounded(runs.day))
            .bind(runs.at.to_sqlx())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Gives runs back that were taken and not asked for.
    pub(super) async fn give_back(
        &self,
        workspace: WorkspaceId,
        runs: u32,
    ) -> Result<(), sqlx::Error> {
        let now = self.clock.as_ref().map(|clock| clock.now().to_sqlx());
        sqlx::query(GIVE_BACK)
            .bind(workspace.to_string())
            .bind(i64::from(runs))
            .bind(now)
            .execute(self.pool())
            .await?;
        Ok(())
    }
}

/// The runs of one workspace.
#[derive(Clone)]
pub(super) struct SharedQuota {
    pub(super) counters: Arc<Counters>,
    pub(super) workspace: WorkspaceId,
    pub(super) grants: Grants,
    /// Whether this node has compared the row with the log.
    pub(super) is_compared: Arc<AtomicBool>,
}

impl SharedQuota {
    async fn try_take(&self, want: u32) -> Result<Option<Grant>, sqlx::Error> {
        let now = self.counters.clock.as_ref();
        let row = sqlx::query(TAKE)
            .bind(self.workspace.to_string())
            .bind(i64::from(self.grants.runs_per_hour))
            .bind(i64::from(self.grants.runs_per_day))
            .bind(i64::from(want))
            .bind(now.map(|clock| clock.now().to_sqlx()))
            .fetch_optional(self.counters.pool())
            .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let granted: i32 = row.try_get("granted")?;
        let left = |column, limit: u32| -> Result<u64, sqlx::Error> {
            let used: i64 = row.try_get(column)?;
            Ok(u64::try_from(i64::from(limit) - used).unwrap_or(0))
        };
        let time = |column| -> Result<Duration, sqlx::Error> {
            let seconds: f64 = row.try_get(column)?;
            Ok(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
        };
        let of_day = left("day_used", self.grants.runs_per_day)?;
        let until_hour = time("hour_left_s")?;
        Ok(Some(Grant {
            granted: u32::try_from(granted).unwrap_or(0),
            left: left("hour_used", self.grants.runs_per_hour)?.min(of_day),
            good_for: until_hour,
            more_in: match of_day {
                0 => time("day_left_s")?,
                _ => until_hour,
            },
        }))
    }
}

#[async_trait]
impl Source for SharedQuota {
    fn chunk(&self) -> u32 {
        (self.grants.runs_per_hour / CHUNK).max(1)
    }

    async fn take(&self, want: u32) -> Result<Grant, sqlx::Error> {
        if !self.is_compared.load(Ordering::Acquire) {
            self.counters.begin(self.workspace).await?;
            self.is_compared.store(true, Ordering::Release);
        }
        loop {
            if let Some(grant) = self.try_take(want).await? {
                return Ok(grant);
            }
            // A new hour, or a row that was lost: begun by the first to notice.
            self.counters.begin(self.workspace).await?;
        }
    }
}
