//! What an action's run came to: the contract's `ToolActionResult`.

use serde::Serialize;
use serde_json::Value;

use crate::service::{jobs::JobView, tool_health::Status};

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

/// What a run gave, and what of it is asked for.
pub(super) struct Given {
    pub(super) output: Value,
    pub(super) data: Value,
}

impl ToolActionResult {
    /// What a job came to: what it gave, or why it gave nothing.
    pub(super) fn new(job: &JobView, health: Status, outcome: Result<Given, &str>) -> Self {
        let ended = job.attempts.last().and_then(|attempt| attempt.exit_code);
        let health_status = HealthStatus {
            status: health.as_str(),
            latency: job.duration_us.unwrap_or(0) as f64 / 1_000.0,
        };
        match outcome {
            Ok(Given { output, data }) => Self {
                stdout: text(output),
                stderr: String::new(),
                exit_code: ended.unwrap_or(0),
                data: Some(data),
                health_status,
            },
            Err(why) => Self {
                stdout: String::new(),
                stderr: why.to_owned(),
                exit_code: ended.unwrap_or(1),
                data: None,
                health_status,
            },
        }
    }
}

/// An output as a process would print it: a text as it is, anything else as JSON.
fn text(output: Value) -> String {
    match output {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
