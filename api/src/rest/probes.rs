//! What orchestrators and operators ask: `/livez`, `/readyz`, `/health`, `/metrics`.

use axum::{
    Extension, Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};
use serde_json::{Map, Value, json};

use toolroom_domain::{
    ErrorCode, WorkspaceId,
    access::{Caller, Operation},
};

use super::failure::Failure;
use crate::{
    error::ApiError,
    metrics::Metrics,
    service::health::{self, Condition, Wellbeing},
    state::{AppState, RequestContext},
};

/// The probes. They are answered however busy the server is.
pub(crate) fn routes(state: AppState, metrics: Metrics) -> Router {
    let render = async move |Extension(ctx): Extension<RequestContext>| {
        if let Err(error) = may_see_metrics(&ctx) {
            return Failure::of(error, &ctx).into_response();
        }
        let media_type = "text/plain; version=0.0.4; charset=utf-8";
        ([(header::CONTENT_TYPE, media_type)], metrics.render()).into_response()
    };
    Router::new()
        .route("/livez", get(async || Json(json!({"status": "alive"}))))
        .route("/readyz", get(ready))
        .route("/health", get(report))
        .with_state(state)
        .route("/metrics", get(render))
}

/// The figures are of all workspaces together, so only the server's own may see them.
fn may_see_metrics(ctx: &RequestContext) -> Result<(), ApiError> {
    ctx.require(Operation::Metrics)?;
    if ctx.workspace == WorkspaceId::DEFAULT || ctx.caller == Caller::Operator {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::Forbidden,
        "`metrics` are of the whole server: they need a key of its workspace `default`",
    ))
}

/// Whether requests may be sent here: each part is `ok`, or says what is wrong with it.
async fn ready(State(state): State<AppState>) -> Response {
    let parts = health::parts(&state).await;
    let is_ready = !parts
        .iter()
        .any(|part| matches!(part.condition, Condition::Down(_)));
    let parts: Map<String, Value> = parts
        .into_iter()
        .map(|part| {
            let told = part.condition.problem().unwrap_or("ok").into();
            (part.name, told)
        })
        .collect();
    let (status, word) = if is_ready {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    let body = json!({ "status": word, "parts": parts });
    (status, Json(body)).into_response()
}

/// How the server is, in the task scheduler's words.
async fn report(
    State(state): State<AppState>,
    Extension(ctx): Extension<RequestContext>,
) -> Response {
    let health = health::read(&state, &ctx).await;
    let status = match health.wellbeing {
        Wellbeing::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
        Wellbeing::Healthy | Wellbeing::Degraded => StatusCode::OK,
    };
    let scheduler = health.scheduler;
    let body = json!({
        "status": health.wellbeing.as_str(),
        "timestamp": state.clock.now().to_string(),
        "metrics": {
            "cpu_usage": health.host.cpu,
            "memory_usage": health.host.memory,
            "disk_usage": health.host.disk,
            "scheduler": {
                "healthy": scheduler.is_healthy,
                "active_jobs": scheduler.active_jobs,
                "failed_jobs": scheduler.failed_jobs,
                "last_successful_execution": scheduler.last_success.map(|at| at.to_string()),
            },
        },
        "version": state.options.version,
    });
    (status, Json(body)).into_response()
}
