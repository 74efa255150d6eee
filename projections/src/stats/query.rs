//! Reads of statistics: one statement, one workspace.

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx};
use sqlx::{Row, postgres::PgRow};
use toolroom_domain::{ToolId, WorkspaceId};
use toolroom_eventlog::Reads;

use super::latency;
use crate::read::{self, Statement};

/// Buckets that one query returns at the most: 41 days by the hour.
pub const MAX_BUCKETS: i64 = 1_000;

/// How long a bucket is. All begin at midnight UTC, or a full hour; weeks on Monday.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each name is the period itself")]
pub enum Period {
    Hour,
    Day,
    Week,
    Month,
}

impl Period {
    fn as_sql(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// How long one is at the least.
    pub fn shortest(self) -> SignedDuration {
        const HOURS_A_DAY: i64 = 24;
        SignedDuration::from_hours(match self {
            Self::Hour => 1,
            Self::Day => HOURS_A_DAY,
            Self::Week => 7 * HOURS_A_DAY,
            Self::Month => 28 * HOURS_A_DAY,
        })
    }
}

/// By what runs of one period are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// The tool's type, such as `REST` or `SLACK`.
    Type,
    /// How they ended: `SUCCEEDED`, `FAILED` or `CANCELLED`.
    Status,
    /// The action; empty for none.
    Action,
    /// The tool's id.
    Tool,
}

impl GroupBy {
    fn column(self) -> &'static str {
        match self {
            Self::Type => "tool_type",
            Self::Status => "outcome",
            Self::Action => "action",
            Self::Tool => "'tool_' || replace(tool_id::text, '-', '')",
        }
    }
}

/// Which statistics are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct StatsQuery {
    /// How long each bucket is.
    pub period: Period,
    /// By what runs of one period are told apart.
    pub group_by: GroupBy,
    /// Only runs of this tool.
    pub tool: Option<ToolId>,
    /// Only hours that begin at or after this moment.
    pub from: Option<Timestamp>,
    /// Only hours that begin before this moment.
    pub to: Option<Timestamp>,
}

/// What happened in one period under one key.
#[derive(Clone, Debug, PartialEq)]
pub struct StatsBucket {
    /// When the period begins.
    pub from: Timestamp,
    /// When the next one begins.
    pub to: Timestamp,
    /// The group, in the terms of [`GroupBy`].
    pub key: String,
    /// Attempts that ended, and cancelled jobs. Rehearsals do not count.
    pub runs: i64,
    /// Those that gave an output.
    pub succeeded: i64,
    /// Those that gave an error.
    pub failed: i64,
    /// Those that somebody ended.
    pub cancelled: i64,
    /// How many milliseconds the measured runs took on average.
    pub avg_ms: Option<f64>,
    /// Half of the measured runs took at most so many milliseconds.
    pub p50_ms: Option<f64>,
    /// 95 of 100 did.
    pub p95_ms: Option<f64>,
    /// 99 of 100 did.
    pub p99_ms: Option<f64>,
}

impl StatsBucket {
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let latencies: Vec<i16> = row.try_get("latencies")?;
        let counts: Vec<i64> = row.try_get("counts")?;
        let mut merged: Vec<(i16, i64)> = Vec::with_capacity(latencies.len());
        for (latency, count) in latencies.into_iter().zip(counts) {
            match merged.last_mut() {
                Some(last) if last.0 == latency => last.1 += count,
                _ => merged.push((latency, count)),
            }
        }
        let measured: i64 = merged.iter().map(|(_, count)| count).sum();
        let duration_us: i64 = row.try_get("duration_us")?;
        Ok(Self {
            from: row.try_get::<SqlTimestamp, _>("from_time")?.to_jiff(),
            to: row.try_get::<SqlTimestamp, _>("to_time")?.to_jiff(),
            key: row.try_get("key")?,
            runs: row.try_get("runs")?,
            succeeded: row.try_get("succeeded")?,
            failed: row.try_get("failed")?,
            cancelled: row.try_get("cancelled")?,
            avg_ms: (measured > 0).then(|| duration_us as f64 / measured as f64 / 1_000.0),
            p50_ms: latency::percentile_ms(&merged, 0.50),
            p95_ms: latency::percentile_ms(&merged, 0.95),
            p99_ms: latency::percentile_ms(&merged, 0.99),
        })
    }
}

/// What a bucket is read from, of rows that were counted by outcome and latency.
const COUNTS: &str = "sum(runs)::bigint as runs, sum(duration_us)::bigint as duration_us,
    coalesce(sum(runs) filter (where outcome = 'SUCCEEDED'), 0)::bigint as succeeded,
    coalesce(sum(runs) filter (where outcome = 'FAILED'), 0)::bigint as failed,
    coalesce(sum(runs) filter (where outcome = 'CANCELLED'), 0)::bigint as cancelled,
    coalesce(array_agg(latency order by latency) filter (where latency >= 0), '{}') as latencies,
    coalesce(array_agg(runs order by latency) filter (where latency >= 0), '{}') as counts";

/// The statistics of a workspace, by time and then key: the newest [`MAX_BUCKETS`].
///
/// # Errors
/// When the database does not answer.
pub async fn buckets(
    reads: &Reads,
    workspace: WorkspaceId,
    query: &StatsQuery,
) -> Result<Vec<StatsBucket>, sqlx::Error> {
    let period = query.period.as_sql();
    let key = query.group_by.column();
    let mut newest = read::all(reads, workspace, StatsBucket::read, || {
        let mut sql = Statement::new(format!(
            "with counted as (
                 select date_trunc('{period}', hour, 'UTC') as from_time, {key} as key, outcome,
                        latency, sum(runs)::bigint as runs,
                        sum(duration_us)::bigint as duration_us
                 from projections.runs_by_hour
                 where workspace_id = "
        ));
        sql.push_bind(workspace.uuid());
        if let Some(tool) = query.tool {
            sql.push(" and tool_id = ").push_bind(tool.uuid());
        }
        if let Some(from) = query.from {
            sql.push(" and hour >= ").push_bind(from.to_sqlx());
        }
        if let Some(to) = query.to {
            sql.push(" and hour < ").push_bind(to.to_sqlx());
        }
        sql.push(format!(
            " group by 1, 2, 3, 4
             )
             select from_time,
                    ((from_time at time zone 'UTC') + interval '1 {period}') at time zone 'UTC'
                        as to_time,
                    key,
                    {COUNTS}
             from counted
             group by from_time, key
             order by from_time desc, key desc
             limit "
        ));
        sql.push_bind(MAX_BUCKETS);
        sql
    })
    .await?;
    newest.reverse();
    Ok(newest)
}
