//! Which jobs wait to be started, and which run: what the workers ask for.
//!
//! A job has a row from its request to its end. Claims and heartbeats are not here but in
//! `operational.leases`, which no rebuild touches.

mod apply;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::PgConnection;
use toolroom_eventlog::{RecordedEvent, database::QUEUE};

use crate::projection::{ApplyError, Projection, Tables};

/// Between two batches under load.
const INTERVAL: Duration = Duration::from_millis(10);

/// The projection's name.
pub const NAME: &str = "queue";

/// The jobs that have not ended.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    pending: Arc<AtomicBool>,
}

impl Queue {
    /// Whether jobs have begun to wait since this was last asked. Set before they can be seen, so
    /// to be asked after the projection has moved.
    pub fn take_pending(&self) -> bool {
        self.pending.swap(false, Ordering::AcqRel)
    }
}

#[async_trait]
impl Projection for Queue {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> i32 {
        3
    }

    /// Longer than the others': a job in the background can wait some milliseconds, and most jobs
    /// of a busy log then come and go within one batch.
    fn interval(&self) -> Duration {
        INTERVAL
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &["job"]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["queue"]
    }

    fn create(&self, tables: &Tables) -> Vec<String> {
        let queue = tables.table("queue");
        vec![
            format!(
                "create table {queue} (
                     job_id       text primary key,
                     workspace_id text not null,
                     tool_id      text not null,
                     position     bigint not null,
                     priority     integer not null,
                     -- when it will be due; none once it is, of which the workers take note
                     run_at       timestamptz,
                     -- the latest attempt; 0 before the first
                     attempt      integer not null,
                     running      boolean not null,
                     -- when the node that runs it counts as silent, unless it has sent a heartbeat
                     lease_until  timestamptz,
                     -- the node that runs it
                     node         text,
                     -- when it began to run, or to wait for its next attempt
                     since        timestamptz
                 )"
            ),
            // a line for each tool of each workspace: what may not be run now, however much there is
            // of it, is stepped over in one go
            format!(
                "create index {} on {queue} (workspace_id, tool_id, priority desc, position)
                 where not running and run_at is null",
                tables.index("queue_due")
            ),
            format!(
                "create index {} on {queue} (run_at) where not running and run_at is not null",
                tables.index("queue_later")
            ),
            format!(
                "create index {} on {queue} (since) where not running and run_at is not null",
                tables.index("queue_since")
            ),
            format!(
                "create index {} on {queue} (lease_until) where running",
                tables.index("queue_running")
            ),
            // to lock a row that is taken, and to note that one is due
            format!("grant select, update on {queue} to {QUEUE}"),
        ]
    }

    async fn apply(
        &self,
        tx: &mut PgConnection,
        tables: &Tables,
        events: &[Arc<RecordedEvent>],
    ) -> Result<(), ApplyError> {
        let mut changes = apply::fold(events)?;
        changes.recall(tx).await?;
        if changes.makes_wait() {
            self.pending.store(true, Ordering::Release);
        }
        changes.write(tx, &tables.table("queue")).await
    }
}
