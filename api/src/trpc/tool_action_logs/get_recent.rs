//! `toolActionLogs.getRecent`: the runs that have ended, the newest first.

use serde_json::{Value, json};
use toolroom_domain::job::Status;
use toolroom_projections::jobs::JobFilter;

use super::log;
use crate::{
    http::{Problem, fields::Fields},
    rest::{Edge, failure::Failure},
    service::{jobs, tools},
    state::RequestContext,
};

/// Logs of which nothing is said, as in the contract's example.
const USUAL: usize = 50;

/// Logs at once: each holds what the run was given and what it gave back.
const MAX_LIMIT: usize = 100;

/// Logs that may be passed over. Each is walked past in an index; what lies deeper is found by `since`
/// of GraphQL's `jobs`.
const MAX_OFFSET: usize = 100_000;

/// How runs end.
const SUCCESS: &[Status] = &[Status::Succeeded];
const FAILURE: &[Status] = &[Status::Failed, Status::Cancelled];
const ENDED: &[Status] = &[Status::Succeeded, Status::Failed, Status::Cancelled];

struct Sent {
    tool: Option<String>,
    filter: JobFilter,
    limit: usize,
    offset: usize,
}

pub(in crate::trpc) async fn handle(
    edge: Edge,
    ctx: RequestContext,
    input: Fields,
) -> Result<Value, Failure> {
    let Sent {
        tool,
        mut filter,
        limit,
        offset,
    } = read(input)?;
    let of = |error| Failure::of(error, &ctx);
    if let Some(tool) = tool {
        let tool = tools::resolve(&edge.state, &ctx, &tool).await.map_err(of)?;
        filter.tool = Some(tool.id);
    }
    let (runs, total) = jobs::part(&edge.state, &ctx, &filter, offset, limit)
        .await
        .map_err(of)?;
    let logs = log::of(&edge, &ctx, runs).await.map_err(of)?;
    let mut told = json!({"total": total});
    told["logs"] = Value::Array(logs);
    Ok(told)
}

fn read(mut input: Fields) -> Result<Sent, Problem> {
    let limit = input.number("limit", 1..=MAX_LIMIT);
    let offset = input.number("offset", 0..=MAX_OFFSET);
    let tool = input.reference("toolId");
    let status = input.word("status", &[("SUCCESS", SUCCESS), ("FAILURE", FAILURE)]);
    let filter = JobFilter {
        status: status.unwrap_or(ENDED).to_vec(),
        tool_type: input.text("toolType").map(|text| text.to_ascii_uppercase()),
        since: input.time("since"),
        tool: None,
    };
    let violations = input.finish_open();
    if !violations.is_empty() {
        return Err(Problem::invalid(violations));
    }
    Ok(Sent {
        tool,
        filter,
        limit: limit.unwrap_or(USUAL),
        offset: offset.unwrap_or(0),
    })
}
