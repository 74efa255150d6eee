//! `tools.executeAction`: runs an action of a tool and waits for its end.
//!
//! An action that fails rejects, as the contract's clients expect; the rejection's `data` holds what
//! the run came to, why, and whether trying again may help.

use http::StatusCode;
use serde_json::{Value, json};
use toolroom_domain::{
    job::{self, Status},
    port::OutputMapping,
};

use super::result::ToolActionResult;
use crate::{
    error::{self, ApiError},
    http::{Problem, fields::Fields},
    rest::{Edge, failure::Failure, present::present},
    service::{
        jobs::{self, Call, JobView, MAX_WAIT_MS, ToolSelector},
        tool_health,
    },
    state::{AppState, RequestContext},
    trpc::error::category,
};

/// What is asked for.
struct Sent {
    tool: String,
    tool_type: Option<String>,
    version: Option<u32>,
    action: String,
    parameters: Value,
    is_test: bool,
    mapping: Option<OutputMapping>,
}

pub(in crate::trpc) async fn handle(
    edge: Edge,
    ctx: RequestContext,
    input: Fields,
) -> Result<Value, Failure> {
    let sent = read(&edge.state, input)?;
    let of = |error| Failure::renamed(error, &ctx, renamed);
    let row = present(&edge, &ctx, &sent.tool).await?;
    let tool_type = row.definition.config.type_name();
    must_be_of(sent.tool_type.as_deref(), tool_type).map_err(of)?;
    let call = Call {
        tool: ToolSelector::Any(row.id.to_string()),
        version: sent.version,
        action: Some(sent.action),
        input: sent.parameters,
        is_test: sent.is_test,
    };
    let job = jobs::execute(&edge.state, &ctx, call, Some(MAX_WAIT_MS), None)
        .await
        .map_err(of)?;
    let written = jobs::last_event(&edge.state, &job).await.map_err(of)?;
    ctx.written.note(written);
    let health = tool_health::of(&edge.state, &row).await.map_err(of)?.status;
    if job.status == Status::Succeeded {
        // Told as what was printed, and as data.
        let told = ctx.told.take(job.output.iter().chain(&job.output));
        told.map_err(|error| of(jobs::of_job(error, job.id)))?;
        let output = jobs::output(&edge.state, &job).await.map_err(of)?;
        let output = output.unwrap_or(Value::Null);
        let data = jobs::mapped(&edge.state, &job, sent.mapping.as_ref(), output)
            .await
            .map_err(of)?;
        let result = ToolActionResult::of(&edge.state, &job, health, Some(data)).await;
        return Ok(json!(result.map_err(of)?));
    }
    let problem = problem(&job);
    let result = ToolActionResult::of(&edge.state, &job, health, None).await;
    let result = result.map_err(of)?;
    let failure = Failure::from(problem).with("result", json!(result));
    Err(match &job.error {
        Some(why) => explained(&edge, &job, why, failure).await.map_err(of)?,
        None => failure,
    })
}

fn read(state: &AppState, mut input: Fields) -> Result<Sent, Problem> {
    let tool = input.reference("toolId");
    let tool = input.required("toolId", tool);
    let action = input.text("actionId");
    let action = input.required("actionId", action);
    let tool_type = input.text("toolType");
    let parameters = input.object("parameters").unwrap_or_default();
    let is_test = input.flag("isTest").unwrap_or(false);
    let version = input.version("toolVersion");
    let mapping = input.mapping("outputMapping", state);
    let violations = input.finish_open();
    match (tool, action) {
        (Some(tool), Some(action)) if violations.is_empty() => Ok(Sent {
            tool,
            tool_type,
            version,
            action,
            parameters: Value::Object(parameters),
            is_test,
            mapping,
        }),
        _ => Err(Problem::invalid(violations)),
    }
}

/// A configuration may name the type beside the tool; one that contradicts it is a mistake.
pub(in crate::trpc) fn must_be_of(said: Option<&str>, is: &str) -> Result<(), ApiError> {
    match said {
        Some(said) if !said.eq_ignore_ascii_case(is) => {
            let problem = format!("does not name this tool's type, which is {is}");
            Err(ApiError::invalid_field("toolType", problem))
        }
        _ => Ok(()),
    }
}

/// The path of a parameter as this contract calls it.
pub(in crate::trpc) fn renamed(path: &str) -> String {
    match path.strip_prefix("input") {
        Some(rest) => format!("parameters{rest}"),
        None if path == "action" => "actionId".to_owned(),
        None if path == "version" => "toolVersion".to_owned(),
        None => path.to_owned(),
    }
}

/// Why a run gave nothing.
fn problem(job: &JobView) -> Problem {
    let (code, message) = jobs::why_nothing(job);
    let status = match job.status {
        Status::Pending | Status::Running => StatusCode::REQUEST_TIMEOUT,
        Status::Succeeded | Status::Failed | Status::Cancelled => error::status(code),
    };
    Problem {
        job: Some(job.id),
        ..Problem::new(status, code, message)
    }
}

/// A rejection with what the job says of its failure.
async fn explained(
    edge: &Edge,
    job: &JobView,
    why: &job::Failure,
    failure: Failure,
) -> Result<Failure, ApiError> {
    let details = jobs::failure_details(&edge.state, job.workspace, job.id, why).await?;
    Ok(failure
        .with("errorCode", why.code.clone())
        .with("category", category(why.category))
        .with("retryable", why.retryable)
        .with("details", details.unwrap_or(Value::Null)))
}
