//! How the index of the log is made and kept.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::PgConnection;
use toolroom_eventlog::{Metadata, RecordedEvent};

use crate::projection::{ApplyError, Projection, Tables};

/// Nobody waits for the audit as for their own tool: longer pauses save work.
const INTERVAL: Duration = Duration::from_millis(10);

/// The table `audit`: a row for each event, by what it is searched.
#[derive(Clone, Copy, Debug)]
pub struct Audit;

#[async_trait]
impl Projection for Audit {
    fn name(&self) -> &'static str {
        "audit"
    }

    fn version(&self) -> i32 {
        1
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &[]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["audit"]
    }

    fn interval(&self) -> Duration {
        INTERVAL
    }

    fn create(&self, tables: &Tables) -> Vec<String> {
        let audit = tables.table("audit");
        let index = |column: &str| {
            let name = tables.index(&format!("audit_{column}"));
            format!("create index {name} on {audit} (workspace_id, {column}, position)")
        };
        vec![
            format!(
                "create table {audit} (
                     workspace_id   uuid not null,
                     position       bigint not null,
                     aggregate_type text not null,
                     aggregate_id   text not null,
                     event_type     text not null,
                     actor          text not null,
                     correlation_id text not null,
                     primary key (workspace_id, position)
                 )"
            ),
            index("aggregate_id"),
            index("event_type"),
            index("actor"),
            index("correlation_id"),
        ]
    }

    async fn apply(
        &self,
        tx: &mut PgConnection,
        tables: &Tables,
        events: &[Arc<RecordedEvent>],
    ) -> Result<(), ApplyError> {
        let metadata = events
            .iter()
            .map(|event| {
                let metadata = event.metadata();
                metadata.map_err(|error| ApplyError::event(event, error))
            })
            .collect::<Result<Vec<Metadata>, _>>()?;
        macro_rules! column {
            ($each:ident of $all:ident => $value:expr) => {
                $all.iter().map(|$each| $value).collect::<Vec<_>>()
            };
        }
        let sql = format!(
            "insert into {}
                 (workspace_id, position, aggregate_type, aggregate_id, event_type, actor,
                  correlation_id)
             select * from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[],
                                  $6::text[], $7::text[])",
            tables.table("audit")
        );
        sqlx::query(&sql)
            .bind(column!(m of metadata => m.workspace_id.uuid()))
            .bind(column!(e of events => e.position))
            .bind(column!(e of events => e.aggregate_type.as_str()))
            .bind(column!(e of events => e.aggregate_id.as_str()))
            .bind(column!(e of events => e.event_type.as_str()))
            .bind(column!(m of metadata => m.actor.as_str()))
            .bind(column!(m of metadata => m.correlation_id.as_str()))
            .execute(tx)
            .await?;
        Ok(())
    }
}
