//! A run that ended, as this contract's log shows it.

use std::{collections::HashMap, iter};

use serde_json::{Value, json};
use toolroom_domain::{ToolId, connector::ActionType, job::Status};
use toolroom_projections::catalog::{self, ToolRow};

use crate::{
    error::ApiError,
    rest::Edge,
    service::{
        jobs::{self, JobView, RUN_ACTION},
        tools::actions,
    },
    state::RequestContext,
};

/// The word of this contract for how a run ended.
fn status(status: Status) -> &'static str {
    match status {
        Status::Succeeded => "SUCCESS",
        Status::Pending | Status::Running | Status::Failed | Status::Cancelled => "FAILURE",
    }
}

/// Runs as logs, in their order.
///
/// # Errors
/// `PAYLOAD_TOO_LARGE` when what they were given and gave back is more than an answer tells; or when
/// the database does not answer, or the vault cannot be read.
pub(super) async fn of(
    edge: &Edge,
    ctx: &RequestContext,
    runs: Vec<JobView>,
) -> Result<Vec<Value>, ApiError> {
    let values = runs
        .iter()
        .flat_map(|run| iter::once(&run.input).chain(&run.output));
    ctx.told.take(values)?;
    let mut ids: Vec<ToolId> = runs.iter().map(|run| run.tool.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let reads = edge.state.log.database.reads();
    let tools = catalog::query::by_ids(reads, ctx.workspace, &ids).await?;
    let tools: HashMap<ToolId, ToolRow> = tools.into_iter().map(|tool| (tool.id, tool)).collect();
    let mut logs = Vec::with_capacity(runs.len());
    for run in runs {
        logs.push(log(edge, tools.get(&run.tool.id), run).await?);
    }
    Ok(logs)
}

async fn log(edge: &Edge, tool: Option<&ToolRow>, run: JobView) -> Result<Value, ApiError> {
    let error_message = match (&run.error, run.status) {
        (Some(why), _) => Some(why.message.clone()),
        (None, Status::Cancelled) => Some("the run was cancelled".to_owned()),
        (None, _) => None,
    };
    let action_id = run.action.clone().unwrap_or_else(|| RUN_ACTION.to_owned());
    let action_type = tool.and_then(|tool| action_type(edge, tool, &action_id));
    let mut log = json!({
        "id": run.id.to_string(),
        // The schedule's number; a run that somebody asked for has none.
        "eventId": null,
        "toolId": tool.map(|tool| tool.number),
        "toolType": run.tool.type_name(),
        "actionType": action_type.unwrap_or(ActionType::Query),
        "actionId": action_id,
        "status": status(run.status),
        // In milliseconds.
        "executionTime": run.duration_us.unwrap_or(0) as f64 / 1_000.0,
        "errorMessage": error_message,
        "isTest": run.is_test,
        "createdAt": run.created_at.to_string(),
    });
    // Moved and not copied: they may be large.
    log["parameters"] = jobs::input(&edge.state, &run).await?;
    log["result"] = jobs::output(&edge.state, &run)
        .await?
        .unwrap_or(Value::Null);
    Ok(log)
}

/// What an action does to the other side, as the tool has it now.
fn action_type(edge: &Edge, tool: &ToolRow, action: &str) -> Option<ActionType> {
    let actions = actions::actions(&edge.state, &tool.description, &tool.definition);
    let found = actions.into_iter().find(|known| known.id == action)?;
    Some(found.action_type)
}
