//! Read your own writes: how commands and reads wait for the read models.

use jiff::Timestamp;

use crate::{
    error::ApiError,
    state::{AppState, READ_YOUR_WRITES, RequestContext},
};

/// The follower that keeps the catalogue.
pub const CATALOG: &str = "catalog";
/// The follower that keeps the list of jobs.
pub const JOBS: &str = "jobs";
/// The follower that counts runs.
pub const STATS: &str = "stats";
/// The follower that counts the runs that are asked for.
pub const USAGE: &str = "usage";
/// The follower that keeps the audit's index.
pub const AUDIT: &str = "audit";
/// The follower that keeps the list of workspaces.
pub const WORKSPACES: &str = "workspaces";
/// The follower that keeps the list of members.
pub const MEMBERS: &str = "members";
/// The follower that keeps the list of API keys.
pub const API_KEYS: &str = "api_keys";

/// The follower that keeps the list of secrets.
pub const SECRETS: &str = "secrets";

/// A moment as read models keep it, to the microsecond: what a command answers is what a read then
/// finds.
pub(super) fn as_kept(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

/// Waits until `follower` has what a command wrote; says where that is. None when it takes longer
/// than [`READ_YOUR_WRITES`], which is the read model's trouble, not the command's.
///
/// # Errors
/// When the database does not answer.
pub async fn after_command(
    state: &AppState,
    ctx: &RequestContext,
    global_seq: Option<i64>,
    follower: &str,
) -> Result<Option<i64>, ApiError> {
    let Some(global_seq) = global_seq else {
        return Ok(None);
    };
    let deadline = tokio::time::Instant::now() + READ_YOUR_WRITES;
    let written = state.log.feed.position_of(global_seq, READ_YOUR_WRITES);
    let Some(position) = written.await? else {
        return Ok(None);
    };
    ctx.written.note(state.position(position).await?);
    let left = deadline.saturating_duration_since(tokio::time::Instant::now());
    let there = state.projections.wait_for(follower, position, left).await?;
    Ok(there.then_some(position))
}

/// As [`after_command`] for a run, on the hot path or in the background, whose answer needs no read
/// model and no place in the log. Where there is no other node, the next read waits instead of the run: who reads sees the
/// same, and who only runs need not wait.
///
/// # Errors
/// When the database does not answer.
pub async fn after_run(
    state: &AppState,
    ctx: &RequestContext,
    global_seq: i64,
) -> Result<(), ApiError> {
    if state.log.other_nodes {
        after_command(state, ctx, Some(global_seq), JOBS).await?;
    }
    Ok(())
}

/// Waits until `follower` is as far as the request asks for, and has what runs left for readers to
/// wait for.
///
/// # Errors
/// When it does not come that far in time, when the position is of a log that is no more, or when
/// the database does not answer.
pub async fn before_read(
    state: &AppState,
    ctx: &RequestContext,
    follower: &str,
) -> Result<(), ApiError> {
    if follower == JOBS
        && !state.log.other_nodes
        && let Some(position) = state.log.placed(READ_YOUR_WRITES).await?
    {
        let wait = state
            .projections
            .wait_for(follower, position, READ_YOUR_WRITES);
        wait.await?;
    }
    let Some(wanted) = ctx.min_position else {
        return Ok(());
    };
    let position = wanted.value_in(state.epoch().await?)?;
    if state
        .projections
        .wait_for(follower, position, READ_YOUR_WRITES)
        .await?
    {
        return Ok(());
    }
    Err(ApiError::not_yet(format!(
        "the read model has not reached position {wanted} yet; try again in a moment"
    )))
}
