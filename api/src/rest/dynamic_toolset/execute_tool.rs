//! `POST /api/v1/tools/{tool_id}/execute`: runs a tool and answers with its output.

use axum::{
    Extension, Json,
    extract::{Path, Request, State},
};
use http::StatusCode;
use serde_json::{Map, Value, json};
use toolroom_domain::{job::Status, port::OutputMapping};

use crate::{
    error::ApiError,
    http::{Problem, body, fields::Fields},
    rest::{Edge, failure::Failure},
    service::jobs::{self, Call, JobView, MAX_WAIT_MS, ToolSelector},
    state::{AppState, RequestContext},
};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    Path(tool): Path<String>,
    request: Request,
) -> Result<Json<Value>, Failure> {
    let answer = async {
        let object = body::read_object(request, &edge.shell.options).await?;
        let Asked { call, mapping } = read(&edge.state, tool, object)?;
        let of = |error| Failure::of(error, &ctx);
        let job = jobs::execute(&edge.state, &ctx, call, Some(MAX_WAIT_MS), None)
            .await
            .map_err(of)?;
        let written = jobs::last_event(&edge.state, &job).await.map_err(of)?;
        ctx.written.note(written);
        if job.status == Status::Succeeded {
            let output = jobs::output(&edge.state, &job).await.map_err(of)?;
            let output = output.unwrap_or(Value::Null);
            let output = jobs::mapped(&edge.state, &job, mapping.as_ref(), output);
            let output = output.await.map_err(of)?;
            let ms = execution_time_ms(&job);
            return Ok(json!({"success": true, "output": output, "execution_time_ms": ms}));
        }
        Err(failed(&edge, &job).await.map_err(of)?)
    };
    let answer: Result<Value, Failure> = answer.await;
    answer
        .map(Json)
        .map_err(|failure| failure.with("success", false))
}

/// What is to be run, and what of its output is wanted.
struct Asked {
    call: Call,
    mapping: Option<OutputMapping>,
}

fn read(state: &AppState, tool: String, object: Map<String, Value>) -> Result<Asked, Problem> {
    let mut fields = Fields::new(object);
    let input = fields.object("input").unwrap_or_default();
    // The contract's own tools do one thing; a connector's may do several.
    let action = fields.text("action");
    // Nor does the contract know the rest, which says what may be said everywhere.
    let version = fields.version("tool_version");
    let is_test = fields.flag("is_test").unwrap_or(false);
    let mapping = fields.mapping("output_mapping", state);
    let violations = fields.finish();
    if !violations.is_empty() {
        return Err(Problem::invalid(violations));
    }
    let call = Call {
        tool: ToolSelector::Any(tool),
        version,
        action,
        input: Value::Object(input),
        is_test,
    };
    Ok(Asked { call, mapping })
}

fn execution_time_ms(job: &JobView) -> f64 {
    job.duration_us.unwrap_or(0) as f64 / 1_000.0
}

/// A run that gave nothing. One that failed is 500, whatever the failure, as the contract has it.
async fn failed(edge: &Edge, job: &JobView) -> Result<Failure, ApiError> {
    let status = match job.status {
        Status::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        Status::Cancelled => StatusCode::CONFLICT,
        Status::Pending | Status::Running | Status::Succeeded => StatusCode::GATEWAY_TIMEOUT,
    };
    let (code, message) = jobs::why_nothing(job);
    let problem = Problem {
        job: Some(job.id),
        ..Problem::new(status, code, message)
    };
    let failure = Failure::from(problem).with("execution_time_ms", execution_time_ms(job));
    let Some(why) = &job.error else {
        return Ok(failure);
    };
    let details = jobs::failure_details(&edge.state, job.workspace, job.id, why).await?;
    Ok(failure
        .with("code", why.code.clone())
        .with("retryable", why.retryable)
        .with("details", details.unwrap_or(Value::Null)))
}
