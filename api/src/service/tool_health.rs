//! How tools are doing: by their last runs, and by whether calls are let through to them.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use toolroom_domain::{ToolId, WorkspaceId};
use toolroom_projections::{
    catalog::ToolRow,
    jobs::query::{RecentRuns, recent_of_tools},
};

use crate::{error::ApiError, state::AppState};

/// Runs of longer ago say nothing of how a tool is doing.
const WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// How a tool's runs have gone of late, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Fewer than one in ten of its last runs failed by its fault, or none was run within a day.
    Healthy,
    /// At least one in ten did.
    Degraded,
    /// At least half of them did, or calls are not let through.
    Failing,
}

impl Status {
    /// The word as `tool-actions.md` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Failing => "failing",
        }
    }
}

/// Whether calls are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// They are.
    Closed,
    /// They are not.
    Open,
    /// One is, to see how it goes.
    HalfOpen,
}

/// How a tool is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Health {
    /// In one word.
    pub status: Status,
    /// How long half of its last runs took at the most, in milliseconds.
    pub latency_ms: Option<f64>,
    /// Whether calls are let through.
    pub circuit: Circuit,
}

/// How the last runs of tools went, by tool; those without any are left out.
///
/// # Errors
/// When the database does not answer.
pub async fn recent(
    state: &AppState,
    workspace: WorkspaceId,
    tools: &[ToolId],
) -> Result<HashMap<ToolId, RecentRuns>, ApiError> {
    let now = state.clock.now();
    let since = now.checked_sub(WINDOW).unwrap_or(now);
    let reads = state.log.database.reads();
    let runs = recent_of_tools(reads, workspace, tools, since).await?;
    Ok(runs.into_iter().map(|runs| (runs.tool, runs)).collect())
}

/// How a tool is doing.
///
/// # Errors
/// When the database does not answer.
pub async fn of(state: &AppState, tool: &ToolRow) -> Result<Health, ApiError> {
    let recent = recent(state, tool.workspace, &[tool.id]).await?;
    let now = state.clock.now();
    Ok(judge(recent.get(&tool.id), tool.circuit_open_until, now))
}

/// Judges a tool by its last runs, and by from when on a call may try a circuit that is not closed.
pub fn judge(
    recent: Option<&RecentRuns>,
    circuit_open_until: Option<Timestamp>,
    now: Timestamp,
) -> Health {
    let circuit = match circuit_open_until {
        None => Circuit::Closed,
        Some(until) if until > now => Circuit::Open,
        Some(_) => Circuit::HalfOpen,
    };
    let (failed, ended) = recent.map_or((0, 0), |runs| (runs.failed, runs.ended));
    let status = match circuit {
        Circuit::Closed if failed == 0 => Status::Healthy,
        Circuit::Closed if failed * 2 >= ended => Status::Failing,
        Circuit::Closed if failed * 10 >= ended => Status::Degraded,
        Circuit::Closed => Status::Healthy,
        Circuit::Open | Circuit::HalfOpen => Status::Failing,
    };
    Health {
        status,
        latency_ms: recent.and_then(|runs| runs.p50_ms),
        circuit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(ended: i64, failed: i64) -> RecentRuns {
        RecentRuns {
            tool: ToolId::from_uuid(uuid::Uuid::nil()),
            ended,
            failed,
            p50_ms: Some(12.5),
        }
    }

    #[test]
    fn a_tool_is_as_its_last_runs_and_its_circuit() {
        let now = Timestamp::UNIX_EPOCH;
        let status = |ended, failed| judge(Some(&runs(ended, failed)), None, now).status;
        assert_eq!(judge(None, None, now).status, Status::Healthy);
        assert_eq!(status(20, 1), Status::Healthy);
        assert_eq!(status(20, 2), Status::Degraded);
        assert_eq!(status(20, 10), Status::Failing);
        let open = judge(Some(&runs(20, 0)), Some(Timestamp::MAX), now);
        assert_eq!(
            (open.status, open.circuit),
            (Status::Failing, Circuit::Open)
        );
        assert_eq!(open.latency_ms, Some(12.5));
        let tried = judge(None, Some(now), now);
        assert_eq!(tried.circuit, Circuit::HalfOpen);
    }
}
