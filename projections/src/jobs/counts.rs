//! How many jobs there are of each tool and status, counted as they change: what a list's total is
//! read from. Counting a million rows takes longer than anybody waits for a page.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use toolroom_domain::{ToolId, WorkspaceId, job::Status};

use super::query::status_text;
use crate::projection::{ApplyError, Tables};

/// The table's name.
pub(super) const TABLE: &str = "job_counts";

/// What a job is counted under, beside its status. None of it ever changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub workspace: WorkspaceId,
    pub tool: ToolId,
    pub tool_type: String,
}

/// By how much the counts change.
#[derive(Debug, Default)]
pub(super) struct Changes(BTreeMap<(Group, &'static str), i64>);

impl Changes {
    /// A job came, or went from one status to another.
    pub(super) fn note(&mut self, group: &Group, from: Option<Status>, to: Status) {
        if from == Some(to) {
            return;
        }
        for (status, change) in [(from, -1), (Some(to), 1)] {
            if let Some(status) = status {
                let key = (group.clone(), status_text(status));
                *self.0.entry(key).or_default() += change;
            }
        }
    }

    pub(super) async fn write(
        self,
        tx: &mut PgConnection,
        tables: &Tables,
    ) -> Result<(), ApplyError> {
        let changes: Vec<_> = self.0.into_iter().filter(|(_, by)| *by != 0).collect();
        if changes.is_empty() {
            return Ok(());
        }
        macro_rules! column {
            ($group:ident, $status:ident, $by:ident => $value:expr) => {
                changes
                    .iter()
                    .map(|(($group, $status), $by)| $value)
                    .collect::<Vec<_>>()
            };
        }
        let sql = format!(
            "insert into {} as c (workspace_id, tool_id, tool_type, status, jobs)
             select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[])
             on conflict (workspace_id, tool_id, tool_type, status) do update
             set jobs = c.jobs + excluded.jobs",
            tables.table(TABLE)
        );
        sqlx::query(&sql)
            .bind(column!(g, _s, _by => g.workspace.uuid()))
            .bind(column!(g, _s, _by => g.tool.uuid()))
            .bind(column!(g, _s, _by => g.tool_type.as_str()))
            .bind(column!(_g, s, _by => *s))
            .bind(column!(_g, _s, by => *by))
            .execute(&mut *tx)
            .await?;
        if changes.iter().all(|(_, by)| *by > 0) {
            return Ok(());
        }
        // A rebuild, in batches of other sizes, never sees what came and went: no row may tell of it.
        let sql = format!(
            "delete from {} c
             using unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[])
                   as u (workspace_id, tool_id, tool_type, status)
             where c.jobs = 0 and c.workspace_id = u.workspace_id and c.tool_id = u.tool_id
                   and c.tool_type = u.tool_type and c.status = u.status",
            tables.table(TABLE)
        );
        sqlx::query(&sql)
            .bind(column!(g, _s, _by => g.workspace.uuid()))
            .bind(column!(g, _s, _by => g.tool.uuid()))
            .bind(column!(g, _s, _by => g.tool_type.as_str()))
            .bind(column!(_g, s, _by => *s))
            .execute(tx)
            .await?;
        Ok(())
    }
}

/// What makes the table.
pub(super) fn create(tables: &Tables) -> String {
    format!(
        "create table {} (
             workspace_id uuid not null,
             tool_id      uuid not null,
             tool_type    text not null,
             status       text not null,
             jobs         bigint not null,
             primary key (workspace_id, tool_id, tool_type, status)
         -- a few rows that each batch of events changes: room for their next versions beside them
         ) with (fillfactor = 50)",
        tables.table(TABLE)
    )
}
