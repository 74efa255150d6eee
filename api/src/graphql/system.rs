//! The server itself: its health and its projections.

use async_graphql::{Context, Enum, ID, Object, SimpleObject};
use serde_json::Value;
use toolroom_eventlog::vault::Rotation;
use toolroom_projections::{DeadLetter as Letter, ProjectionState as State, ProjectionStatus};

use super::{
    StillThere, app,
    connection::{Listed, Scope, cost, saturated},
    request,
    scalar::{DateTime, Position},
};
use crate::{error::ApiError, service::operations, state::AppState};

/// How far the exchange of the master key is.
#[derive(SimpleObject)]
pub struct KeyRotation {
    /// Keys to wrap anew.
    total: i32,
    /// Keys wrapped anew.
    done: i32,
    /// When it began.
    started_at: DateTime,
    /// When it ended.
    finished_at: Option<DateTime>,
}

impl From<Rotation> for KeyRotation {
    fn from(rotation: Rotation) -> Self {
        Self {
            total: saturated(rotation.total),
            done: saturated(rotation.done),
            started_at: rotation.started_at.into(),
            finished_at: rotation.finished_at.map(DateTime::from),
        }
    }
}

/// Whether the server works.
#[derive(SimpleObject)]
pub struct Health {
    /// `healthy`, `degraded` or `unhealthy`.
    status: String,
    /// When this was found out.
    timestamp: DateTime,
    /// The server's version.
    version: String,
    /// What the server needs, and how it is.
    dependencies: Value,
    /// A few figures; Prometheus is told all of them at `/metrics`.
    metrics: Value,
    /// How far the newest exchange of the master key is, for whoever runs the server.
    key_rotation: Option<KeyRotation>,
}

/// Whether a projection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "State")]
pub enum ProjectionState {
    /// Some node takes it forward.
    Running,
    /// Its tables are being filled anew; the old ones serve.
    Rebuilding,
    /// No node takes it forward.
    Stopped,
    /// It goes on, but holds aggregates back whose events do not fit.
    Poisoned,
}

/// Where a projection stands.
#[derive(SimpleObject)]
pub struct Projection {
    /// Which one.
    name: String,
    /// Up to where it has come.
    position: Position,
    /// Where the log ends.
    head: Position,
    /// How many events it is behind.
    lag: i32,
    /// Whether it goes on.
    state: ProjectionState,
    /// Why it does not, or why its newest dead letter is one.
    last_error: Option<String>,
}

/// An event that a projection cannot apply; the later events of its aggregate wait behind it.
#[derive(SimpleObject)]
pub struct DeadLetter {
    /// By which it is retried.
    id: ID,
    /// Which projection cannot apply it.
    projection: String,
    /// Where it is.
    position: Position,
    /// Why it cannot be applied.
    error: String,
    /// How often it was tried.
    attempts: i32,
    /// The aggregate that is held back.
    held_aggregate: String,
    /// When it was set aside.
    at: DateTime,
}

async fn projection(state: &AppState, status: ProjectionStatus) -> Result<Projection, ApiError> {
    Ok(Projection {
        name: status.name.to_owned(),
        position: Position(state.position(status.position).await?),
        head: Position(state.position(status.head).await?),
        lag: saturated(status.lag),
        state: status.state.into(),
        last_error: status.last_error,
    })
}

fn dead_letter(epoch: i32, letter: Letter) -> DeadLetter {
    DeadLetter {
        id: letter.id.to_string().into(),
        projection: letter.projection,
        position: Position(toolroom_eventlog::Position::new(epoch, letter.position)),
        error: letter.error,
        attempts: letter.attempts,
        held_aggregate: letter.aggregate_id,
        at: letter.at.into(),
    }
}

/// Asking the server about itself.
#[derive(Default)]
pub struct SystemQuery;

#[Object]
impl SystemQuery {
    /// Whether the server works.
    async fn health(&self, ctx: &Context<'_>) -> Result<Health, ApiError> {
        let state = app(ctx);
        let report = operations::health(state, request(ctx)?).await;
        Ok(Health {
            status: report.status.to_owned(),
            timestamp: state.clock.now().into(),
            version: state.options.version.clone(),
            dependencies: report.dependencies,
            metrics: report.metrics,
            key_rotation: operations::key_rotation(state, request(ctx)?)
                .await
                .map(KeyRotation::from),
        })
    }

    /// Where every projection stands: its checkpoint, its lag in events, its state.
    async fn projections(&self, ctx: &Context<'_>) -> Result<Vec<Projection>, ApiError> {
        let state = app(ctx);
        let mut told = Vec::new();
        for status in operations::projections(state).await? {
            told.push(projection(state, status).await?);
        }
        Ok(told)
    }

    /// The events that projections cannot apply, newest first.
    #[graphql(complexity = "cost(first, 20, child_complexity)")]
    async fn dead_letters(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(20)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Listed<DeadLetter>, ApiError> {
        let state = app(ctx);
        let scope = Scope::new(ctx, "deadLetters", &(), first, 20, after.as_deref())?;
        let page = scope.page(|key| key.parse().ok())?;
        let page = operations::dead_letters(state, request(ctx)?, &page).await?;
        let epoch = state.epoch().await?;
        Ok(scope.connection(
            page,
            |letter| letter.id.to_string(),
            |letter| dead_letter(epoch, letter),
        ))
    }
}

/// What operators do.
#[derive(Default)]
pub struct SystemMutation;

#[Object(guard = "StillThere")]
impl SystemMutation {
    /// Apply a dead letter and what waits behind it, once whatever was wrong is mended; the answer
    /// is the letter as it was.
    async fn retry_dead_letter(
        &self,
        ctx: &Context<'_>,
        id: ID,
        command_id: Option<String>,
    ) -> Result<DeadLetter, ApiError> {
        let (state, sender) = (app(ctx), request(ctx)?);
        let number: i64 = id
            .parse()
            .map_err(|_| ApiError::invalid_field("id", "is not a dead letter's id: a number"))?;
        let command = sender.command(command_id.as_deref(), "retryDeadLetter", &number)?;
        let letter = operations::retry_dead_letter(state, &command, number).await?;
        Ok(dead_letter(state.epoch().await?, letter))
    }

    /// Begin to wrap all keys and secrets by the next master key, and return at once; `keyRotation`
    /// of `health` tells how far it is. Asked again while it is under way, it goes on.
    async fn rotate_master_key(
        &self,
        ctx: &Context<'_>,
        command_id: Option<String>,
    ) -> Result<KeyRotation, ApiError> {
        let (state, sender) = (app(ctx), request(ctx)?);
        let command = sender.command(command_id.as_deref(), "rotateMasterKey", &())?;
        let rotation = operations::rotate_master_key(state, &command).await?;
        Ok(rotation.into())
    }

    /// Fill a projection's tables anew while the old ones serve. Asked again while that is under
    /// way, it goes on; repeated under the same command id after its end, none begins.
    async fn rebuild_projection(
        &self,
        ctx: &Context<'_>,
        name: String,
        command_id: Option<String>,
    ) -> Result<Projection, ApiError> {
        let (state, sender) = (app(ctx), request(ctx)?);
        let command = sender.command(command_id.as_deref(), "rebuildProjection", &name)?;
        let status = operations::rebuild(state, &command, &name).await?;
        projection(state, status).await
    }
}
