//! The job.

use async_graphql::{Context, ID, Object, dataloader::DataLoader};
use serde_json::Value;
use toolroom_domain::job::Status;

use super::parts::{
    GenerationSummary, JobAttempt, JobError, JobKind, JobLog, JobProgress, JobStatus, Receipt,
    ToolFile, ToolGenerationFailure,
};
use crate::{
    error::ApiError,
    graphql::{
        app,
        connection::{Listed, Scope, nothing},
        scalar::{DateTime, Position},
        tool::{
            ToolObject,
            loader::{ToolKey, ToolLoader},
            object::int,
        },
    },
    service::jobs::{self, JobView},
};

/// One run of a tool.
pub struct JobObject(pub JobView);

/// One run of a tool.
#[Object(name = "Job")]
impl JobObject {
    /// The job's id, `job_…`.
    async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// What it is for.
    async fn kind(&self) -> JobKind {
        JobKind::Execution
    }

    /// Where it stands.
    async fn status(&self) -> JobStatus {
        self.0.status.into()
    }

    /// The tool as it is now; `toolVersion` says which version ran.
    async fn tool(&self, ctx: &Context<'_>) -> Result<Option<ToolObject>, ApiError> {
        let loader = ctx.data_unchecked::<DataLoader<ToolLoader>>();
        let key = ToolKey(self.0.workspace, self.0.tool.id);
        Ok(loader.load_one(key).await?.map(ToolObject))
    }

    /// Which version of the tool ran.
    async fn tool_version(&self) -> Option<i32> {
        Some(int(self.0.tool.version))
    }

    /// Which of the tool's actions.
    async fn action(&self) -> Option<&str> {
        self.0.action.as_deref()
    }

    /// What the tool was given; `erased` when its key is gone.
    async fn input(&self, ctx: &Context<'_>) -> Result<Value, ApiError> {
        jobs::input(app(ctx), &self.0).await
    }

    /// What the tool gave back; `erased` when its key is gone.
    async fn output(&self, ctx: &Context<'_>) -> Result<Option<Value>, ApiError> {
        jobs::output(app(ctx), &self.0).await
    }

    /// Why it failed.
    async fn error(&self) -> Option<JobError> {
        Some(JobError {
            workspace: self.0.workspace,
            job: self.0.id,
            failure: self.0.error.clone()?,
        })
    }

    /// Whether it is a rehearsal.
    async fn is_test(&self) -> bool {
        self.0.is_test
    }

    /// Each start and how it ended, oldest first.
    async fn attempts(&self) -> Vec<JobAttempt> {
        let attempts = self.0.attempts.iter().cloned();
        attempts
            .map(|attempt| JobAttempt {
                workspace: self.0.workspace,
                job: self.0.id,
                attempt,
            })
            .collect()
    }

    /// How far it is.
    async fn progress(&self) -> JobProgress {
        let is = |status| i32::from(self.0.status == status);
        JobProgress {
            total: 1,
            completed: is(Status::Succeeded),
            failed: is(Status::Failed),
            in_progress: is(Status::Running),
            current_tool: None,
            step: self.0.progress.step.clone(),
            percentage: self.0.progress.percentage,
        }
    }

    /// What the run wrote, line by line; no kind of tool of this version writes any.
    async fn logs(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(100)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Listed<JobLog>, ApiError> {
        Scope::new(ctx, "logs", &self.0.id, first, 100, after.as_deref())?;
        Ok(nothing())
    }

    /// What the run wrote to its standard output, for tools that have one.
    async fn stdout(&self) -> Option<&str> {
        None
    }

    /// What the run wrote to its standard error, for tools that have one.
    async fn stderr(&self) -> Option<&str> {
        None
    }

    /// With which code the run's process ended, for tools that have one.
    async fn exit_code(&self) -> Option<i32> {
        None
    }

    /// Each call that went out: where, when, its digest and status.
    async fn receipts(&self) -> Vec<Receipt> {
        Vec::new()
    }

    /// What the sender noted on it.
    async fn metadata(&self) -> Option<Value> {
        None
    }

    /// Of a generation: how many tools it was asked for, and made.
    async fn summary(&self) -> Option<GenerationSummary> {
        None
    }

    /// Of a generation: the files it made.
    async fn tool_files(&self) -> Vec<ToolFile> {
        Vec::new()
    }

    /// Of a generation: the requirements from which no tool was made.
    async fn failures(&self) -> Vec<ToolGenerationFailure> {
        Vec::new()
    }

    /// When it was requested.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When it last changed.
    async fn updated_at(&self) -> DateTime {
        self.0.updated_at.into()
    }

    /// When its first attempt began.
    async fn started_at(&self) -> Option<DateTime> {
        self.0.started_at.map(DateTime)
    }

    /// When it ended.
    async fn finished_at(&self) -> Option<DateTime> {
        self.0.finished_at.map(DateTime)
    }

    /// How long the last call took.
    async fn execution_time_ms(&self) -> Option<f64> {
        // Exact up to 285 years.
        #[allow(clippy::cast_precision_loss)]
        self.0.duration_us.map(|us| us as f64 / 1000.0)
    }

    /// Where its last event is in the global log.
    async fn last_event(&self, ctx: &Context<'_>) -> Result<Position, ApiError> {
        jobs::last_event(app(ctx), &self.0).await.map(Position)
    }
}
