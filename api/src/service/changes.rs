//! Jobs as they change: each event of a job, told as the job that it left behind.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;
use toolroom_domain::{
    JobId,
    job::{Event, Job},
};
use toolroom_eventlog::{Aggregate as _, RecordedEvent, history, live::Watching};

use super::{
    follow::{Follow, head, is_visible, resolve},
    jobs::{JobView, LastEvent},
};
use crate::{
    error::ApiError,
    state::{AppState, RequestContext},
};

/// Jobs whose state is kept between their events; of others it is read again.
const JOBS_KEPT: usize = 1_000;

/// Between two reports of a run that a subscriber is told: smooth to look at, and no more than
/// anybody can read.
const REPORTS_INTERVAL: Duration = Duration::from_millis(50);

/// The changes of jobs after some position.
pub struct Changes {
    state: AppState,
    sender: RequestContext,
    follow: Follow,
    kept: HashMap<String, Job>,
    /// Those kept, the oldest first.
    order: VecDeque<String>,
}

impl Changes {
    /// The changes of all jobs of the workspace after a position, or from now on.
    ///
    /// # Errors
    /// When the position is of a log that is no more.
    pub async fn of_all(
        state: &AppState,
        sender: &RequestContext,
        after: Option<toolroom_eventlog::Position>,
    ) -> Result<Self, ApiError> {
        let from = resolve(state, after, head(state)).await?;
        Ok(Self {
            state: state.clone(),
            sender: sender.clone(),
            follow: Follow::after(state, from),
            kept: HashMap::new(),
            order: VecDeque::new(),
        })
    }

    /// The next job that changed, as the change left it; none when the log is closed.
    ///
    /// # Errors
    /// When the subscriber must resume.
    pub async fn next(&mut self) -> Result<Option<JobView>, ApiError> {
        while let Some(event) = self.follow.next().await? {
            if event.aggregate_type == Job::TYPE && is_visible(&self.sender, &event) {
                let job = self.after(&event).await?;
                return JobView::of_aggregate(&job, LastEvent::At(event.position)).map(Some);
            }
        }
        Ok(None)
    }

    async fn after(&mut self, event: &Arc<RecordedEvent>) -> Result<Job, ApiError> {
        let id = &event.aggregate_id;
        let before = match self.kept.remove(id) {
            Some(job) => Some(job),
            None if event.sequence == 1 => Some(Job::default()),
            None => None,
        };
        let job = match before {
            Some(mut job) => {
                job.apply(event.decode::<Event>().map_err(ApiError::internal)?);
                job
            }
            None => {
                let bus = &self.state.log.bus;
                bus.load_at::<Job>(self.sender.workspace, id, event.position)
                    .await?
                    .unwrap_or_default()
            }
        };
        if !job.status().is_final() {
            self.keep(id.clone(), job.clone());
        }
        Ok(job)
    }

    fn keep(&mut self, id: String, job: Job) {
        if self.kept.insert(id.clone(), job).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > JOBS_KEPT {
            if let Some(oldest) = self.order.pop_front() {
                self.kept.remove(&oldest);
            }
        }
    }
}

/// One job from its present state, or from a position on, to its end.
pub struct Progress {
    job: Job,
    id: String,
    waiting: VecDeque<Arc<RecordedEvent>>,
    follow: Follow,
    /// The position of the present state, while it has not been told.
    present: Option<i64>,
    /// The position of the last change that was applied.
    position: i64,
    watching: Watching,
    /// Until when the run's own reports wait, the newest in place of older ones.
    quiet_until: Instant,
    state: AppState,
}

impl Progress {
    /// The changes of a job: beginning with its present state, or with the first change after
    /// `after`.
    ///
    /// # Errors
    /// When the workspace has no such job, or the position is of a log that is no more.
    pub async fn of(
        state: &AppState,
        sender: &RequestContext,
        id: JobId,
        after: Option<toolroom_eventlog::Position>,
    ) -> Result<Self, ApiError> {
        // Tells an unknown job from one whose first event has no place in the log yet.
        state
            .log
            .bus
            .load::<Job>(sender.workspace, &id.to_string())
            .await?;
        let resumed = match after {
            None => None,
            Some(_) => Some(resolve(state, after, 0).await?),
        };
        let watching = state.log.signals.live.watch(id);
        let id = id.to_string();
        // What is appended after this is read from the feed; what comes in between is in both.
        let from = head(state);
        let reads = state.log.database.reads();
        let events = history::of_stream(reads, sender.workspace, Job::TYPE, &id, i64::MAX).await?;
        let told = resumed.unwrap_or(i64::MAX);
        let mut job = Job::default();
        let mut present = None;
        let mut waiting = VecDeque::new();
        let mut from = from;
        for event in events {
            from = from.max(event.position);
            if event.position <= told {
                job.apply(event.decode::<Event>().map_err(ApiError::internal)?);
                present = Some(event.position);
            } else {
                waiting.push_back(Arc::new(event));
            }
        }
        Ok(Self {
            follow: Follow::after(state, from),
            job,
            id,
            waiting,
            position: present.unwrap_or_default(),
            present: present.filter(|_| resumed.is_none()),
            watching,
            quiet_until: Instant::now(),
            state: state.clone(),
        })
    }

    /// The job after its next change; none after its last one.
    ///
    /// # Errors
    /// When the subscriber must resume.
    pub async fn next(&mut self) -> Result<Option<JobView>, ApiError> {
        if let Some(position) = self.present.take() {
            return JobView::of_aggregate(&self.job, LastEvent::At(position)).map(Some);
        }
        loop {
            let event = match self.waiting.pop_front() {
                Some(event) => event,
                None if self.job.status().is_final() => return Ok(None),
                None => match self.event_or_report().await? {
                    Next::Event(event) => event,
                    Next::Report => match self.reported()? {
                        Some(job) => return Ok(Some(job)),
                        None => continue,
                    },
                    Next::End => return Ok(None),
                },
            };
            if event.aggregate_type == Job::TYPE && event.aggregate_id == self.id {
                self.job
                    .apply(event.decode::<Event>().map_err(ApiError::internal)?);
                self.position = event.position;
                return JobView::of_aggregate(&self.job, LastEvent::At(event.position)).map(Some);
            }
        }
    }

    async fn event_or_report(&mut self) -> Result<Next, ApiError> {
        let report = async {
            tokio::time::sleep_until(self.quiet_until).await;
            self.watching.changed().await
        };
        tokio::select! {
            biased;
            event = self.follow.next() => Ok(event?.map_or(Next::End, Next::Event)),
            _ = report => Ok(Next::Report),
        }
    }

    /// The job with what its run last said; none if that was another attempt.
    fn reported(&mut self) -> Result<Option<JobView>, ApiError> {
        self.quiet_until = Instant::now() + REPORTS_INTERVAL;
        let mut view = JobView::of_aggregate(&self.job, LastEvent::At(self.position))?;
        let progress = super::jobs::progress(&self.state, &view);
        if progress == view.progress {
            return Ok(None);
        }
        view.progress = progress;
        Ok(Some(view))
    }
}

enum Next {
    Event(Arc<RecordedEvent>),
    Report,
    End,
}
