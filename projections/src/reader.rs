//! What the rest of a process sees of the projections: where each stands, and what can be done.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{PgPool, Row};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use toolroom_domain::WorkspaceId;
use toolroom_eventlog::{EventLog, Feed, Reads, command::Receipt};

use crate::{
    dead_letter::{self, DeadLetter, RetryError},
    generation,
    page::{Page, PageRequest},
    projection::Projection,
    rebuild::{self, RebuildError},
};

/// How often a waiter looks at the checkpoint, when the projection runs on another node.
const LOOK_INTERVAL: Duration = Duration::from_millis(15);

/// What a process knows of one projection.
pub(crate) struct Shared {
    projection: Arc<dyn Projection>,
    /// Up to where it has come, while this process takes it forward; else as far as was ever seen.
    seen: watch::Sender<i64>,
    held: Mutex<bool>,
    last_error: Mutex<Option<String>>,
    wake_rebuild: Notify,
}

impl Shared {
    fn new(projection: Arc<dyn Projection>) -> Self {
        Self {
            projection,
            seen: watch::Sender::new(0),
            held: Mutex::new(false),
            last_error: Mutex::new(None),
            wake_rebuild: Notify::new(),
        }
    }

    pub fn projection(&self) -> &Arc<dyn Projection> {
        &self.projection
    }

    pub fn name(&self) -> &'static str {
        self.projection.name()
    }

    /// Remembers why it does not go on, and says whether that is news.
    pub fn set_error(&self, error: Option<String>) -> bool {
        let mut last = self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let news = *last != error;
        *last = error;
        news
    }

    fn error(&self) -> Option<String> {
        let last = self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    pub fn hold(&self, position: i64) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.seen.send_replace(position);
    }

    pub fn let_go(&self) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    fn is_held(&self) -> bool {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn moved(&self, position: i64) {
        self.seen.send_replace(position);
    }

    /// Publishes how far it is behind `head`.
    pub fn tell_lag(&self, head: i64) {
        let lag = (head - *self.seen.borrow()).max(0);
        metrics::gauge!("toolroom_follower_lag_events", "follower" => self.name()).set(lag as f64);
    }

    pub fn want_rebuild(&self) {
        self.wake_rebuild.notify_one();
    }

    pub async fn rebuild_wanted(&self) {
        self.wake_rebuild.notified().await;
    }
}

/// Whether a projection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProjectionState {
    /// Some node takes it forward.
    Running,
    /// Its tables are being filled anew; the old ones serve.
    Rebuilding,
    /// No node takes it forward.
    Stopped,
    /// It goes on, but holds aggregates back whose events do not fit.
    Poisoned,
}

/// Where a projection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectionStatus {
    /// Which one.
    pub name: &'static str,
    /// Up to where it has come.
    pub position: i64,
    /// Where the log ends.
    pub head: i64,
    /// How many events it is behind.
    pub lag: i64,
    /// Whether it goes on.
    pub state: ProjectionState,
    /// Why it does not, or why its newest dead letter is one.
    pub last_error: Option<String>,
}

/// Where the projections stand, and what can be done with them. Cheap to clone. On a node that
/// does not run them it sees the same through the database.
#[derive(Clone)]
pub struct Reader {
    reads: Reads,
    pool: PgPool,
    feed: Feed,
    projections: Arc<[Arc<Shared>]>,
}

impl Reader {
    /// A reader of projections that run elsewhere; [`crate::start`] gives one of those that run
    /// here.
    pub fn new(log: &EventLog, projections: Vec<Arc<dyn Projection>>) -> Self {
        Self {
            reads: log.database.reads().clone(),
            pool: log.database.projector_pool().clone(),
            feed: log.feed.clone(),
            projections: projections
                .into_iter()
                .map(|projection| Arc::new(Shared::new(projection)))
                .collect(),
        }
    }

    pub(crate) fn projections(&self) -> &[Arc<Shared>] {
        &self.projections
    }

    fn find(&self, name: &str) -> Option<&Arc<Shared>> {
        self.projections.iter().find(|shared| shared.name() == name)
    }

    /// Lays out the tables of projections that have none, empty, so that they can be queried.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn prepare(&self) -> Result<(), sqlx::Error> {
        for shared in self.projections.iter() {
            generation::install(&self.pool, shared.projection().as_ref()).await?;
        }
        Ok(())
    }

    /// Tells of each move of a projection, while this process takes it forward.
    pub fn watch(&self, name: &str) -> Option<watch::Receiver<i64>> {
        Some(self.find(name)?.seen.subscribe())
    }

    /// Waits until a projection has come to `position`, and says whether it did `within` that
    /// time.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn wait_for(
        &self,
        name: &str,
        position: i64,
        within: Duration,
    ) -> Result<bool, sqlx::Error> {
        let Some(shared) = self.find(name) else {
            return Ok(false);
        };
        let deadline = Instant::now() + within;
        let mut seen = shared.seen.subscribe();
        let mut look = !shared.is_held();
        loop {
            if *seen.borrow_and_update() >= position {
                return Ok(true);
            }
            if look && self.checkpoint(name).await? >= position {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            let until = deadline.min(Instant::now() + LOOK_INTERVAL);
            look = tokio::time::timeout_at(until, seen.changed())
                .await
                .is_err();
        }
    }

    async fn checkpoint(&self, name: &str) -> Result<i64, sqlx::Error> {
        let position: Option<i64> =
            sqlx::query_scalar("select position from checkpoints where follower = $1")
                .bind(name)
                .fetch_optional(&self.pool)
                .await?;
        Ok(position.unwrap_or(0))
    }

    /// Whether a projection holds an aggregate of a workspace back, so that what it tells of it is old.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn holds_back(
        &self,
        workspace: WorkspaceId,
        name: &str,
        aggregate_type: &str,
        aggregate_id: &str,
    ) -> Result<bool, sqlx::Error> {
        let mut scoped = self.reads.acquire(workspace).await?;
        let held = sqlx::query_scalar(
            "select exists (
                 select from dead_letters
                 where follower = $1 and aggregate_type = $2 and aggregate_id = $3)",
        )
        .bind(name)
        .bind(aggregate_type)
        .bind(aggregate_id)
        .fetch_one(scoped.connection())
        .await?;
        scoped.give_back();
        Ok(held)
    }

    /// Where each projection stands.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn status(&self) -> Result<Vec<ProjectionStatus>, sqlx::Error> {
        let names: Vec<&str> = self
            .projections
            .iter()
            .map(|shared| shared.name())
            .collect();
        let rows = sqlx::query(
            "select n.name, coalesce(c.position, 0) as position, s.position as head,
                    coalesce(c.holder is not null and c.lease_until > clock_timestamp(), false)
                        as running,
                    i.next_generation is not null as rebuilding,
                    (select d.error from dead_letters d
                     where d.follower = n.name and d.error is not null
                     order by d.id desc limit 1) as poison
             from unnest($1::text[]) as n (name)
             cross join sequencer_state s
             left join checkpoints c on c.follower = n.name
             left join read_models i on i.name = n.name",
        )
        .bind(&names)
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .filter_map(|row| self.one_status(row).transpose())
            .collect()
    }

    fn one_status(
        &self,
        row: &sqlx::postgres::PgRow,
    ) -> Result<Option<ProjectionStatus>, sqlx::Error> {
        let Some(shared) = self.find(row.try_get("name")?) else {
            return Ok(None);
        };
        let stored: i64 = row.try_get("position")?;
        let position = if shared.is_held() {
            stored.max(*shared.seen.borrow())
        } else {
            stored
        };
        let head: i64 = row.try_get("head")?;
        let poison: Option<String> = row.try_get("poison")?;
        let state = match (row.try_get("rebuilding")?, row.try_get("running")?) {
            (true, _) => ProjectionState::Rebuilding,
            (false, false) => ProjectionState::Stopped,
            (false, true) if poison.is_some() => ProjectionState::Poisoned,
            (false, true) => ProjectionState::Running,
        };
        Ok(Some(ProjectionStatus {
            name: shared.name(),
            position,
            head: head.max(position),
            lag: (head - position).max(0),
            state,
            last_error: shared.error().or(poison),
        }))
    }

    /// Has a projection's tables filled anew, in the background, by a node that runs it. A rebuild
    /// that is under way goes on. The receipt is kept with the wish, not when it is fulfilled.
    ///
    /// # Errors
    /// When there is no such projection or the database does not answer.
    pub async fn rebuild(&self, name: &str, receipt: Option<Receipt>) -> Result<(), RebuildError> {
        let Some(shared) = self.find(name) else {
            let projections: Vec<_> = self
                .projections
                .iter()
                .map(|s| Arc::clone(s.projection()))
                .collect();
            return Err(rebuild::unknown(&projections, name));
        };
        rebuild::ask(&self.pool, shared.projection().as_ref(), receipt).await?;
        shared.want_rebuild();
        Ok(())
    }

    /// The events of a workspace that projections cannot apply, the one that was set aside last
    /// first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn dead_letters(
        &self,
        workspace: WorkspaceId,
        page: &PageRequest<i64>,
    ) -> Result<Page<DeadLetter>, sqlx::Error> {
        let names: Vec<&str> = self
            .projections
            .iter()
            .map(|shared| shared.name())
            .collect();
        dead_letter::list(&self.reads, workspace, &names, page).await
    }

    /// Applies a dead letter, and then what waits behind it, in order, and gives the letter as it
    /// was; to be called once whatever was wrong is mended. The receipt is kept once all is
    /// applied.
    ///
    /// # Errors
    /// When there is no such dead letter, or one of the events does not fit still.
    pub async fn retry_dead_letter(
        &self,
        workspace: WorkspaceId,
        id: i64,
        receipt: Option<Receipt>,
    ) -> Result<DeadLetter, RetryError> {
        let found = dead_letter::find(&self.reads, workspace, id).await?;
        let letter = found.ok_or(RetryError::NotFound)?;
        let shared = self.find(&letter.projection).ok_or(RetryError::NotFound)?;
        let projection = shared.projection().as_ref();
        dead_letter::retry(&self.pool, &self.feed, projection, &letter, receipt).await?;
        Ok(letter)
    }
}
