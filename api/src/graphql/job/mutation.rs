//! Running and ending jobs.

use async_graphql::{Context, ID, Object};
use serde_json::Value;

use super::{object::JobObject, parts::job_id};
use crate::{
    error::ApiError,
    graphql::{StillThere, app, request, scalar::DateTime, tool::mutation::number},
    service::jobs::{self, Call, ToolSelector},
};

/// Running and ending jobs.
#[derive(Default)]
pub struct JobMutation;

#[Object(guard = "StillThere")]
impl JobMutation {
    /// Run a tool and wait for its end; the job it became is the answer. After timeoutMs (30 s if
    /// left out, 300 s at most) the job is returned as it is, still RUNNING; it is not cancelled.
    #[allow(clippy::too_many_arguments)]
    async fn execute_tool(
        &self,
        ctx: &Context<'_>,
        tool_id: Option<ID>,
        tool_name: Option<String>,
        tool_version: Option<i32>,
        action: Option<String>,
        input: Value,
        #[graphql(default_with = "Some(false)")] is_test: Option<bool>,
        timeout_ms: Option<i32>,
        command_id: Option<String>,
    ) -> Result<JobObject, ApiError> {
        let call = Call {
            tool: selector(tool_id, tool_name)?,
            version: tool_version.map(|v| number("toolVersion", v)).transpose()?,
            action,
            input,
            is_test: is_test.unwrap_or(false),
        };
        // What is out of bounds below is refused as what is out of bounds above.
        let timeout_ms = timeout_ms.map(|ms| u64::try_from(ms).unwrap_or_default());
        let (state, sender) = (app(ctx), request(ctx)?);
        let job = jobs::execute(state, sender, call, timeout_ms, command_id.as_deref());
        job.await.map(JobObject::alone)
    }

    /// Run a tool in the background.
    #[allow(clippy::too_many_arguments)]
    async fn submit_job(
        &self,
        ctx: &Context<'_>,
        tool_id: Option<ID>,
        tool_name: Option<String>,
        tool_version: Option<i32>,
        action: Option<String>,
        input: Value,
        run_at: Option<DateTime>,
        #[graphql(default_with = "Some(0)")] priority: Option<i32>,
        command_id: Option<String>,
    ) -> Result<JobObject, ApiError> {
        let call = Call {
            tool: selector(tool_id, tool_name)?,
            version: tool_version.map(|v| number("toolVersion", v)).transpose()?,
            action,
            input,
            is_test: false,
        };
        let run_at = run_at.map(|at| at.0);
        let priority = priority.unwrap_or(0);
        let (state, sender) = (app(ctx), request(ctx)?);
        let job = jobs::submit(state, sender, call, run_at, priority, command_id.as_deref());
        job.await.map(JobObject::alone)
    }

    /// End a job, running or not.
    async fn cancel_job(
        &self,
        ctx: &Context<'_>,
        id: ID,
        command_id: Option<String>,
    ) -> Result<JobObject, ApiError> {
        let id = job_id("id", &id)?;
        let job = jobs::cancel(app(ctx), request(ctx)?, id, command_id.as_deref());
        job.await.map(JobObject::alone)
    }

    /// Try a failed job again, with the same version and input.
    async fn retry_job(
        &self,
        ctx: &Context<'_>,
        id: ID,
        command_id: Option<String>,
    ) -> Result<JobObject, ApiError> {
        let id = job_id("id", &id)?;
        let job = jobs::retry(app(ctx), request(ctx)?, id, command_id.as_deref());
        job.await.map(JobObject::alone)
    }

    /// Run a past job again, with the tool version and the input that it had then.
    async fn rerun_job(
        &self,
        ctx: &Context<'_>,
        id: ID,
        command_id: Option<String>,
    ) -> Result<JobObject, ApiError> {
        let id = job_id("id", &id)?;
        let job = jobs::rerun(app(ctx), request(ctx)?, id, command_id.as_deref());
        job.await.map(JobObject::alone)
    }
}

fn selector(id: Option<ID>, name: Option<String>) -> Result<ToolSelector, ApiError> {
    match (id, name) {
        (Some(id), None) => Ok(ToolSelector::Any(id.0)),
        (None, Some(name)) => Ok(ToolSelector::Name(name)),
        _ => Err(ApiError::invalid_field(
            "toolId",
            "give either `toolId` or `toolName`",
        )),
    }
}
