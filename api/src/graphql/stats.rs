//! How runs have gone, by time.

use async_graphql::{Context, Enum, ID, Object, SimpleObject};
use toolroom_domain::ErrorCode;
use toolroom_projections::stats::query as read_model;

use super::{app, connection::saturated, request, scalar::DateTime};
use crate::{
    error::ApiError,
    service::stats::{self, Wanted},
};

/// How long each bucket is. All begin at midnight UTC, or a full hour; weeks on Monday.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "read_model::Period")]
#[allow(missing_docs, reason = "each name is the period itself")]
pub enum StatsPeriod {
    Hour,
    Day,
    Week,
    Month,
}

/// By what runs of one period are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "read_model::GroupBy")]
pub enum StatsGroup {
    /// The tool's type, such as `REST` or `SLACK`.
    Type,
    /// How they ended: `COMPLETED`, `FAILED` or `CANCELLED`.
    Status,
    /// The action; empty for none.
    Action,
    /// The tool's id.
    Tool,
}

/// What happened in one period under one key.
#[derive(SimpleObject)]
pub struct StatsBucket {
    /// When the period begins.
    from: DateTime,
    /// When the next one begins.
    to: DateTime,
    /// The group.
    key: String,
    /// Attempts that ended, and cancelled jobs. Rehearsals do not count.
    runs: i32,
    /// Those that gave an output.
    succeeded: i32,
    /// Those that gave an error.
    failed: i32,
    /// Those that somebody ended.
    cancelled: i32,
    /// How many milliseconds the measured runs took on average.
    avg_ms: Option<f64>,
    /// Half of the measured runs took at most so many milliseconds.
    p50_ms: Option<f64>,
    /// 95 of 100 did.
    p95_ms: Option<f64>,
    /// 99 of 100 did.
    p99_ms: Option<f64>,
}

/// How runs have gone.
#[derive(Default)]
pub struct StatsQuery;

#[Object]
impl StatsQuery {
    /// How runs have gone, by time and then key; the newest 1,000 buckets. Without `from`, those of a
    /// week of hours, 92 days, 53 weeks or 66 months; `from` lies at most 1,000 periods back.
    async fn stats(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "StatsPeriod::Day")] period: StatsPeriod,
        #[graphql(default_with = "StatsGroup::Type")] group_by: StatsGroup,
        tool_id: Option<ID>,
        from: Option<DateTime>,
        to: Option<DateTime>,
    ) -> Result<Vec<StatsBucket>, ApiError> {
        let (state, sender) = (app(ctx), request(ctx)?);
        let wanted = Wanted {
            period: period.into(),
            group_by: group_by.into(),
            tool: tool_id.map(|id| id.0),
            from: from.map(|from| from.0),
            to: to.map(|to| to.0),
        };
        let buckets = match stats::buckets(state, sender, wanted).await {
            Ok(buckets) => buckets,
            Err(error) if error.code == ErrorCode::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(buckets
            .into_iter()
            .map(|bucket| StatsBucket {
                from: bucket.from.into(),
                to: bucket.to.into(),
                key: key(group_by, bucket.key),
                runs: saturated(bucket.runs),
                succeeded: saturated(bucket.succeeded),
                failed: saturated(bucket.failed),
                cancelled: saturated(bucket.cancelled),
                avg_ms: bucket.avg_ms,
                p50_ms: bucket.p50_ms,
                p95_ms: bucket.p95_ms,
                p99_ms: bucket.p99_ms,
            })
            .collect())
    }
}

/// A status is told by the name that jobs show it under.
fn key(group: StatsGroup, key: String) -> String {
    match (group, key.as_str()) {
        (StatsGroup::Status, "SUCCEEDED") => "COMPLETED".to_owned(),
        _ => key,
    }
}
