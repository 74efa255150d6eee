//! What all nodes know of a tool, in `operational.gates`.

use std::time::Duration;

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::{PgPool, Row as _, postgres::PgRow};
use toolroom_domain::{ToolId, WorkspaceId};

use super::{
    circuit::{self, Circuit, State, Transition},
    pace::Pace,
    time::SharedTime,
};

/// For how long nodes look at what has come to rest, so that none misses it.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Rows that a node takes in at one look: more tools than that in trouble at once are the node's.
const LOOKED_AT: i64 = 10_000;

/// Rows of tools that have been at rest for this long are removed.
const FORGOTTEN_AFTER: &str = "1 day";

/// Rows of tools that nobody has called for this long are, whatever the state of their circuits.
const ABANDONED_AFTER: &str = "30 days";

/// Why the shared state could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database took too long.
    #[error("the database did not answer in time")]
    Slow,
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// What lies there was not written by this version.
    #[error("what is known of a tool cannot be read: {0}")]
    Garbled(#[from] serde_json::Error),
}

/// What is known of a tool.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Known {
    /// Grows with each change.
    pub(super) version: i64,
    pub(super) circuit: Circuit,
    pub(super) pace: Pace,
}

/// A tool that is in trouble.
#[derive(Clone, Debug)]
pub(super) struct Troubled {
    pub(super) tool: ToolId,
    pub(super) workspace: WorkspaceId,
    pub(super) known: Known,
    /// Whether its aggregate was to have been told of a change by now.
    pub(super) is_untold: bool,
}

/// The shared states, in the database.
pub(super) struct Shared {
    pub(super) pool: PgPool,
    pub(super) time: SharedTime,
}

fn known(row: &PgRow) -> Result<Known, Error> {
    let read = |column| -> Result<String, sqlx::Error> { row.try_get(column) };
    let circuit: Option<Circuit> = match read("circuit")?.as_str() {
        "{}" => None,
        text => Some(serde_json::from_str(text)?),
    };
    Ok(Known {
        version: row.try_get("version")?,
        circuit: circuit.unwrap_or_default(),
        pace: serde_json::from_str(&read("pace")?)?,
    })
}

impl Shared {
    /// Changes what is known of a tool; others wait meanwhile. Gives what is known then, and what the
    /// change came to.
    pub(super) async fn change<T>(
        &self,
        (workspace, tool): (WorkspaceId, ToolId),
        within: Duration,
        change: impl FnOnce(&mut Known, Timestamp) -> (T, Option<Transition>),
    ) -> Result<(Known, T, Option<Transition>), Error> {
        let changed = tokio::time::timeout(within, self.try_change(workspace, tool, change));
        changed.await.map_err(|_| Error::Slow)?
    }

    async fn try_change<T>(
        &self,
        workspace: WorkspaceId,
        tool: ToolId,
        change: impl FnOnce(&mut Known, Timestamp) -> (T, Option<Transition>),
    ) -> Result<(Known, T, Option<Transition>), Error> {
        let id = tool.to_string();
        let mut tx = self.pool.begin().await?;
        let row = loop {
            let row = sqlx::query(
                "select version, circuit::text, pace::text, coalesce($2, clock_timestamp()) as now
                 from operational.gates where tool_id = $1 for update",
            )
            .bind(&id)
            .bind(self.time.in_place())
            .fetch_optional(&mut *tx)
            .await?;
            if let Some(row) = row {
                break row;
            }
            sqlx::query(
                "insert into operational.gates (tool_id, workspace_id) values ($1, $2)
                 on conflict (tool_id) do nothing",
            )
            .bind(&id)
            .bind(workspace.to_string())
            .execute(&mut *tx)
            .await?;
        };
        let now = row.try_get::<SqlTimestamp, _>("now")?.to_jiff();
        self.time.saw(now);
        let before = known(&row)?;
        let mut after = before.clone();
        let (came_to, transition) = change(&mut after, now);
        if after != before {
            after.version = sqlx::query_scalar(
                "update operational.gates
                 set circuit = $2::jsonb, pace = $3::jsonb, troubled_until = $4,
                     told = told and not $5, changed_at = $6,
                     version = nextval('operational.gate_versions')
                 where tool_id = $1
                 returning version",
            )
            .bind(&id)
            .bind(serde_json::to_string(&after.circuit)?)
            .bind(serde_json::to_string(&after.pace)?)
            .bind(troubled_until(&after, now).to_sqlx())
            .bind(transition.is_some())
            .bind(now.to_sqlx())
            .fetch_one(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok((after, came_to, transition))
    }

    /// The tools that are in trouble, or were a moment ago.
    pub(super) async fn troubled(&self) -> Result<Vec<Troubled>, Error> {
        let rows = sqlx::query(
            "select g.tool_id, g.workspace_id, g.version, g.circuit::text, g.pace::text, m.now,
                    not g.told and g.changed_at < m.now - interval '5 seconds' as is_untold
             from (select coalesce($1, clock_timestamp()) as now) m
             left join lateral (
                 select * from operational.gates where troubled_until > m.now
                 order by troubled_until desc limit $2
             ) g on true",
        )
        .bind(self.time.in_place())
        .bind(LOOKED_AT)
        .fetch_all(&self.pool)
        .await?;
        let mut all = Vec::new();
        for row in &rows {
            self.time
                .saw(row.try_get::<SqlTimestamp, _>("now")?.to_jiff());
            let id = |column| -> Result<Option<String>, sqlx::Error> { row.try_get(column) };
            let (Some(tool), Some(workspace)) = (id("tool_id")?, id("workspace_id")?) else {
                continue;
            };
            let (Ok(tool), Ok(workspace)) = (tool.parse(), workspace.parse()) else {
                continue;
            };
            all.push(Troubled {
                tool,
                workspace,
                known: known(row)?,
                is_untold: row.try_get("is_untold")?,
            });
        }
        Ok(all)
    }

    /// Notes that a tool's aggregate knows of this change, or cannot be told.
    pub(super) async fn told(&self, tool: ToolId, epoch: u64) -> Result<(), Error> {
        sqlx::query(
            "update operational.gates set told = true
             where tool_id = $1 and (circuit->>'epoch')::bigint = $2",
        )
        .bind(tool.to_string())
        .bind(i64::try_from(epoch).unwrap_or(i64::MAX))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Removes what has long been at rest.
    pub(super) async fn sweep(&self) -> Result<(), Error> {
        let sql = format!(
            "delete from operational.gates
             where (troubled_until < clock_timestamp() - interval '{FORGOTTEN_AFTER}'
                    and changed_at < clock_timestamp() - interval '{FORGOTTEN_AFTER}')
                or changed_at < clock_timestamp() - interval '{ABANDONED_AFTER}'"
        );
        sqlx::query(&sql).execute(&self.pool).await?;
        Ok(())
    }
}

/// Until when nodes look at it of themselves: while calls are kept back or may be soon, and long enough
/// after that for each to have seen it.
fn troubled_until(known: &Known, now: Timestamp) -> Timestamp {
    let after = |moment: Timestamp, time| moment.checked_add(time).unwrap_or(Timestamp::MAX);
    let of_circuit = match known.circuit.state() {
        // Until somebody calls: then that call probes.
        State::Open { .. } | State::HalfOpen { .. } => Timestamp::MAX,
        State::Closed if known.circuit.is_in_doubt(now) => after(now, circuit::WINDOW),
        State::Closed => known
            .circuit
            .changed_at()
            .map_or(Timestamp::UNIX_EPOCH, |changed| after(changed, REMEMBERED)),
    };
    let of_pace = known.pace.restricted_until();
    of_circuit.max(of_pace.map_or(Timestamp::UNIX_EPOCH, |until| after(until, REMEMBERED)))
}
