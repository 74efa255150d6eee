//! Whether a tool reaches what it calls.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use toolroom_domain::{
    JobId,
    connector::TEST_CONNECTION,
    job::{Failure, Status},
    port::RunRequest,
    tool::{Definition, PolicyOverrides},
};
use toolroom_eventlog::{ids, vault::Opened};

use crate::{
    error::ApiError,
    service::{
        jobs::{self, JobView, LastEvent},
        quota::within_quota,
        settle::after_run,
    },
    state::{AppState, RequestContext},
};

/// How long the answer is waited for: longer than an honest service takes to refuse a credential.
const WAIT: Duration = Duration::from_secs(30);

/// What a test found.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionTest {
    /// Whether nothing is wrong.
    pub success: bool,
    /// What was found.
    pub message: String,
    /// What the other side said, or what kind of failure it was.
    pub details: Option<Value>,
}

/// Makes the harmless call of a tool, active or not: as a job, so that the log tells who used its
/// credentials and what went out.
///
/// # Errors
/// When there is no such tool, or the job cannot be requested.
pub async fn test_connection(
    state: &AppState,
    ctx: &RequestContext,
    tool: &str,
) -> Result<ConnectionTest, ApiError> {
    let tool = super::resolve(state, ctx, tool).await?;
    let request = RunRequest {
        job: JobId::from_uuid(ids::new_uuid()),
        workspace: ctx.workspace,
        tool: tool.id,
        version: tool.version,
        definition: Arc::new(once(&tool.definition)),
        action: Some(TEST_CONNECTION.to_owned()),
        input: json!({}),
        is_test: true,
        priority: 0,
        actor: ctx.actor.clone(),
        named: None,
        correlation_id: ctx.request_id.clone(),
        ip: ctx.ip.clone(),
        user_agent: ctx.user_agent.clone(),
    };
    let run = async { Ok(state.runner.run(request, WAIT).await?) };
    let outcome = within_quota(state, ctx.workspace, run, |_| true).await?;
    after_run(state, ctx, outcome.global_seq).await?;
    let job = JobView::of_aggregate(&outcome.job, LastEvent::Written(outcome.global_seq))?;
    told(state, ctx, &job).await
}

/// The same without repetition: whoever tests wants to hear of the first failure.
fn once(definition: &Definition) -> Definition {
    Definition {
        policy: PolicyOverrides {
            max_attempts: Some(1),
            ..definition.policy
        },
        ..definition.clone()
    }
}

async fn told(
    state: &AppState,
    ctx: &RequestContext,
    job: &JobView,
) -> Result<ConnectionTest, ApiError> {
    if let Some(failure) = &job.error {
        return Ok(failed(failure, job));
    }
    if job.status != Status::Succeeded {
        let seconds = WAIT.as_secs();
        return Ok(ConnectionTest {
            success: false,
            message: format!("there was no answer within {seconds} s"),
            details: Some(json!({ "jobId": job.id.to_string() })),
        });
    }
    let output = match &job.output {
        None => Value::Null,
        Some(sealed) => match jobs::open(state, ctx.workspace, job.id, "output", sealed).await? {
            Opened::Value(output) => output,
            Opened::Erased => Value::Null,
        },
    };
    Ok(ConnectionTest {
        success: output["success"] == true,
        message: output["message"].as_str().unwrap_or_default().to_owned(),
        details: output.get("details").cloned(),
    })
}

fn failed(failure: &Failure, job: &JobView) -> ConnectionTest {
    ConnectionTest {
        success: false,
        message: failure.message.clone(),
        details: Some(json!({
            "code": failure.code,
            "category": failure.category,
            "retryable": failure.retryable,
            "jobId": job.id.to_string(),
        })),
    }
}
