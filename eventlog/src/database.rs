//! Connections and migrations.

use std::time::Duration;

use sqlx::{
    Connection as _, PgConnection, PgPool,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{
    reads::Reads,
    rights::{self, Lack},
};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// The roles that the parts of a server work as; the login role becomes them. What each may do
/// stands in the migrations.
pub const ROLES: [&str; 6] = [
    READER,
    COMMITTER,
    SEQUENCER,
    PROJECTOR,
    QUEUE,
    AUTHENTICATOR,
];

/// Answers what requests read. The only one that is held to one workspace.
pub const READER: &str = "toolroom_reader";

/// Carries commands out: appends to the log, takes names, seals.
pub const COMMITTER: &str = "toolroom_committer";

/// Gives events their places in the log.
pub const SEQUENCER: &str = "toolroom_sequencer";

/// Follows the log and keeps the read models.
pub const PROJECTOR: &str = "toolroom_projector";

/// Takes due jobs, and keeps their leases.
pub const QUEUE: &str = "toolroom_queue";

/// Finds out who asks, before any workspace is known.
pub const AUTHENTICATOR: &str = "toolroom_authenticator";

/// The role of servers before version 7 of the database, which the migrations up to there need.
pub const FORMER_ROLE: &str = "toolroom_app";

/// More connections than this make two cores slower, not faster.
const DEFAULT_CONNECTIONS: u32 = 10;

/// For what commands look up beside their streams: what was sent before, keys, numbers.
const COMMITTER_CONNECTIONS: u32 = 4;

/// One that sequences, one that listens to other nodes, one that tells them, one to spare.
const SEQUENCER_CONNECTIONS: u32 = 4;

/// One that each follower at work keeps to itself, and some to take turns with.
const PROJECTOR_CONNECTIONS: u32 = 16;

/// One that takes jobs, one that renews leases.
const QUEUE_CONNECTIONS: u32 = 2;

/// For what nodes share of tools: one that looks, one that tells.
const GATE_CONNECTIONS: u32 = 2;

/// Most requests are recognised from memory.
const AUTHENTICATOR_CONNECTIONS: u32 = 3;

/// Cores for which one batch of commands at a time is enough: on two, a second writer halves the
/// batches and so doubles what they cost together.
const CORES_PER_LANE: usize = 4;

/// Lanes past which writers get into each other's way in the database.
const MAX_LANES: usize = 2;

/// How many batches of commands are read, and how many written, at the same time.
pub(crate) fn lanes() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / CORES_PER_LANE).clamp(1, MAX_LANES)
}

/// For how long an idle connection is taken to be alive: asking costs a round trip.
pub(crate) const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// How long a request may wait for a connection before it is answered that the database is away.
pub(crate) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the migrations were not applied.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The login role may not do what they need; nothing was tried.
    #[error("{}", words(.0))]
    Lacking(Vec<Lack>),
    /// One of them failed, or an applied one differs from this binary's. The message holds its
    /// causes already.
    #[error("{0}")]
    Failed(MigrateError),
    /// The database did not answer.
    #[error("the database failed: {0}")]
    Database(sqlx::Error),
}

fn words(lacks: &[Lack]) -> String {
    let told: Vec<_> = lacks.iter().map(|lack| lack.what.as_str()).collect();
    let mends: Vec<_> = lacks.iter().map(|lack| lack.mend.as_str()).collect();
    format!(
        "{}; let an administrator of the database run: {}",
        told.join("; "),
        mends.join(" ")
    )
}

/// Applies what is missing of the migrations, as the connection's own role.
///
/// # Errors
/// When that role lacks a right, a migration fails or an applied one differs from this binary's.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrationError> {
    let lacks = rights::lacking(pool)
        .await
        .map_err(MigrationError::Database)?;
    if !lacks.is_empty() {
        return Err(MigrationError::Lacking(lacks));
    }
    MIGRATIONS.run(pool).await.map_err(MigrationError::Failed)
}

/// The version of the newest migration that this binary knows.
pub fn last_migration() -> i64 {
    MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or_default()
}

/// How many migrations this binary knows, and the digest of each: what a template database of
/// them may be named by.
pub fn migrations_fingerprint() -> String {
    use std::fmt::Write as _;
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for migration in MIGRATIONS.iter() {
        context.update(&migration.checksum);
    }
    context
        .finish()
        .as_ref()
        .iter()
        .take(8)
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// A database, and the roles under which parts of the server use it.
#[derive(Clone, Debug)]
pub struct Database {
    reads: Reads,
    commands: PgPool,
    committer: PgPool,
    sequencer: PgPool,
    projector: PgPool,
    queue: PgPool,
    gate: PgPool,
    authenticator: PgPool,
    owner: PgConnectOptions,
}

impl Database {
    /// Pools under the server's roles. Nothing is connected yet, so that a server can start before
    /// its database.
    pub fn connect_lazy(owner: PgConnectOptions) -> Self {
        Self::connect_lazy_with(owner, DEFAULT_CONNECTIONS)
    }

    /// As [`Self::connect_lazy`], with so many connections at the most for what requests read.
    pub fn connect_lazy_with(owner: PgConnectOptions, connections: u32) -> Self {
        let pool = |role, connections| pool_of(as_role(&owner, role), connections);
        // What comes out again from the log after a crash, and nothing else, need not wait for the
        // disk.
        let derived = |role, connections| {
            let options = as_role(&owner, role).options([("synchronous_commit", "off")]);
            pool_of(options, connections)
        };
        let reader = as_role(&owner, READER).options([("default_transaction_read_only", "on")]);
        Self {
            reads: Reads::new(pool_of(reader, connections)),
            // A batch that is read and one that is written in each lane.
            commands: pool(COMMITTER, u32::try_from(2 * lanes()).unwrap_or(2)),
            committer: pool(COMMITTER, COMMITTER_CONNECTIONS),
            sequencer: derived(SEQUENCER, SEQUENCER_CONNECTIONS),
            projector: derived(PROJECTOR, PROJECTOR_CONNECTIONS),
            queue: pool_of(
                // Its tables are empty now and deep in a moment, and what is known of them is always
                // of another moment: a plan that walks through all of a table is never right.
                as_role(&owner, QUEUE)
                    .options([("enable_seqscan", "off"), ("enable_bitmapscan", "off")]),
                QUEUE_CONNECTIONS,
            ),
            gate: derived(QUEUE, GATE_CONNECTIONS),
            authenticator: pool(AUTHENTICATOR, AUTHENTICATOR_CONNECTIONS),
            owner,
        }
    }

    /// What requests read: connections that see one workspace each.
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    /// The connections over which streams are read and batches written: few, so that each is warm,
    /// and none that anything else could hold.
    pub fn commands_pool(&self) -> &PgPool {
        &self.commands
    }

    /// For what else commands need: what was sent before, names, numbers, the vault.
    pub fn committer_pool(&self) -> &PgPool {
        &self.committer
    }

    /// The sequencer's connections, which commit without waiting for the disk.
    pub fn sequencer_pool(&self) -> &PgPool {
        &self.sequencer
    }

    /// The connections of whatever follows the log; they commit without waiting for the disk.
    pub fn projector_pool(&self) -> &PgPool {
        &self.projector
    }

    /// The workers' connections.
    pub fn queue_pool(&self) -> &PgPool {
        &self.queue
    }

    /// For what nodes share of tools, which need not wait for the disk: what a crash loses of it is
    /// found out again.
    pub fn gate_pool(&self) -> &PgPool {
        &self.gate
    }

    /// For finding out who asks.
    pub fn authenticator_pool(&self) -> &PgPool {
        &self.authenticator
    }

    /// Closes all connections.
    pub async fn close(&self) {
        futures::join!(
            self.reads.close(),
            self.commands.close(),
            self.committer.close(),
            self.sequencer.close(),
            self.projector.close(),
            self.queue.close(),
            self.gate.close(),
            self.authenticator.close(),
        );
    }

    /// How to connect as the owner: for migrations, recovery and backups.
    pub fn owner_options(&self) -> &PgConnectOptions {
        &self.owner
    }

    /// A small pool as the owner, for migrations and recovery.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn owner_pool(&self) -> Result<PgPool, sqlx::Error> {
        reach(&self.owner).await?;
        PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(self.owner.clone())
            .await
    }
}

/// How to connect as one of [`ROLES`].
fn as_role(owner: &PgConnectOptions, role: &str) -> PgConnectOptions {
    // No transaction stays open across a call to the outside, and none may hold the cluster's
    // transaction horizon for long: whatever is slower than this is a fault.
    owner.clone().application_name(role).options([
        ("role", role),
        ("search_path", "public,projections,operational"),
        ("statement_timeout", "30s"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "30s"),
        // Without statistics the planner overrates our statements, and compiles each anew:
        // a second for a step of the sequencer that takes 30 ms.
        ("jit", "off"),
    ])
}

fn pool_of(options: PgConnectOptions, connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        // A busy connection proves itself; one that lay idle may have lost its server.
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for < TRUSTED_FOR {
                    return Ok(true);
                }
                Ok(connection.ping().await.is_ok())
            })
        })
        .connect_lazy_with(options)
}

/// Connects once, to tell at once why it is not possible: a pool tries again in silence until its
/// time is over.
///
/// # Errors
/// When the database cannot be reached.
pub async fn reach(options: &PgConnectOptions) -> Result<(), sqlx::Error> {
    let connected = tokio::time::timeout(ACQUIRE_TIMEOUT, PgConnection::connect_with(options));
    match connected.await {
        Ok(connection) => connection?.close().await,
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

/// What an error of the database means for whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is away or overloaded: the same again may work in a moment.
    Unavailable,
    /// Another transaction was in the way: the same again may work at once.
    Contended,
    /// A unique or other constraint forbids it.
    Constraint,
    /// Anything else: the same again will fail again.
    Permanent,
}

/// Tells what an error of the database means.
pub fn classify(error: &sqlx::Error) -> Fault {
    match error {
        sqlx::Error::Database(error) => match error.code().as_deref() {
            Some("40P01" | "40001" | "55P03") => Fault::Contended,
            Some(code) if code.starts_with("23") => Fault::Constraint,
            Some(code)
                if code.starts_with("08") || code.starts_with("53") || code.starts_with("57P") =>
            {
                Fault::Unavailable
            }
            Some("57014") => Fault::Unavailable,
            // A server in recovery or on a read-only standby: writes must wait for the primary.
            Some("25006") => Fault::Unavailable,
            _ => Fault::Permanent,
        },
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Fault::Unavailable,
        _ => Fault::Permanent,
    }
}
