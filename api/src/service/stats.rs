//! How runs have gone, by time.

use jiff::{SignedDuration, Timestamp};
use toolroom_projections::stats::{
    GroupBy, Period, StatsBucket, StatsQuery,
    query::{self, MAX_BUCKETS},
};

use super::{
    settle::{STATS, before_read},
    tools,
};
use crate::{
    error::ApiError,
    state::{AppState, RequestContext},
};

/// How many periods are told of where nobody says from when on: a week of hours, a quarter of days,
/// a year of weeks, five of months.
fn usual(period: Period) -> i32 {
    match period {
        Period::Hour => 168,
        Period::Day => 92,
        Period::Week => 53,
        Period::Month => 66,
    }
}

/// Which statistics are wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// How long each bucket is.
    pub period: Period,
    /// By what runs of one period are told apart.
    pub group_by: GroupBy,
    /// Only runs of this tool: its id, number or name.
    pub tool: Option<String>,
    /// Only hours that begin at or after this moment.
    pub from: Option<Timestamp>,
    /// Only hours that begin before this moment.
    pub to: Option<Timestamp>,
}

/// How runs have gone, by time and then key.
///
/// # Errors
/// When there is no such tool, more time is asked for than one answer holds, or the database does
/// not answer.
pub async fn buckets(
    state: &AppState,
    ctx: &RequestContext,
    wanted: Wanted,
) -> Result<Vec<StatsBucket>, ApiError> {
    let from = from(&wanted, state.clock.now())?;
    before_read(state, ctx, STATS).await?;
    let tool = match &wanted.tool {
        None => None,
        Some(text) => Some(tools::resolve(state, ctx, text).await?.id),
    };
    let query = StatsQuery {
        period: wanted.period,
        group_by: wanted.group_by,
        tool,
        from: Some(from),
        to: wanted.to,
    };
    let reads = state.log.database.reads();
    Ok(query::buckets(reads, ctx.workspace, &query).await?)
}

/// From when on: counts of years by the hour are neither read nor added up for one answer.
fn from(wanted: &Wanted, now: Timestamp) -> Result<Timestamp, ApiError> {
    let end = wanted.to.unwrap_or(now);
    let length = wanted.period.shortest();
    let Some(from) = wanted.from else {
        let usual = length.saturating_mul(usual(wanted.period));
        return Ok(end.saturating_sub(usual).unwrap_or(Timestamp::MIN));
    };
    let periods = i32::try_from(MAX_BUCKETS).unwrap_or(i32::MAX);
    let longest: SignedDuration = length.saturating_mul(periods);
    if end.duration_since(from) > longest {
        let days = longest.as_hours() / 24;
        let problem = format!(
            "must be at most {days} days before `to`, or before now; ask for a longer period, or for less time"
        );
        return Err(ApiError::invalid_field("from", problem));
    }
    Ok(from)
}
