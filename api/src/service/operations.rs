//! What operators look at and do: health, the log's head, projections, dead letters.

use serde_json::{Value, json};
use toolroom_domain::access::Caller;
use toolroom_eventlog::{CommandContext, LogHead, vault::Rotation};
use toolroom_projections::{DeadLetter, Page, PageRequest, ProjectionStatus};

use super::health::{self, Condition, Health};
use crate::{
    error::ApiError,
    state::{AppState, READ_YOUR_WRITES, RequestContext},
};

/// Whether the server works, in one word and in detail.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthReport {
    /// `healthy`, `degraded` or `unhealthy`.
    pub status: &'static str,
    /// What the server needs, and how it is.
    pub dependencies: Value,
    /// A few figures.
    pub metrics: Value,
}

/// Whether the server works. Never an error: a database that is away is what it tells.
pub async fn health(state: &AppState, ctx: &RequestContext) -> HealthReport {
    let Health {
        wellbeing,
        parts,
        host,
        scheduler,
    } = health::read(state, ctx).await;
    let dependencies = parts
        .into_iter()
        .map(|part| {
            let status = match part.condition {
                Condition::Works => "healthy",
                Condition::Impaired(_) => "degraded",
                Condition::Down(_) => "unhealthy",
            };
            let told = json!({ "status": status, "problem": part.condition.problem() });
            (part.name, told)
        })
        .collect();
    let uptime = state.clock.now().duration_since(state.options.started_at);
    HealthReport {
        status: wellbeing.as_str(),
        dependencies: Value::Object(dependencies),
        metrics: json!({
            "uptimeSeconds": uptime.as_secs(),
            "cpuUsage": host.cpu,
            "memoryUsage": host.memory,
            "diskUsage": host.disk,
            "activeJobs": scheduler.active_jobs,
            "failedJobs": scheduler.failed_jobs,
            "lastSuccessfulExecution": scheduler.last_success.map(|at| at.to_string()),
        }),
    }
}

/// The newest link of the chain.
///
/// # Errors
/// When the database does not answer.
pub async fn log_head(state: &AppState) -> Result<LogHead, ApiError> {
    state.log.placed(READ_YOUR_WRITES).await?;
    Ok(state.log.feed.head().await?)
}

/// Where every projection stands.
///
/// # Errors
/// When the database does not answer.
pub async fn projections(state: &AppState) -> Result<Vec<ProjectionStatus>, ApiError> {
    Ok(state.projections.status().await?)
}

/// Has a projection's tables filled anew while the old ones serve. Repeated, it tells where the
/// projection now stands and begins nothing.
///
/// # Errors
/// When there is no such projection, or the command's id was used for another request.
pub async fn rebuild(
    state: &AppState,
    command: &CommandContext,
    name: &str,
) -> Result<ProjectionStatus, ApiError> {
    let projections = &state.projections;
    let ask = async |receipt| projections.rebuild(name, receipt).await;
    let asked = state.log.bus.once(command, "projection", name, ask).await;
    asked.map_err(|error| ApiError::of_command(error, ApiError::from))?;
    let all = projections.status().await?;
    all.into_iter()
        .find(|status| status.name == name)
        .ok_or_else(|| ApiError::not_found(format!("there is no projection `{name}`")))
}

/// The events that projections cannot apply, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn dead_letters(
    state: &AppState,
    ctx: &RequestContext,
    page: &PageRequest<i64>,
) -> Result<Page<DeadLetter>, ApiError> {
    Ok(state.projections.dead_letters(ctx.workspace, page).await?)
}

/// Applies a dead letter and what waits behind it, and tells it as it was; repeated, the same.
///
/// # Errors
/// When there is none of this id, it cannot be applied still, or the command's id was used for
/// another request.
pub async fn retry_dead_letter(
    state: &AppState,
    command: &CommandContext,
    id: i64,
) -> Result<DeadLetter, ApiError> {
    let projections = &state.projections;
    let retry = async |receipt| {
        projections
            .retry_dead_letter(command.workspace, id, receipt)
            .await
    };
    let subject = id.to_string();
    let retried = state.log.bus.once(command, "dead_letter", &subject, retry);
    retried
        .await
        .map_err(|error| ApiError::of_command(error, ApiError::from))
}

/// Begins a rotation of the master key and returns at once; one that is under way goes on. Repeated,
/// it tells the rotation as it was when it began.
///
/// # Errors
/// When there is no next key to rotate to, or the command's id was used for another request.
pub async fn rotate_master_key(
    state: &AppState,
    command: &CommandContext,
) -> Result<Rotation, ApiError> {
    let vault = &state.log.vault;
    let begin = async |receipt| vault.begin_rotation(receipt).await;
    let begun = state.log.bus.once(command, "master_key", "current", begin);
    begun
        .await
        .map_err(|error| ApiError::of_command(error, ApiError::from))
}

/// How far the newest rotation of the master key is; none if there never was one, and for whoever
/// does not run the server.
pub async fn key_rotation(state: &AppState, ctx: &RequestContext) -> Option<Rotation> {
    if ctx.caller != Caller::Operator {
        return None;
    }
    // Health is told also where the database is away.
    state.log.vault.rotation().await.unwrap_or_else(|error| {
        tracing::debug!(%error, "the rotation of the master key cannot be read");
        None
    })
}
