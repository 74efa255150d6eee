//! Keeps projections going: one loop each, on whichever node holds its lease.

use std::{sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use toolroom_eventlog::{
    EventLog, Feed,
    checkpoint::{LEASE, Lease},
    feed::READ_EVENTS,
    kept::Kept,
};

use crate::{
    follower::{Follower, Stop},
    generation,
    projection::{Projection, Tables},
    reader::{Reader, Shared},
    rebuild,
};

/// How often to look whether a lease that another node holds has become free, or a rebuild is
/// wanted.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long to sleep without a signal. The truth is polled; signals only make it quicker.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Of its time a projection that keeps up spends one part in so many on batches.
const REST: u32 = 2;

/// The longest pause between the beginnings of two batches.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The pause after a lease was lost, lest two nodes of one name take it from each other in a frenzy.
const LOST_PAUSE: Duration = Duration::from_millis(10);

/// The pause after a first error, and the longest one.
const RETRY_INTERVALS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What to keep going, and as whom.
#[derive(Clone)]
pub struct Config {
    /// The projections: those of [`crate::all`], and others'.
    pub projections: Vec<Arc<dyn Projection>>,
    /// This node's name. No two that run at once may have the same; a node that starts again under
    /// its old name goes on at once.
    pub node: String,
}

/// Starts a loop for each projection, which ends with `shutdown` and then gives its lease up. The
/// database must be migrated; it may be away.
pub fn start(
    log: &EventLog,
    config: Config,
    shutdown: &CancellationToken,
) -> (Reader, JoinSet<()>) {
    let reader = Reader::new(log, config.projections);
    let mut tasks = JoinSet::new();
    for shared in reader.projections() {
        let runner = Runner {
            pool: log.database.projector_pool().clone(),
            feed: log.feed.clone(),
            shared: Arc::clone(shared),
            node: config.node.clone(),
            shutdown: shutdown.clone(),
        };
        tasks.spawn(runner.clone().keep(Work::Follow));
        tasks.spawn(runner.keep(Work::Rebuild));
    }
    (reader, tasks)
}

#[derive(Clone, Copy)]
enum Work {
    Follow,
    Rebuild,
}

#[derive(Clone)]
struct Runner {
    pool: PgPool,
    feed: Feed,
    shared: Arc<Shared>,
    node: String,
    shutdown: CancellationToken,
}

impl Runner {
    /// Does one kind of work until shutdown, whatever happens to the database.
    async fn keep(self, work: Work) {
        let name = self.shared.name();
        let mut pause = RETRY_INTERVALS.0;
        while !self.shutdown.is_cancelled() {
            let outcome = match work {
                Work::Follow => self.follow().await,
                Work::Rebuild => self.rebuild().await,
            };
            match outcome {
                Ok(()) => pause = RETRY_INTERVALS.0,
                // Whoever took the lease, or changed the tables, is no fault.
                Err(Stop::LeaseLost) => {
                    tracing::debug!(projection = name, "lost the lease");
                    self.sleep(LOST_PAUSE).await;
                }
                Err(stop) => {
                    let error = stop.to_string();
                    if self.shared.set_error(Some(error.clone())) {
                        tracing::warn!(projection = name, error, "a projection paused");
                    }
                    self.shared.tell_lag(self.head());
                    self.sleep(pause).await;
                    pause = (pause * 2).min(RETRY_INTERVALS.1);
                }
            }
        }
    }

    /// The newest position that this process knows.
    fn head(&self) -> i64 {
        *self.feed.watch().borrow()
    }

    fn projection(&self) -> &Arc<dyn Projection> {
        self.shared.projection()
    }

    async fn sleep(&self, time: Duration) {
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = tokio::time::sleep(time) => {}
        }
    }

    async fn rebuild(&self) -> Result<(), Stop> {
        let (pool, feed) = (&self.pool, &self.feed);
        let worked = rebuild::work(
            pool,
            feed,
            self.projection(),
            &self.node,
            &self.shutdown,
            |_| {},
        );
        if !worked.await? {
            tokio::select! {
                () = self.shutdown.cancelled() => {}
                () = self.shared.rebuild_wanted() => {}
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
        Ok(())
    }

    /// Follows the log while this node holds the lease.
    async fn follow(&self) -> Result<(), Stop> {
        let projection = self.projection();
        let installed = generation::install(&self.pool, projection.as_ref()).await?;
        if installed.version > projection.version() {
            self.shared.set_error(Some(format!(
                "its tables were made by version {}, this server has version {}: update it, or \
                 rebuild `{}` with it",
                installed.version,
                projection.version(),
                projection.name()
            )));
        }
        if installed.version != projection.version() {
            self.shared.want_rebuild();
            self.sleep(LOOK_INTERVAL).await;
            return Ok(());
        }
        let lease = Lease::acquire(&self.pool, projection.name(), &self.node).await?;
        let Some(lease) = lease else {
            self.sleep(LOOK_INTERVAL).await;
            return Ok(());
        };
        // A swap between the look at the tables and the lease: look again.
        if generation::find(&self.pool, projection.as_ref()).await? != Some(installed) {
            return Ok(());
        }
        let tables = Tables::serving(installed.generation);
        let resumed = Follower::resume(&self.pool, Arc::clone(projection), tables, lease);
        let mut follower = resumed.await?;
        self.shared.set_error(None);
        self.shared.hold(follower.seen());
        let mut connection = Kept::new(&self.pool);
        let outcome = self.advance(&mut follower, &mut connection).await;
        self.shared.let_go();
        if outcome.is_ok() {
            follower.release(&mut connection).await?;
        }
        outcome
    }

    async fn advance(&self, follower: &mut Follower, connection: &mut Kept) -> Result<(), Stop> {
        let limit = usize::try_from(READ_EVENTS).unwrap_or(usize::MAX);
        let mut head = self.feed.watch();
        let mut renewed = Instant::now();
        let mut events = Vec::new();
        while !self.shutdown.is_cancelled() {
            let began = Instant::now();
            if renewed.elapsed() > LEASE / 4 {
                follower.flush(connection).await?;
                follower.lease().renew(connection.get().await?).await?;
                renewed = began;
            }
            head.borrow_and_update();
            if events.is_empty() {
                events = self.feed.read(follower.seen(), limit).await?;
            }
            let Some(last) = events.last().map(|event| event.position) else {
                follower.flush(connection).await?;
                if !self.idle(&mut head).await {
                    connection.release();
                }
                continue;
            };
            let behind = *head.borrow() > last;
            let advance = follower.advance(connection, &events, |position| {
                self.shared.moved(position);
                self.shared.tell_lag(self.head());
            });
            if behind {
                // The next events are read while these are applied.
                let (advanced, next) = tokio::join!(advance, self.feed.read(last, limit));
                advanced?;
                events = next?;
            } else {
                advance.await?;
                events = Vec::new();
                // Where a batch takes long the machine is busy, and larger batches cost less.
                let pace = (began.elapsed() * REST).min(LONGEST_PAUSE);
                tokio::time::sleep_until(began + self.projection().interval().max(pace)).await;
            }
        }
        Ok(())
    }

    /// Waits for events; says whether any came soon.
    async fn idle(&self, head: &mut tokio::sync::watch::Receiver<i64>) -> bool {
        tokio::select! {
            () = self.shutdown.cancelled() => false,
            _ = head.changed() => true,
            () = tokio::time::sleep(POLL_INTERVAL) => {
                self.feed.refresh().await;
                false
            }
        }
    }
}
