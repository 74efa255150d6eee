//! Watching jobs.

use async_graphql::{
    Context, ID, Subscription,
    connection::{DefaultEdgeName, Edge, EmptyFields},
};
use futures::{Stream, stream};

use super::{
    object::{JobObject, log_scope},
    parts::{JobLog, job_id},
    query::JobFilter,
};
use crate::{
    error::ApiError,
    graphql::{app, request, scalar::Position},
    service::{
        changes::{Changes, Progress},
        jobs::log::{LineKey, Lines},
    },
};

type LogEdge = Edge<String, JobLog, EmptyFields, DefaultEdgeName>;

/// Watching jobs.
#[derive(Default)]
pub struct JobSubscription;

#[Subscription]
impl JobSubscription {
    /// Every change of one job, beginning with its present state, ending with its last one; and how
    /// far its run is, as it says so. With `after`, every change after that position.
    async fn job_progress(
        &self,
        ctx: &Context<'_>,
        job_id: ID,
        after: Option<Position>,
    ) -> Result<impl Stream<Item = Result<JobObject, ApiError>> + use<>, ApiError> {
        let id = self::job_id("jobId", &job_id)?;
        let after = after.map(|after| after.0);
        let progress = Progress::of(app(ctx), request(ctx)?, id, after).await?;
        Ok(stream::try_unfold(progress, async |mut progress| {
            let next = progress.next().await?;
            Ok(next.map(|job| (JobObject::changed(job), progress)))
        }))
    }

    /// Every line of a job's log as it comes, beginning with the first, or the first after `after`,
    /// ending with the job's last one.
    async fn job_log_added(
        &self,
        ctx: &Context<'_>,
        job_id: ID,
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<LogEdge, ApiError>> + use<>, ApiError> {
        let id = self::job_id("jobId", &job_id)?;
        let scope = log_scope(ctx, id, None, after.as_deref())?;
        let after = scope.page(LineKey::parse)?.after;
        let lines = Lines::of(app(ctx), request(ctx)?, id, after).await?;
        Ok(stream::try_unfold(
            (lines, scope),
            async |(mut lines, scope)| {
                let next = lines.next().await?;
                Ok(next.map(|entry| {
                    let edge = scope.edge(&entry.key.to_string(), JobLog::from(entry.line));
                    (edge, (lines, scope))
                }))
            },
        ))
    }

    /// Every change of the jobs that match, from now on or after a position.
    async fn job_changed(
        &self,
        ctx: &Context<'_>,
        filter: Option<JobFilter>,
        after: Option<Position>,
    ) -> Result<impl Stream<Item = Result<JobObject, ApiError>> + use<>, ApiError> {
        let (state, sender) = (app(ctx), request(ctx)?);
        let wanted = filter.unwrap_or_default().resolve(state, sender).await?;
        let changes = Changes::of_all(state, sender, after.map(|after| after.0)).await?;
        Ok(stream::try_unfold(
            (changes, wanted),
            async |(mut changes, wanted)| {
                while let Some(job) = changes.next().await? {
                    if wanted.as_ref().is_some_and(|wanted| wanted.passes(&job)) {
                        return Ok(Some((JobObject::changed(job), (changes, wanted))));
                    }
                }
                Ok(None)
            },
        ))
    }
}
