//! How runs are counted.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use toolroom_domain::WorkspaceId;
use toolroom_eventlog::RecordedEvent;

use crate::projection::{ApplyError, Projection, Tables};

const HOUR_S: i64 = 3_600;

/// Quotas are granted from a count of their own, which is begun from this one: longer pauses save
/// work.
const INTERVAL: Duration = Duration::from_millis(50);

/// The table `usage`: how many runs a workspace asked for in one hour, UTC.
///
/// A run counts when it is asked for, and again when it is asked for again (`retryJob`): that is when
/// it is granted. Rehearsals count, for they cost what a run costs. The hour is that of the database's
/// clock, by which quotas are granted too.
#[derive(Clone, Copy, Debug)]
pub struct Usage;

fn asks_for_a_run(event: &RecordedEvent) -> bool {
    matches!(
        event.event_type.as_str(),
        "JobRequested" | "JobRetryScheduled"
    )
}

fn hour(at: Timestamp) -> Timestamp {
    let second = at.as_second().div_euclid(HOUR_S) * HOUR_S;
    Timestamp::from_second(second).unwrap_or(at)
}

#[async_trait]
impl Projection for Usage {
    fn name(&self) -> &'static str {
        "usage"
    }

    fn version(&self) -> i32 {
        1
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &["job"]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["usage"]
    }

    fn interval(&self) -> Duration {
        INTERVAL
    }

    fn create(&self, tables: &Tables) -> Vec<String> {
        vec![format!(
            "create table {} (
                 workspace_id uuid not null,
                 hour         timestamptz not null,
                 runs         bigint not null,
                 primary key (workspace_id, hour)
             ) with (fillfactor = 80)",
            tables.table("usage")
        )]
    }

    async fn apply(
        &self,
        tx: &mut PgConnection,
        tables: &Tables,
        events: &[Arc<RecordedEvent>],
    ) -> Result<(), ApplyError> {
        let mut counts: BTreeMap<(WorkspaceId, Timestamp), i64> = BTreeMap::new();
        for event in events.iter().filter(|event| asks_for_a_run(event)) {
            let workspace = event
                .workspace_id
                .parse()
                .map_err(|error| ApplyError::event(event, error))?;
            *counts
                .entry((workspace, hour(event.recorded_at)))
                .or_default() += 1;
        }
        if counts.is_empty() {
            return Ok(());
        }
        let sql = format!(
            "insert into {} as u (workspace_id, hour, runs)
             select * from unnest($1::uuid[], $2::timestamptz[], $3::bigint[])
             on conflict (workspace_id, hour) do update set runs = u.runs + excluded.runs",
            tables.table("usage")
        );
        let (workspaces, hours): (Vec<_>, Vec<_>) = counts
            .keys()
            .map(|(workspace, hour)| (workspace.uuid(), hour.to_sqlx()))
            .unzip();
        sqlx::query(&sql)
            .bind(workspaces)
            .bind(hours)
            .bind(counts.into_values().collect::<Vec<_>>())
            .execute(tx)
            .await?;
        Ok(())
    }
}
