//! Takes a projection forward over events: in batches, with its checkpoint, around poison.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{Connection, PgConnection, PgPool};
use toolroom_eventlog::{
    RecordedEvent,
    checkpoint::{self, Lease},
    kept::Kept,
};

use crate::{
    dead_letter, erasure,
    projection::{ApplyError, Projection, Tables},
};

/// How long a batch's transaction should take. While it runs, no event that was appended after it
/// began can be sequenced.
const BATCH_TIME: Duration = Duration::from_millis(10);

/// Events of the first batch; the next ones follow from how long it took.
const FIRST_BATCH: usize = 200;

/// Events of one batch at the most.
const MAX_BATCH: usize = 5_000;

/// How often a checkpoint is written that moved over events which do not concern the projection.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);

/// Aggregates that one projection may hold back: with more, the projection is at fault and not
/// its events, and stops instead of setting the whole log aside.
const MAX_HELD: usize = 10_000;

/// Why a follower cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    /// Another holder took over, or somebody changed the tables behind this one.
    #[error("the lease was lost")]
    LeaseLost,
    /// The database refused or did not answer; to be tried again.
    #[error("{0}")]
    Database(#[from] sqlx::Error),
    /// So many events do not fit that the projection must be wrong.
    #[error(
        "more than {MAX_HELD} aggregates hold events that do not fit; mend the projection and rebuild it"
    )]
    TooPoisonous,
}

impl From<checkpoint::Error> for Stop {
    fn from(error: checkpoint::Error) -> Self {
        match error {
            checkpoint::Error::LeaseLost(_) => Self::LeaseLost,
            checkpoint::Error::Database(error) => Self::Database(error),
        }
    }
}

/// A projection that is being taken forward under a lease.
pub(crate) struct Follower {
    projection: Arc<dyn Projection>,
    tables: Tables,
    lease: Lease,
    /// Up to where all is applied, or does not concern the projection.
    seen: i64,
    flushed_at: Instant,
    held: HashSet<(String, String)>,
    /// Workspaces of which nothing is kept any more.
    erased: HashSet<String>,
    batch: usize,
}

impl Follower {
    /// Goes on where the lease's checkpoint stands.
    pub async fn resume(
        pool: &PgPool,
        projection: Arc<dyn Projection>,
        tables: Tables,
        lease: Lease,
    ) -> Result<Self, sqlx::Error> {
        Ok(Self {
            projection,
            tables,
            seen: lease.position(),
            flushed_at: Instant::now(),
            held: dead_letter::held(pool, lease.follower()).await?,
            erased: erasure::known(pool).await?,
            lease,
            batch: FIRST_BATCH,
        })
    }

    /// Up to where it has come.
    pub fn seen(&self) -> i64 {
        self.seen
    }

    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Applies events that follow on [`Self::seen`], calling `moved` after each commit.
    pub async fn advance(
        &mut self,
        connection: &mut Kept,
        events: &[Arc<RecordedEvent>],
        mut moved: impl FnMut(i64),
    ) -> Result<(), Stop> {
        let mut rest = events;
        while !rest.is_empty() {
            let size = self.batch.min(erasure::before(rest)).max(1);
            let began = Instant::now();
            let applied = match erasure::of(&rest[0]) {
                true => self.purge(connection, &rest[0]).await,
                false => self.apply(connection, &rest[..size]).await,
            };
            if applied.is_err() {
                // Whatever it was left in, its pool cleans it or throws it away.
                connection.release();
            }
            match applied {
                Ok(()) => {
                    self.adapt(size, began.elapsed());
                    rest = &rest[size..];
                }
                Err(Failed::Apply(error)) => {
                    let reason = error.into_poison()?;
                    if size > 1 {
                        self.batch = size / 2;
                    } else {
                        self.bury(connection, &rest[0], &reason).await?;
                        rest = &rest[1..];
                    }
                }
                Err(Failed::Stop(stop)) => return Err(stop),
            }
            moved(self.seen);
        }
        Ok(())
    }

    /// The next batch is as large as fits into [`BATCH_TIME`].
    fn adapt(&mut self, size: usize, took: Duration) {
        if took > BATCH_TIME {
            let fits = size as f64 * BATCH_TIME.as_secs_f64() / took.as_secs_f64();
            self.batch = (fits as usize).clamp(self.batch / 4, self.batch).max(1);
        } else if size == self.batch && took < BATCH_TIME * 3 / 4 {
            self.batch = (size + size / 2 + 1).min(MAX_BATCH);
        }
    }

    async fn apply(
        &mut self,
        connection: &mut Kept,
        events: &[Arc<RecordedEvent>],
    ) -> Result<(), Failed> {
        let to = events.last().map_or(self.seen, |event| event.position);
        let relevant = self.relevant(events);
        if relevant.is_empty() {
            self.seen = to;
            if self.flushed_at.elapsed() >= FLUSH_INTERVAL {
                self.flush(connection).await?;
            }
            return Ok(());
        }
        let mut tx = connection.get().await?.begin().await?;
        self.apply_in_tx(&mut tx, &relevant).await?;
        self.lease.move_in_tx(&mut tx, to).await?;
        tx.commit().await?;
        self.committed(to);
        Ok(())
    }

    /// Deletes what the tables hold of a workspace that was erased. What may be much goes piece by
    /// piece, each fenced by the lease; cut short, it is begun again at the same event.
    async fn purge(
        &mut self,
        connection: &mut Kept,
        event: &Arc<RecordedEvent>,
    ) -> Result<(), Failed> {
        loop {
            let mut tx = connection.get().await?.begin().await?;
            let left = erasure::delete_in_tx(
                &mut tx,
                self.projection.as_ref(),
                &self.tables,
                &event.workspace_id,
            )
            .await?;
            if !left {
                let follower = self.lease.follower();
                dead_letter::forget_workspace_in_tx(&mut tx, follower, &event.workspace_id).await?;
                // Who reads everything learns at least that it happened.
                if self.projection.aggregate_types().is_empty() {
                    let event = std::slice::from_ref(event);
                    self.projection.apply(&mut tx, &self.tables, event).await?;
                }
                self.lease.move_in_tx(&mut tx, event.position).await?;
                tx.commit().await?;
                self.erased.insert(event.workspace_id.clone());
                self.committed(event.position);
                return Ok(());
            }
            let seen = self.seen;
            self.lease.move_in_tx(&mut tx, seen).await?;
            tx.commit().await?;
            self.lease.moved_to(seen);
        }
    }

    /// Of `events`, those that concern the projection.
    pub fn relevant(&self, events: &[Arc<RecordedEvent>]) -> Vec<Arc<RecordedEvent>> {
        let types = self.projection.aggregate_types();
        let concerns = |e: &&Arc<RecordedEvent>| {
            (types.is_empty() || types.contains(&e.aggregate_type.as_str()))
                && !self.erased.contains(&e.workspace_id)
        };
        events.iter().filter(concerns).cloned().collect()
    }

    /// Applies events that concern the projection, and sets aside those of aggregates held back.
    pub async fn apply_in_tx(
        &self,
        tx: &mut PgConnection,
        events: &[Arc<RecordedEvent>],
    ) -> Result<(), ApplyError> {
        if self.held.is_empty() {
            return self.projection.apply(tx, &self.tables, events).await;
        }
        let (held, free): (Vec<_>, Vec<_>) = events
            .iter()
            .cloned()
            .partition(|e| self.held.contains(&aggregate(e)));
        if !free.is_empty() {
            self.projection.apply(&mut *tx, &self.tables, &free).await?;
        }
        dead_letter::hold_in_tx(tx, self.lease.follower(), &held).await?;
        Ok(())
    }

    /// Sets an event aside that cannot be applied, and holds back its aggregate.
    async fn bury(
        &mut self,
        connection: &mut Kept,
        event: &RecordedEvent,
        reason: &str,
    ) -> Result<(), Stop> {
        if self.held.len() >= MAX_HELD {
            return Err(Stop::TooPoisonous);
        }
        let follower = self.lease.follower();
        tracing::error!(
            follower,
            position = event.position,
            reason,
            "set a poisonous event aside"
        );
        metrics::counter!("toolroom_dead_letters", "follower" => follower.to_owned()).increment(1);
        let mut tx = connection.get().await?.begin().await?;
        dead_letter::bury_in_tx(&mut tx, follower, event, reason).await?;
        self.lease.move_in_tx(&mut tx, event.position).await?;
        tx.commit().await?;
        self.held.insert(aggregate(event));
        self.committed(event.position);
        Ok(())
    }

    /// Remembers that a transaction which moved the checkpoint has committed.
    fn committed(&mut self, to: i64) {
        self.lease.moved_to(to);
        self.seen = to;
        self.flushed_at = Instant::now();
    }

    /// Writes the checkpoint, if it moved over events that did not concern the projection.
    pub async fn flush(&mut self, connection: &mut Kept) -> Result<(), checkpoint::Error> {
        if self.seen > self.lease.position() {
            let connection = connection.get().await?;
            self.lease.move_in_tx(connection, self.seen).await?;
            self.committed(self.seen);
        }
        Ok(())
    }

    /// Gives the lease up.
    pub async fn release(mut self, connection: &mut Kept) -> Result<(), checkpoint::Error> {
        self.flush(connection).await?;
        self.lease.release(connection.get().await?).await?;
        Ok(())
    }
}

fn aggregate(event: &RecordedEvent) -> (String, String) {
    (event.aggregate_type.clone(), event.aggregate_id.clone())
}

enum Failed {
    Apply(ApplyError),
    Stop(Stop),
}

impl From<ApplyError> for Failed {
    fn from(error: ApplyError) -> Self {
        Self::Apply(error)
    }
}

impl From<checkpoint::Error> for Failed {
    fn from(error: checkpoint::Error) -> Self {
        Self::Stop(error.into())
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Stop(error.into())
    }
}
