//! The worker: takes due jobs, starts them, runs them, keeps their leases.
//!
//! A component: [`Config`] → [`Worker::start`] → [`Handle`].

mod claimed;

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolroom_domain::Clock;
use toolroom_eventlog::EventLog;
use toolroom_projections::{
    Reader,
    queue::{self, Queue},
};

use crate::{
    attempt::Attempts,
    calls::Calls,
    definitions::Definitions,
    ends::Ends,
    executor::Executor,
    gate::{self, Gate, Ground, Rate, RateOf},
    leasing::{
        claim::{self, Claims},
        former::Name,
        lease,
    },
    reactor,
    runner::{NodeRunner, Room, Stopping},
};

/// How often to look for due jobs without a signal: what is due by time signals nothing.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// How often this node says that it lives: three times before a lease runs out.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

/// How often, and for how long after its start, this node looks for what its former self held: the
/// queue may not know of it at once.
const FORMER_INTERVAL: Duration = Duration::from_millis(250);

/// See [`FORMER_INTERVAL`].
const FORMER_LOOKS: u32 = 40;

/// How long to wait after a database error.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How a worker is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's name: unique among the nodes of a database.
    pub node: String,
    /// Background jobs at once.
    pub background: usize,
    /// Calls at once whose sender waits.
    pub foreground: usize,
    /// How long calls may still take when the node shuts down.
    pub grace: Duration,
}

/// What can be done with a node that works.
pub struct Worker {
    attempts: Attempts,
    definitions: Definitions,
    calls: Calls,
    ends: Ends,
    background: Arc<Semaphore>,
    pool: PgPool,
    config: Config,
    queue: Queue,
}

/// A worker's loops.
pub struct Handle {
    loops: JoinSet<()>,
    jobs: TaskTracker,
    calls: Calls,
    pool: PgPool,
    config: Config,
}

impl Worker {
    /// A worker on the log, not yet working. `queue` is the projection that runs on this node.
    pub fn new(
        log: &EventLog,
        queue: Queue,
        executor: Arc<Executor>,
        clock: Arc<dyn Clock>,
        config: Config,
    ) -> Self {
        let files = Arc::clone(&executor);
        let rate: RateOf = Arc::new(move |tool_type| {
            let of_file = files.rate_limit(tool_type).map(|limit| Rate {
                requests: limit.requests,
                window_ms: limit.window_s.saturating_mul(1_000),
            });
            of_file.or_else(|| Rate::of(tool_type))
        });
        Self {
            attempts: Attempts {
                bus: log.bus.clone(),
                leases: log.database.queue_pool().clone(),
                vault: log.vault.clone(),
                live: log.signals.live.clone(),
                executor,
                gate: Gate::new(
                    log.bus.clone(),
                    log.database.gate_pool().clone(),
                    Arc::clone(&clock),
                    gate::Options {
                        foreground: config.foreground,
                        background: config.background,
                        rate,
                        clock: None,
                    },
                ),
                clock,
                node: config.node.as_str().into(),
            },
            definitions: Definitions::new(log.bus.clone()),
            calls: Calls::default(),
            ends: Ends::default(),
            background: Arc::new(Semaphore::new(config.background)),
            pool: log.database.queue_pool().clone(),
            config,
            queue,
        }
    }

    /// The hot path over this worker's calls; `shutdown` is when the node begins to stop.
    pub fn runner(&self, shutdown: &CancellationToken) -> NodeRunner {
        NodeRunner::new(
            self.attempts.clone(),
            self.calls.clone(),
            self.ends.clone(),
            Room {
                foreground: Arc::new(Semaphore::new(self.config.foreground)),
                background: Arc::clone(&self.background),
            },
            Stopping {
                begun: shutdown.clone(),
                grace: self.config.grace,
            },
        )
    }

    /// Starts working until `shutdown`.
    pub fn start(
        self,
        log: &EventLog,
        projections: &Reader,
        shutdown: &CancellationToken,
    ) -> Handle {
        let moved = projections.watch(queue::NAME);
        let jobs = TaskTracker::new();
        let mut loops = JoinSet::new();
        loops.spawn(reactor::run(
            log.feed.clone(),
            self.calls.clone(),
            self.ends.clone(),
            shutdown.clone(),
        ));
        loops.spawn(heartbeat(
            self.pool.clone(),
            self.config.node.clone(),
            self.calls.clone(),
            shutdown.clone(),
        ));
        let (named, is_named) = oneshot::channel();
        loops.spawn(hold_name(
            Name::new(self.pool.clone(), self.config.node.clone()),
            self.calls.clone(),
            named,
            shutdown.clone(),
        ));
        loops.spawn(self.attempts.gate.clone().run(shutdown.clone()));
        let handle = Handle {
            jobs: jobs.clone(),
            calls: self.calls.clone(),
            pool: self.pool.clone(),
            config: self.config.clone(),
            loops: JoinSet::new(),
        };
        loops.spawn(Arc::new(self).take_jobs(jobs, moved, is_named, shutdown.clone()));
        Handle { loops, ..handle }
    }

    async fn take_jobs(
        self: Arc<Self>,
        jobs: TaskTracker,
        mut moved: Option<watch::Receiver<i64>>,
        is_named: oneshot::Receiver<()>,
        shutdown: CancellationToken,
    ) {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = is_named => {}
        }
        let gate = &self.attempts.gate;
        let mut claims = Claims::new(self.pool.clone(), self.config.node.clone());
        loop {
            let permits = tokio::select! {
                () = shutdown.cancelled() => return,
                permits = some_permits(&self.background) => permits,
            };
            let pause = match claims.take(permits.len(), &gate.rooms()).await {
                Ok(batch) => {
                    let mut left = Vec::new();
                    for (claimed, permit) in batch.jobs.into_iter().zip(permits) {
                        let worker = Arc::clone(&self);
                        match gate.place(Ground::Back, claimed.workspace, claimed.tool) {
                            Ok(part) => {
                                jobs.spawn(
                                    async move { worker.run(claimed, (permit, part)).await },
                                );
                            }
                            Err(_) => left.push(claimed),
                        }
                    }
                    claims.put_back(&left).await;
                    (!batch.more).then_some(POLL_INTERVAL)
                }
                Err(error) => {
                    tracing::warn!(%error, "no jobs are taken: the database does not answer");
                    Some(RETRY_INTERVAL)
                }
            };
            let Some(pause) = pause else { continue };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = jobs_wait(&self.queue, &mut moved) => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// Waits until jobs have come into the queue, as far as this node takes the queue forward; else,
/// they are found by polling.
async fn jobs_wait(queue: &Queue, moved: &mut Option<watch::Receiver<i64>>) {
    while let Some(receiver) = moved {
        if receiver.changed().await.is_err() {
            *moved = None;
        } else if queue.take_pending() {
            return;
        }
    }
    std::future::pending().await
}

/// Waits for one permit and takes as many more as are free, up to a batch.
async fn some_permits(room: &Arc<Semaphore>) -> Vec<OwnedSemaphorePermit> {
    const BATCH: usize = 64;
    let mut permits = Vec::new();
    if let Ok(first) = Arc::clone(room).acquire_owned().await {
        permits.push(first);
    }
    while permits.len() < BATCH {
        match Arc::clone(room).try_acquire_owned() {
            Ok(permit) => permits.push(permit),
            Err(_) => break,
        }
    }
    permits
}

/// Holds this node's name until `shutdown`, and gives up what its former self held. Says when jobs
/// may be taken.
async fn hold_name(
    mut name: Name,
    calls: Calls,
    named: oneshot::Sender<()>,
    shutdown: CancellationToken,
) {
    let hold = async {
        while let Err(error) = name.take().await {
            tracing::warn!(%error, "no jobs are taken: the database does not answer");
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
        let _ = named.send(());
        let mut looks = 0;
        loop {
            let held = async {
                name.keep().await?;
                name.release(&calls.all()).await
            };
            if let Err(error) = held.await {
                tracing::debug!(%error, "this node's name could not be held");
            }
            looks += 1;
            tokio::time::sleep(match looks < FORMER_LOOKS {
                true => FORMER_INTERVAL,
                false => HEARTBEAT_INTERVAL,
            })
            .await;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = hold => {}
    }
}

async fn heartbeat(pool: PgPool, node: String, calls: Calls, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(HEARTBEAT_INTERVAL) => {}
        }
        let beat = async {
            lease::renew(&pool, &node, &calls.all()).await?;
            lease::anchor(&pool).await?;
            lease::sweep(&pool).await?;
            let waiting = claim::depth(&pool).await?;
            metrics::gauge!("toolroom_queue_depth_jobs").set(waiting as f64);
            Ok::<_, sqlx::Error>(())
        };
        if let Err(error) = beat.await {
            tracing::warn!(%error, "leases could not be renewed; other nodes may take jobs over");
        }
    }
}

impl Handle {
    /// Waits for a loop to die before it should.
    pub async fn failed(&mut self) -> Option<tokio::task::JoinError> {
        match self.loops.join_next().await {
            Some(Err(error)) => Some(error),
            _ => None,
        }
    }

    /// After `shutdown`: lets calls end within the grace, then gives the leases of the rest up, so
    /// that other nodes, or this one after its restart, take those jobs over at once.
    pub async fn finish(mut self) {
        while self.loops.join_next().await.is_some() {}
        self.jobs.close();
        let ended = async {
            self.jobs.wait().await;
            while let Some((job, _)) = self.calls.all().first().copied() {
                if let Some(call) = self.calls.get(job) {
                    call.ended().await;
                }
            }
        };
        if tokio::time::timeout(self.config.grace, ended).await.is_ok() {
            return;
        }
        let left = self.calls.all();
        tracing::warn!(
            jobs = left.len(),
            "calls did not end in time; their leases are given up"
        );
        if let Err(error) = lease::release(&self.pool, &self.config.node, &left).await {
            tracing::warn!(%error, "leases could not be given up; they run out by themselves");
        }
    }
}
