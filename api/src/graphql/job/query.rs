//! Finding jobs.

use async_graphql::{Context, ID, InputObject, Object};
use serde::Serialize;
use toolroom_domain::{ErrorCode, JobId, ToolId, job::Status};
use toolroom_projections::jobs::{self as read_model, JobKey, ListJobs};

use super::{
    object::{JobObject, PageTools, logs},
    parts::{JobKind, JobLog, JobStatus, job_id},
};
use crate::{
    error::ApiError,
    graphql::{
        app,
        connection::{Listed, Scope, cost, nothing},
        request,
        scalar::DateTime,
    },
    service::{
        jobs::{self, JobView},
        tools,
    },
    state::{AppState, RequestContext},
};

/// Which jobs. What is left out does not restrict.
#[derive(Clone, Debug, Default, InputObject)]
pub struct JobFilter {
    /// One of these.
    status: Option<Vec<JobStatus>>,
    /// What they are for.
    kind: Option<JobKind>,
    /// What they run: a tool's id, number or name.
    tool_id: Option<ID>,
    /// Of which type that is, whatever its case.
    tool_type: Option<String>,
    /// By which schedule they came; without schedules, by none.
    schedule_id: Option<ID>,
    /// The session noted in their metadata; executions carry none.
    session_id: Option<String>,
    /// The client noted in their metadata; executions carry none.
    client_id: Option<String>,
    /// Requested at or after this moment.
    since: Option<DateTime>,
}

/// A filter in the read model's terms.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) filter: read_model::JobFilter,
}

impl JobFilter {
    /// The read model's filter; none when no job can pass.
    pub(super) async fn resolve(
        self,
        state: &AppState,
        sender: &RequestContext,
    ) -> Result<Option<Wanted>, ApiError> {
        let of_none = self.kind == Some(JobKind::Generation)
            || self.schedule_id.is_some()
            || self.session_id.is_some()
            || self.client_id.is_some();
        if of_none {
            return Ok(None);
        }
        let tool = match &self.tool_id {
            None => None,
            Some(text) => match tools::resolve(state, sender, text).await {
                Ok(tool) => Some(tool.id),
                Err(error) if error.code == ErrorCode::NotFound => return Ok(None),
                Err(error) => return Err(error),
            },
        };
        let status = self.status.unwrap_or_default();
        Ok(Some(Wanted {
            filter: read_model::JobFilter {
                status: status.into_iter().map(Status::from).collect(),
                tool,
                tool_type: self.tool_type.map(|text| text.to_ascii_uppercase()),
                since: self.since.map(|since| since.0),
            },
        }))
    }
}

impl Wanted {
    /// Whether a job passes: the rule of the read model's own list.
    pub(super) fn passes(&self, job: &JobView) -> bool {
        let filter = &self.filter;
        (filter.status.is_empty() || filter.status.contains(&job.status))
            && filter.tool.is_none_or(|tool| tool == job.tool.id)
            && filter
                .tool_type
                .as_deref()
                .is_none_or(|wanted| wanted == job.tool.type_name())
            && filter.since.is_none_or(|since| since <= job.created_at)
    }
}

/// What a cursor of the list is bound to.
#[derive(Serialize)]
struct Bound<'a> {
    status: &'a [Status],
    tool: Option<ToolId>,
    tool_type: Option<&'a str>,
    since: Option<jiff::Timestamp>,
}

/// Finding jobs.
#[derive(Default)]
pub struct JobQuery;

#[Object]
impl JobQuery {
    /// A job by its id.
    async fn job(&self, ctx: &Context<'_>, id: ID) -> Result<Option<JobObject>, ApiError> {
        let id = job_id("id", &id)?;
        match jobs::get(app(ctx), request(ctx)?, id).await {
            Ok(job) => Ok(Some(JobObject::alone(job))),
            Err(error) if error.code == ErrorCode::JobNotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the runs of a job wrote and the runtime decided, line by line.
    async fn job_logs(
        &self,
        ctx: &Context<'_>,
        job_id: ID,
        #[graphql(default_with = "Some(100)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Listed<JobLog>, ApiError> {
        let job = self::job_id("jobId", &job_id)?;
        logs(ctx, request(ctx)?.workspace, job, first, after.as_deref()).await
    }

    /// The jobs of the workspace, the newest first.
    #[graphql(complexity = "cost(first, 20, child_complexity)")]
    async fn jobs(
        &self,
        ctx: &Context<'_>,
        filter: Option<JobFilter>,
        #[graphql(default_with = "Some(20)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Listed<JobObject>, ApiError> {
        let (state, sender) = (app(ctx), request(ctx)?);
        let wanted = filter.unwrap_or_default().resolve(state, sender).await?;
        let Some(Wanted { filter }) = wanted else {
            return Ok(nothing());
        };
        let bound = Bound {
            status: &filter.status,
            tool: filter.tool,
            tool_type: filter.tool_type.as_deref(),
            since: filter.since,
        };
        let scope = Scope::new(ctx, "jobs", &bound, first, 20, after.as_deref())?;
        let page = scope.page(parse_key)?;
        let page = jobs::list(state, sender, &ListJobs { filter, page }).await?;
        let tools = PageTools::of(&page.rows);
        Ok(scope.connection(
            page,
            |job| format!("{},{}", job.created_at, job.id),
            |job| JobObject::among(job, &tools),
        ))
    }
}

fn parse_key(key: &str) -> Option<JobKey> {
    let (created_at, id) = key.split_once(',')?;
    Some(JobKey {
        created_at: created_at.parse().ok()?,
        id: id.parse::<JobId>().ok()?,
    })
}
