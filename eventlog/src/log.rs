//! All parts of the log, started together.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    CommandBus, Database, Feed, Vault,
    append::{Appender, Marks, Writers},
    command::memory,
    live,
    load::Loader,
    sequencer,
    signal::{self, Signals},
    vault::{self, KeyRing},
};

/// How often commands past their keeping time are forgotten.
const PRUNE_INTERVAL: Duration = Duration::from_secs(3600);

/// What starts with the log beside its writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether to sequence here; one node of a database must, any may.
    pub sequence: bool,
    /// Whether there may be other nodes, to be told of appends.
    pub other_nodes: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sequence: true,
            other_nodes: true,
        }
    }
}

/// The log of one database, as a process uses it. Cheap to clone.
#[derive(Clone)]
pub struct EventLog {
    /// The database.
    pub database: Database,
    /// Wake-ups.
    pub signals: Signals,
    /// The one ordered feed.
    pub feed: Feed,
    /// The way of commands.
    pub bus: CommandBus,
    /// Seals and opens what the log holds encrypted.
    pub vault: Vault,
    /// Whether other nodes may use the same database.
    pub other_nodes: bool,
    marks: Arc<Marks>,
    placed: Arc<Mutex<Placed>>,
}

/// Up to which mark of each writer all has its place, and where.
#[derive(Clone, Debug)]
struct Placed {
    marks: Vec<i64>,
    position: i64,
}

/// The tasks behind an [`EventLog`].
pub struct Tasks {
    loops: JoinSet<()>,
    writers: Writers,
    stop_writers: CancellationToken,
}

impl EventLog {
    /// Starts the writers and the loops; the loops end with `shutdown`. The database must be
    /// migrated.
    ///
    /// # Errors
    /// When the vault's keys cannot be had: the database is away or the master key is another one.
    pub async fn start(
        database: Database,
        master: impl Into<KeyRing>,
        options: Options,
        shutdown: &CancellationToken,
    ) -> Result<(Self, Tasks), vault::Error> {
        let vault = Vault::new(database.committer_pool().clone(), master);
        vault.look().await?;
        let digest_key = vault.digest_key().await?;
        let signals = Signals::default();
        let stop_writers = CancellationToken::new();
        let commands = database.commands_pool();
        let (appender, mut writers) = Appender::start(commands, &signals, &stop_writers);
        let loader = Loader::start(commands, &mut writers, &stop_writers);
        let feed = Feed::new(database.projector_pool().clone());
        feed.refresh().await;
        let mut loops = JoinSet::new();
        if options.sequence {
            loops.spawn(sequencer::run(
                database.sequencer_pool().clone(),
                feed.clone(),
                signals.clone(),
                shutdown.clone(),
            ));
        }
        if options.sequence {
            loops.spawn(vault::rotate(vault.clone(), shutdown.clone()));
            loops.spawn(vault::forget_what_changes(
                feed.clone(),
                vault.clone(),
                shutdown.clone(),
            ));
        }
        if options.other_nodes {
            let (pool, signals) = (database.sequencer_pool().clone(), signals.clone());
            loops.spawn(signal::tell_other_nodes(
                pool.clone(),
                signals.clone(),
                shutdown.clone(),
            ));
            loops.spawn(live::tell_other_nodes(
                pool.clone(),
                signals.live.clone(),
                shutdown.clone(),
            ));
            loops.spawn(signal::listen_to_other_nodes(
                pool,
                signals,
                shutdown.clone(),
            ));
        }
        loops.spawn(prune(database.committer_pool().clone(), shutdown.clone()));
        let log = Self {
            placed: Arc::new(Mutex::new(Placed {
                marks: appender.marks().all(),
                position: 0,
            })),
            marks: Arc::clone(appender.marks()),
            bus: CommandBus::new(&database, loader, appender, digest_key, vault.clone()),
            database,
            signals,
            feed,
            vault,
            other_nodes: options.other_nodes,
        };
        let tasks = Tasks {
            loops,
            writers,
            stop_writers,
        };
        Ok((log, tasks))
    }

    /// Waits until all that commands of this process have written has its place in the log, and
    /// says up to where; none when `within` is over before.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn placed(&self, within: Duration) -> Result<Option<i64>, sqlx::Error> {
        let marks = self.marks.all();
        let known = self.lock_placed().clone();
        let mut position = known.position;
        for (known, mark) in known.marks.into_iter().zip(&marks) {
            if known < *mark {
                let Some(placed) = self.feed.position_of(*mark, within).await? else {
                    return Ok(None);
                };
                position = position.max(placed);
            }
        }
        // Others may have waited meanwhile, and for more.
        let mut placed = self.lock_placed();
        placed.position = placed.position.max(position);
        for (known, mark) in placed.marks.iter_mut().zip(marks) {
            *known = mark.max(*known);
        }
        Ok(Some(position))
    }

    fn lock_placed(&self) -> MutexGuard<'_, Placed> {
        self.placed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tasks {
    /// Waits for one of them to end before it should; a task that panicked is an error.
    pub async fn failed(&mut self) -> Option<tokio::task::JoinError> {
        tokio::select! {
            Some(Err(error)) = self.loops.join_next() => Some(error),
            Some(Err(error)) = self.writers.join_next() => Some(error),
            else => None,
        }
    }

    /// Waits for the loops, whose `shutdown` was given, then lets the writers write what they hold
    /// and end. To be called after everything that sends commands has ended.
    pub async fn finish(mut self) {
        while self.loops.join_next().await.is_some() {}
        self.stop_writers.cancel();
        while self.writers.join_next().await.is_some() {}
    }
}

async fn prune(pool: PgPool, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PRUNE_INTERVAL) => {}
        }
        match memory::prune(&pool).await {
            Ok(0) => {}
            Ok(forgotten) => tracing::debug!(forgotten, "forgot old commands"),
            Err(error) => tracing::debug!(%error, "could not forget old commands"),
        }
    }
}
