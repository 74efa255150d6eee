//! A run that ended, as this contract's log shows it.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;
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

/// A run that ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Log {
    /// The job's id.
    id: String,
    /// The schedule's number; a run that somebody asked for has none.
    event_id: Option<i32>,
    tool_id: Option<i32>,
    tool_type: String,
    action_type: ActionType,
    action_id: String,
    /// What the action was given; the word `erased` where its key is gone.
    parameters: Value,
    /// What it gave back.
    result: Option<Value>,
    status: &'static str,
    /// In milliseconds.
    execution_time: f64,
    error_message: Option<String>,
    is_test: bool,
    created_at: String,
}

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
/// When the database does not answer, or the vault cannot be read.
pub(super) async fn of(
    edge: &Edge,
    ctx: &RequestContext,
    runs: Vec<JobView>,
) -> Result<Vec<Log>, ApiError> {
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

async fn log(edge: &Edge, tool: Option<&ToolRow>, run: JobView) -> Result<Log, ApiError> {
    let error_message = match (&run.error, run.status) {
        (Some(why), _) => Some(why.message.clone()),
        (None, Status::Cancelled) => Some("the run was cancelled".to_owned()),
        (None, _) => None,
    };
    let action_id = run.action.clone().unwrap_or_else(|| RUN_ACTION.to_owned());
    let action_type = tool.and_then(|tool| action_type(edge, tool, &action_id));
    Ok(Log {
        event_id: None,
        tool_id: tool.map(|tool| tool.number),
        tool_type: run.tool.type_name().to_owned(),
        action_type: action_type.unwrap_or(ActionType::Query),
        action_id,
        parameters: jobs::input(&edge.state, &run).await?,
        result: jobs::output(&edge.state, &run).await?,
        status: status(run.status),
        execution_time: run.duration_us.unwrap_or(0) as f64 / 1_000.0,
        error_message,
        is_test: run.is_test,
        created_at: run.created_at.to_string(),
        id: run.id.to_string(),
    })
}

/// What an action does to the other side, as the tool has it now.
fn action_type(edge: &Edge, tool: &ToolRow, action: &str) -> Option<ActionType> {
    let actions = actions::actions(&edge.state, &tool.description, &tool.definition);
    let found = actions.into_iter().find(|known| known.id == action)?;
    Some(found.action_type)
}
