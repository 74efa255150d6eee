//! What an action's run came to: the contract's `ToolActionResult`.

use serde::Serialize;
use serde_json::Value;

use crate::{
    error::ApiError,
    service::{
        jobs::{JobView, console, log, why_nothing},
        tool_health::Status,
    },
    state::AppState,
};

/// The contract's `ToolActionResult`.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolActionResult {
    stdout: String,
    stderr: String,
    exit_code: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    health_status: HealthStatus,
}

/// How the tool has gone of late, and how long this run took.
#[derive(Debug, PartialEq, Serialize)]
struct HealthStatus {
    status: &'static str,
    /// In milliseconds.
    latency: f64,
}

impl ToolActionResult {
    /// What a job came to. `data` is what is asked for of what it gave; none where it gave nothing.
    ///
    /// # Errors
    /// When the job's lines cannot be read.
    pub(super) async fn of(
        state: &AppState,
        job: &JobView,
        health: Status,
        data: Option<Value>,
    ) -> Result<Self, ApiError> {
        let has_lines = job.attempts.iter().any(|attempt| !attempt.lines.is_empty());
        let lines = match has_lines {
            true => log::read(state, job.workspace, job.id, None).await?,
            false => Vec::new(),
        };
        let stdout = console::stdout(state, job, &lines).await?;
        let stderr = console::stderr(job, &lines);
        // One that is waited for no longer has not ended well, as far as its caller is told.
        let unended = i32::from(data.is_none());
        Ok(Self {
            stdout: stdout.unwrap_or_default(),
            stderr: match (stderr, &data) {
                (Some(told), _) => told,
                (None, Some(_)) => String::new(),
                (None, None) => why_nothing(job).1,
            },
            exit_code: console::exit_code(job).unwrap_or(unended),
            data,
            health_status: HealthStatus {
                status: health.as_str(),
                latency: job.duration_us.unwrap_or(0) as f64 / 1_000.0,
            },
        })
    }
}
