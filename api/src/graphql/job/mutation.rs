//! Running and ending jobs.

use async_graphql::{Context, ID, InputObject, Object};
use serde_json::Value;
use toolroom_domain::port::OutputMapping;

use super::{
    object::{JobObject, PageTools},
    parts::job_id,
};
use crate::{
    error::ApiError,
    graphql::{StillThere, app, request, scalar::DateTime, tool::mutation::number},
    service::jobs::{self, Call, Submission, ToolSelector},
    state::AppState,
};

/// A tool to run in the background; as the arguments of `submitJob`.
#[derive(InputObject)]
pub struct SubmitJobInput {
    /// Which tool: its id, number or name.
    tool_id: Option<ID>,
    /// Which tool, by name.
    tool_name: Option<String>,
    /// Which version; the newest if left out.
    tool_version: Option<i32>,
    /// Which of the tool's actions.
    action: Option<String>,
    /// What the tool is given.
    input: Value,
    /// Not before this moment.
    run_at: Option<DateTime>,
    /// Higher runs first.
    #[graphql(default = 0)]
    priority: i32,
}

impl SubmitJobInput {
    fn submission(self, index: usize) -> Result<Submission, ApiError> {
        let here = |error: ApiError| error.under(&format!("jobs.{index}"));
        let version = self.tool_version.map(|v| number("toolVersion", v));
        Ok(Submission {
            call: Call {
                tool: selector(self.tool_id, self.tool_name).map_err(here)?,
                version: version.transpose().map_err(here)?,
                action: self.action,
                input: self.input,
                is_test: false,
            },
            run_at: self.run_at.map(|at| at.0),
            priority: self.priority,
        })
    }
}

/// Running and ending jobs.
#[derive(Default)]
pub struct JobMutation;

#[Object(guard = "StillThere")]
impl JobMutation {
    /// Run a tool and wait for its end; the job it became is the answer. After timeoutMs (30 s if
    /// left out, 300 s at most) the job is returned as it is, still RUNNING; it is not cancelled.
    /// `outputMapping` says which parts of the output are answered, and under which names, such as
    /// `{"id": "$.message.ts"}`; the job keeps all of it.
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
        output_mapping: Option<Value>,
    ) -> Result<JobObject, ApiError> {
        let (state, sender) = (app(ctx), request(ctx)?);
        let mapping = output_mapping
            .map(|sent| mapping(state, sent))
            .transpose()?;
        let call = Call {
            tool: selector(tool_id, tool_name)?,
            version: tool_version.map(|v| number("toolVersion", v)).transpose()?,
            action,
            input,
            is_test: is_test.unwrap_or(false),
        };
        // What is out of bounds below is refused as what is out of bounds above.
        let timeout_ms = timeout_ms.map(|ms| u64::try_from(ms).unwrap_or_default());
        let job = jobs::execute(state, sender, call, timeout_ms, command_id.as_deref());
        Ok(JobObject::alone(job.await?).mapped(mapping))
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
        let submission = Submission {
            call,
            run_at: run_at.map(|at| at.0),
            priority: priority.unwrap_or(0),
        };
        let job = jobs::submit(app(ctx), request(ctx)?, submission, command_id.as_deref());
        job.await.map(JobObject::alone)
    }

    /// Run many tools in the background: all of them, or none if one is not accepted. The answer has
    /// their order. At most 500.
    async fn submit_jobs(
        &self,
        ctx: &Context<'_>,
        jobs: Vec<SubmitJobInput>,
        command_id: Option<String>,
    ) -> Result<Vec<JobObject>, ApiError> {
        let numbered = jobs.into_iter().enumerate();
        let submissions = numbered
            .map(|(index, job)| job.submission(index))
            .collect::<Result<_, _>>()?;
        let (state, sender) = (app(ctx), request(ctx)?);
        let jobs = jobs::submit_all(state, sender, submissions, command_id.as_deref()).await?;
        let page = PageTools::of(&jobs);
        let among = |job| JobObject::among(job, &page);
        Ok(jobs.into_iter().map(among).collect())
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

    /// Run a past job again, with the tool version and the input that it had then. With `recorded`,
    /// nothing is run or sent: the answer of then is checked against the version's output schema
    /// once more, and is the answer again.
    async fn rerun_job(
        &self,
        ctx: &Context<'_>,
        id: ID,
        #[graphql(default_with = "Some(false)")] recorded: Option<bool>,
        command_id: Option<String>,
    ) -> Result<JobObject, ApiError> {
        let id = job_id("id", &id)?;
        let recorded = recorded.unwrap_or(false);
        let (state, sender) = (app(ctx), request(ctx)?);
        let job = jobs::rerun(state, sender, id, recorded, command_id.as_deref());
        job.await.map(JobObject::alone)
    }
}

fn mapping(state: &AppState, sent: Value) -> Result<OutputMapping, ApiError> {
    let Value::Object(entries) = sent else {
        return Err(ApiError::invalid_field(
            "outputMapping",
            "must be an object",
        ));
    };
    jobs::read_mapping(state, entries)
        .map_err(|found| ApiError::invalid(found).under("outputMapping"))
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
