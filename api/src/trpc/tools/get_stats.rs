//! `tools.getStats`: how runs have gone, by time.

use serde_json::{Value, json};
use toolroom_projections::stats::{GroupBy, Period, StatsBucket};

use crate::{
    http::{Problem, fields::Fields},
    rest::{Edge, failure::Failure},
    service::stats::{self, Wanted},
    state::RequestContext,
};

pub(in crate::trpc) async fn handle(
    edge: Edge,
    ctx: RequestContext,
    input: Fields,
) -> Result<Value, Failure> {
    let wanted = read(input)?;
    let group_by = wanted.group_by;
    let buckets = stats::buckets(&edge.state, &ctx, wanted)
        .await
        .map_err(|error| Failure::of(error, &ctx))?;
    Ok(buckets
        .into_iter()
        .map(|bucket| shown(group_by, bucket))
        .collect())
}

fn read(mut input: Fields) -> Result<Wanted, Problem> {
    let periods = [
        ("hour", Period::Hour),
        ("day", Period::Day),
        ("week", Period::Week),
        ("month", Period::Month),
    ];
    let groups = [
        ("type", GroupBy::Type),
        ("status", GroupBy::Status),
        ("action", GroupBy::Action),
        ("tool", GroupBy::Tool),
    ];
    let wanted = Wanted {
        period: input.word("period", &periods).unwrap_or(Period::Day),
        group_by: input.word("groupBy", &groups).unwrap_or(GroupBy::Type),
        tool: input.reference("toolId"),
        from: input.time("from"),
        to: input.time("to"),
    };
    let violations = input.finish_open();
    if violations.is_empty() {
        Ok(wanted)
    } else {
        Err(Problem::invalid(violations))
    }
}

/// A bucket with the fields that it has in GraphQL, and a status in the words of this contract's
/// logs.
fn shown(group_by: GroupBy, bucket: StatsBucket) -> Value {
    let key = match (group_by, bucket.key.as_str()) {
        (GroupBy::Status, "SUCCEEDED") => "SUCCESS".to_owned(),
        (GroupBy::Status, "FAILED") => "FAILURE".to_owned(),
        _ => bucket.key,
    };
    json!({
        "from": bucket.from.to_string(),
        "to": bucket.to.to_string(),
        "key": key,
        "runs": bucket.runs,
        "succeeded": bucket.succeeded,
        "failed": bucket.failed,
        "cancelled": bucket.cancelled,
        "avgMs": bucket.avg_ms,
        "p50Ms": bucket.p50_ms,
        "p95Ms": bucket.p95_ms,
        "p99Ms": bucket.p99_ms,
    })
}
