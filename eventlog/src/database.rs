//! Connections and migrations.

use std::time::Duration;

use sqlx::{
    Connection as _, PgConnection, PgPool,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::rights::{self, Lack};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// The role that the server works as: it may append to the log, never change it.
pub const APP_ROLE: &str = "toolroom_app";

/// More connections than this make two cores slower, not faster.
const DEFAULT_CONNECTIONS: u32 = 10;

/// One that the sequencer and each follower at work keep to themselves, and some to take turns with.
const DERIVED_CONNECTIONS: u32 = 16;

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
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

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
    app: PgPool,
    commands: PgPool,
    derived: PgPool,
    owner: PgConnectOptions,
}

impl Database {
    /// A pool under the server's role. Nothing is connected yet, so that a server can start before
    /// its database.
    pub fn connect_lazy(owner: PgConnectOptions) -> Self {
        Self::connect_lazy_with(owner, DEFAULT_CONNECTIONS)
    }

    /// As [`Self::connect_lazy`], with so many connections at the most.
    pub fn connect_lazy_with(owner: PgConnectOptions, connections: u32) -> Self {
        // No transaction stays open across a call to the outside, and none may hold the cluster's
        // transaction horizon for long: whatever is slower than this is a fault.
        let options = owner.clone().application_name("toolroom").options([
            ("role", APP_ROLE),
            ("search_path", "public,projections,operational"),
            ("statement_timeout", "30s"),
            ("lock_timeout", "10s"),
            ("idle_in_transaction_session_timeout", "30s"),
            // Without statistics the planner overrates our statements, and compiles each anew:
            // a second for a step of the sequencer that takes 30 ms.
            ("jit", "off"),
        ]);
        let pool = |options, connections| {
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
        };
        Self {
            derived: pool(
                options.clone().options([("synchronous_commit", "off")]),
                DERIVED_CONNECTIONS,
            ),
            // A batch that is read and one that is written in each lane.
            commands: pool(options.clone(), u32::try_from(2 * lanes()).unwrap_or(2)),
            app: pool(options, connections),
            owner,
        }
    }

    /// Connections that commit without waiting for the disk: for what comes out again from the log
    /// after a crash, and for nothing else.
    pub fn derived_pool(&self) -> &PgPool {
        &self.derived
    }

    /// The connections of commands: few, so that each is warm, and none that a read could hold.
    pub fn commands_pool(&self) -> &PgPool {
        &self.commands
    }

    /// Closes all connections.
    pub async fn close(&self) {
        futures::join!(
            self.app.close(),
            self.commands.close(),
            self.derived.close()
        );
    }

    /// Connections under the server's role.
    pub fn pool(&self) -> &PgPool {
        &self.app
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
