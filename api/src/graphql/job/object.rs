//! The job.

use std::{collections::HashMap, sync::Arc};

use async_graphql::{Context, ID, Object, dataloader::DataLoader};
use serde_json::Value;
use tokio::sync::OnceCell;
use toolroom_domain::{JobId, ToolId, WorkspaceId, job::Status, port::OutputMapping};
use toolroom_projections::{
    Page,
    catalog::{self, ToolRow},
};

use super::parts::{
    GenerationSummary, JobAttempt, JobError, JobKind, JobLog, JobProgress, JobStatus, Receipt,
    ToolFile, ToolGenerationFailure,
};
use super::values::{JobValueRef, PageValues};
use crate::{
    error::ApiError,
    graphql::{
        app,
        connection::{Listed, Scope},
        scalar::{DateTime, Position},
        told,
        tool::{
            ToolObject,
            loader::{ToolKey, ToolLoader},
            object::int,
        },
    },
    service::jobs::{self, Field, JobView, Told, console, log},
    state::AppState,
};

/// The tools of all jobs of a page: read together when the first of them is asked for. A loader
/// waits a moment for others to ask, and that moment may pass before all of a page have. So with what
/// was too large for the log of what they were given and gave back.
pub(super) struct PageTools {
    ids: Vec<ToolId>,
    rows: OnceCell<HashMap<ToolId, ToolRow>>,
    inputs: PageValues,
    outputs: PageValues,
}

impl PageTools {
    pub(super) fn of(jobs: &[JobView]) -> Arc<Self> {
        let mut ids: Vec<_> = jobs.iter().map(|job| job.tool.id).collect();
        ids.sort_unstable();
        ids.dedup();
        Arc::new(Self {
            ids,
            rows: OnceCell::new(),
            inputs: PageValues::of(jobs, Field::Input),
            outputs: PageValues::of(jobs, Field::Output),
        })
    }

    async fn get(&self, state: &AppState, job: &JobView) -> Result<Option<ToolRow>, ApiError> {
        let reads = state.log.database.reads();
        let rows = self.rows.get_or_try_init(async || {
            let rows = catalog::query::by_ids(reads, job.workspace, &self.ids).await?;
            Ok::<_, ApiError>(rows.into_iter().map(|row| (row.id, row)).collect())
        });
        Ok(rows.await?.get(&job.tool.id).cloned())
    }
}

/// One run of a tool.
pub struct JobObject {
    job: JobView,
    page: Option<Arc<PageTools>>,
    /// Read once for all that shows them.
    lines: OnceCell<Vec<log::Entry>>,
    /// What is told of its values, where that is not the request's to bound.
    told: Option<Told>,
    /// What of its output its caller wants.
    mapping: Option<OutputMapping>,
}

impl JobObject {
    /// A job on its own.
    pub(super) fn alone(job: JobView) -> Self {
        Self {
            job,
            page: None,
            lines: OnceCell::new(),
            told: None,
            mapping: None,
        }
    }

    /// A job as it changed: each change is an answer of its own.
    pub(super) fn changed(job: JobView) -> Self {
        Self {
            told: Some(Told::default()),
            ..Self::alone(job)
        }
    }

    /// The same job, its output as this mapping has it.
    pub(super) fn mapped(self, mapping: Option<OutputMapping>) -> Self {
        Self { mapping, ..self }
    }

    /// A job of a page.
    pub(super) fn among(job: JobView, page: &Arc<PageTools>) -> Self {
        Self {
            job,
            page: Some(Arc::clone(page)),
            lines: OnceCell::new(),
            told: None,
            mapping: None,
        }
    }

    /// Before a value is opened; each time that it is told, under whatever name.
    fn take(&self, ctx: &Context<'_>, field: Field) -> Result<(), ApiError> {
        let told = self.told.as_ref().unwrap_or_else(|| told(ctx));
        told.take(field.of(&self.job))
    }

    async fn lines(&self, ctx: &Context<'_>) -> Result<&[log::Entry], ApiError> {
        let read = || log::read(app(ctx), self.job.workspace, self.job.id, None);
        let lines = self.lines.get_or_try_init(read).await?;
        Ok(lines)
    }
}

/// What lists of a job's log are bound to: whichever way they are asked for, they are one list.
pub(super) fn log_scope(
    ctx: &Context<'_>,
    job: JobId,
    first: Option<i32>,
    after: Option<&str>,
) -> Result<Scope, ApiError> {
    Scope::new(ctx, "logs", &job, first, 100, after)
}

/// A part of a job's log.
pub(super) async fn logs(
    ctx: &Context<'_>,
    workspace: WorkspaceId,
    job: JobId,
    first: Option<i32>,
    after: Option<&str>,
) -> Result<Listed<JobLog>, ApiError> {
    let scope = log_scope(ctx, job, first, after)?;
    let wanted = scope.page(log::LineKey::parse)?;
    let all = log::read(
        app(ctx),
        workspace,
        job,
        wanted.after.filter(|_| !wanted.with_total),
    );
    let mut rows = all.await?;
    let total_count = wanted
        .with_total
        .then(|| i64::try_from(rows.len()).unwrap_or(i64::MAX));
    rows.retain(|entry| wanted.after.is_none_or(|after| entry.key > after));
    let first = usize::try_from(wanted.first).unwrap_or_default();
    let page = Page {
        has_next: rows.len() > first,
        has_previous: wanted.after.is_some(),
        total_count,
        rows: {
            rows.truncate(first);
            rows
        },
    };
    Ok(scope.connection(
        page,
        |entry| entry.key.to_string(),
        |entry| entry.line.into(),
    ))
}

/// One run of a tool.
#[Object(name = "Job")]
impl JobObject {
    /// The job's id, `job_…`.
    async fn id(&self) -> ID {
        self.job.id.to_string().into()
    }

    /// What it is for.
    async fn kind(&self) -> JobKind {
        JobKind::Execution
    }

    /// Where it stands.
    async fn status(&self) -> JobStatus {
        self.job.status.into()
    }

    /// The tool as it is now; `toolVersion` says which version ran.
    async fn tool(&self, ctx: &Context<'_>) -> Result<Option<ToolObject>, ApiError> {
        if let Some(page) = &self.page {
            return Ok(page.get(app(ctx), &self.job).await?.map(ToolObject));
        }
        let loader = ctx.data_unchecked::<DataLoader<ToolLoader>>();
        let key = ToolKey(self.job.workspace, self.job.tool.id);
        Ok(loader.load_one(key).await?.map(ToolObject))
    }

    /// Which version of the tool ran.
    async fn tool_version(&self) -> Option<i32> {
        Some(int(self.job.tool.version))
    }

    /// Which of the tool's actions.
    async fn action(&self) -> Option<&str> {
        self.job.action.as_deref()
    }

    /// What the tool was given, its version's secrets masked; `erased` when its key is gone.
    async fn input(&self, ctx: &Context<'_>) -> Result<Value, ApiError> {
        self.take(ctx, Field::Input)?;
        if let Some(page) = &self.page {
            let (state, job) = (app(ctx), &self.job);
            let found = page.inputs.find(state, job.workspace, &job.input).await?;
            if let Some(found) = found {
                return jobs::shown(state, job.workspace, &job.tool, found).await;
            }
        }
        jobs::input(app(ctx), &self.job).await
    }

    /// Where to fetch what the tool was given: what is large need not be in an answer.
    async fn input_ref(&self, ctx: &Context<'_>) -> Option<JobValueRef> {
        JobValueRef::of(app(ctx), &self.job, Field::Input)
    }

    /// What the tool gave back, or what `outputMapping` picks of it; `erased` when its key is gone.
    async fn output(&self, ctx: &Context<'_>) -> Result<Option<Value>, ApiError> {
        self.take(ctx, Field::Output)?;
        if let (Some(page), Some(output)) = (&self.page, &self.job.output) {
            let (state, job) = (app(ctx), &self.job);
            let found = page.outputs.find(state, job.workspace, output).await?;
            if let Some(found) = found {
                return Ok(Some(found));
            }
        }
        let Some(output) = jobs::output(app(ctx), &self.job).await? else {
            return Ok(None);
        };
        let mapped = jobs::mapped(app(ctx), &self.job, self.mapping.as_ref(), output);
        mapped.await.map(Some)
    }

    /// Where to fetch what the tool gave back: what is large need not be in an answer.
    async fn output_ref(&self, ctx: &Context<'_>) -> Option<JobValueRef> {
        JobValueRef::of(app(ctx), &self.job, Field::Output)
    }

    /// Why it failed.
    async fn error(&self) -> Option<JobError> {
        Some(JobError {
            workspace: self.job.workspace,
            job: self.job.id,
            failure: self.job.error.clone()?,
        })
    }

    /// Whether it is a rehearsal.
    async fn is_test(&self) -> bool {
        self.job.is_test
    }

    /// Each start and how it ended, oldest first.
    async fn attempts(&self) -> Vec<JobAttempt> {
        let attempts = self.job.attempts.iter().cloned();
        attempts
            .map(|attempt| JobAttempt {
                workspace: self.job.workspace,
                job: self.job.id,
                attempt,
            })
            .collect()
    }

    /// How far it is.
    async fn progress(&self, ctx: &Context<'_>) -> JobProgress {
        let is = |status| i32::from(self.job.status == status);
        let progress = jobs::progress(app(ctx), &self.job);
        JobProgress {
            total: 1,
            completed: is(Status::Succeeded),
            failed: is(Status::Failed),
            in_progress: is(Status::Running),
            current_tool: None,
            step: progress.step,
            percentage: progress.percentage,
        }
    }

    /// What its runs wrote and the runtime decided, line by line.
    async fn logs(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(100)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Listed<JobLog>, ApiError> {
        logs(
            ctx,
            self.job.workspace,
            self.job.id,
            first,
            after.as_deref(),
        )
        .await
    }

    /// What its runs wrote to their standard output; of a tool that writes nothing there, its output
    /// as a process would print it.
    async fn stdout(&self, ctx: &Context<'_>) -> Result<Option<String>, ApiError> {
        self.take(ctx, Field::Output)?;
        console::stdout(app(ctx), &self.job, self.lines(ctx).await?).await
    }

    /// What its runs wrote to their standard error; of one that failed without a word, why.
    async fn stderr(&self, ctx: &Context<'_>) -> Result<Option<String>, ApiError> {
        Ok(console::stderr(&self.job, self.lines(ctx).await?))
    }

    /// With which code the last run's process ended; of a tool that is none, 0 if it gave an output,
    /// else 1. None until it has ended.
    async fn exit_code(&self) -> Option<i32> {
        console::exit_code(&self.job)
    }

    /// Each call that went out, or was about to: where, when, its digest and status.
    async fn receipts(&self, ctx: &Context<'_>) -> Result<Vec<Receipt>, ApiError> {
        let attempts = jobs::attempts(app(ctx), &self.job).await?;
        let mut receipts = Vec::new();
        for attempt in attempts {
            for call in attempt.receipts {
                let url = jobs::sent_url(app(ctx), &self.job, &call).await?;
                receipts.push(Receipt::of(attempt.number, call, url));
            }
        }
        Ok(receipts)
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
        self.job.created_at.into()
    }

    /// When it last changed.
    async fn updated_at(&self) -> DateTime {
        self.job.updated_at.into()
    }

    /// When its first attempt began.
    async fn started_at(&self) -> Option<DateTime> {
        self.job.started_at.map(DateTime)
    }

    /// When it ended.
    async fn finished_at(&self) -> Option<DateTime> {
        self.job.finished_at.map(DateTime)
    }

    /// How long the last call took.
    async fn execution_time_ms(&self) -> Option<f64> {
        // Exact up to 285 years.
        #[allow(clippy::cast_precision_loss)]
        self.job.duration_us.map(|us| us as f64 / 1000.0)
    }

    /// Where its last event is in the global log.
    async fn last_event(&self, ctx: &Context<'_>) -> Result<Position, ApiError> {
        jobs::last_event(app(ctx), &self.job).await.map(Position)
    }
}
