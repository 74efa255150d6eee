//! Reads of usage: one statement, one workspace.

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx};
use sqlx::{Row, postgres::PgRow};
use toolroom_domain::WorkspaceId;
use toolroom_eventlog::Reads;

use crate::read::{self, Statement};

/// The runs that a workspace asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    /// The moment whose hour and day they are.
    pub at: Timestamp,
    /// Since the last full hour, UTC.
    pub hour: u64,
    /// Since the last midnight, UTC.
    pub day: u64,
}

impl Runs {
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            at: row.try_get::<SqlTimestamp, _>("now")?.to_jiff(),
            hour: read::unsigned(row, "hour_runs")?,
            day: read::unsigned(row, "day_runs")?,
        })
    }
}

/// The runs that a workspace asked for in the hour and the day of a moment; of the database's own
/// moment, if none is given.
///
/// # Errors
/// When the database does not answer.
pub async fn runs(
    reads: &Reads,
    workspace: WorkspaceId,
    at: Option<Timestamp>,
) -> Result<Runs, sqlx::Error> {
    let found = read::first(reads, workspace, Runs::read, || {
        let mut sql = Statement::new("with moment as (select coalesce(");
        sql.push_bind(at.map(ToSqlx::to_sqlx));
        sql.push(
            "::timestamptz, clock_timestamp()) as now)
             select now,
                    coalesce(sum(runs) filter (where hour = date_trunc('hour', now, 'UTC')), 0)::bigint
                        as hour_runs,
                    coalesce(sum(runs), 0)::bigint as day_runs
             from moment
             left join projections.usage
                 on hour >= date_trunc('day', now, 'UTC')
                    and hour < date_trunc('day', now, 'UTC') + interval '24 hours'
                    and workspace_id = ",
        );
        sql.push_bind(workspace.uuid());
        sql.push(" group by now");
        sql
    })
    .await?;
    found.ok_or(sqlx::Error::RowNotFound)
}
