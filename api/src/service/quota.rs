//! How much a workspace may run, and what of it a run takes.

use toolroom_domain::{ErrorCode, WorkspaceId};

use crate::{error::ApiError, limit, state::AppState};

/// How much a workspace may run, and how much it has, in the hour and on the day that have begun, UTC.
/// A limit of `u32::MAX` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Runs an hour.
    pub hourly_limit: u32,
    /// Runs counted in this hour.
    pub hourly_used: u32,
    /// Runs a day.
    pub daily_limit: u32,
    /// Runs counted today.
    pub daily_used: u32,
}

impl From<limit::Quota> for Quota {
    fn from(quota: limit::Quota) -> Self {
        let shown = |runs: u64| u32::try_from(runs).unwrap_or(u32::MAX);
        Self {
            hourly_limit: quota.hourly_limit.unwrap_or(u32::MAX),
            hourly_used: shown(quota.hourly_used),
            daily_limit: quota.daily_limit.unwrap_or(u32::MAX),
            daily_used: shown(quota.daily_used),
        }
    }
}

/// The quota of a workspace, as far as the log's count has come.
///
/// # Errors
/// When the database does not answer.
pub async fn quota(state: &AppState, workspace: WorkspaceId) -> Result<Quota, ApiError> {
    state.limits.quota(workspace).await.map(Quota::from)
}

/// Has a run asked for, once the workspace's plan has granted it. `is_new` says whether one was.
///
/// # Errors
/// `QUOTA_EXCEEDED`, and then nothing was asked for; else what `ask` says.
pub(super) async fn within_quota<T>(
    state: &AppState,
    workspace: WorkspaceId,
    ask: impl Future<Output = Result<T, ApiError>>,
    is_new: impl FnOnce(&T) -> bool,
) -> Result<T, ApiError> {
    let run = state.limits.reserve(workspace).await?;
    let asked = ask.await;
    let was_asked = match &asked {
        Ok(outcome) => is_new(outcome),
        // A fault of ours may have come after the request.
        Err(error) => error.code == ErrorCode::InternalError,
    };
    if !was_asked {
        run.give_back();
    }
    asked
}
