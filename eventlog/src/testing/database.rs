//! A database of a test's own.

use std::time::Duration;

use sqlx::{
    ConnectOptions, Connection, Executor, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::shared;
use crate::database::migrations_fingerprint;

/// Connections of one test's pool: tasks of a test seldom wait, and many tests run at once.
const POOL_SIZE: u32 = 10;

/// How long backends may take to end after their clients have gone, on a busy machine.
const BACKENDS_END_WITHIN: Duration = Duration::from_secs(30);

/// How often to look whether they have.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// An empty, migrated database on the shared test server. Dropping it drops the database.
#[derive(Debug)]
pub struct TestDatabase {
    server: PgConnectOptions,
    name: String,
}

impl TestDatabase {
    /// Creates the database from a template that is migrated once for each state of the migrations.
    ///
    /// # Panics
    /// Panics when the server cannot be started or the migrations fail: a test has no other use
    /// for such an error.
    pub async fn create() -> Self {
        let server = shared::server().await;
        let name = format!("test_{}", crate::ids::new_uuid().simple());
        let made = create(&server, &name).await;
        made.unwrap_or_else(|error| panic!("cannot create a test database: {error}"));
        Self { server, name }
    }

    /// How to connect, as the superuser.
    pub fn connect_options(&self) -> PgConnectOptions {
        self.server.clone().database(&self.name)
    }

    /// A new pool of at most ten connections.
    ///
    /// # Panics
    /// Panics when the server is gone.
    pub async fn pool(&self) -> PgPool {
        PgPoolOptions::new()
            .max_connections(POOL_SIZE)
            .test_before_acquire(false)
            .connect_with(self.connect_options())
            .await
            .unwrap_or_else(|error| panic!("cannot connect to the test database: {error}"))
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // On a thread with a runtime of its own, since the test's may be ending. It takes a few
        // milliseconds; what a killed process leaves goes with the cluster.
        let server = self.server.clone();
        let statement = format!("drop database if exists {} with (force)", self.name);
        let dropping = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(drop_database(&server, &statement))
        });
        match dropping.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a test database is left to its cluster"),
            Err(_) => tracing::warn!("a test database is left to its cluster"),
        }
    }
}

async fn drop_database(server: &PgConnectOptions, statement: &str) -> sqlx::Result<()> {
    let mut connection = server.connect().await?;
    connection.execute(statement).await?;
    connection.close().await
}

async fn create(server: &PgConnectOptions, name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut connection = server.connect().await?;
    let template = template(server, &mut connection).await?;
    let statement = format!("create database {name} template {template} strategy wal_log");
    connection.execute(statement.as_str()).await?;
    connection.close().await?;
    Ok(())
}

/// The name of the migrated template, which is made if it is not there. It gets its name last, so
/// that an interrupted attempt is never copied.
async fn template(
    server: &PgConnectOptions,
    connection: &mut PgConnection,
) -> Result<String, Box<dyn std::error::Error>> {
    let name = template_name();
    if exists(connection, &name).await? {
        return Ok(name);
    }
    let _turn = shared::exclusively().await?;
    if exists(connection, &name).await? {
        return Ok(name);
    }
    let unfinished = format!("{name}_unfinished");
    for statement in [
        format!("drop database if exists {unfinished} with (force)"),
        format!("create database {unfinished} strategy wal_log"),
    ] {
        connection.execute(statement.as_str()).await?;
    }
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(server.clone().database(&unfinished))
        .await?;
    crate::migrate(&pool).await?;
    pool.close().await;
    let rename = format!("alter database {unfinished} rename to {name}");
    // A backend is there for a moment after its client has gone.
    let deadline = tokio::time::Instant::now() + BACKENDS_END_WITHIN;
    while let Err(error) = connection.execute(rename.as_str()).await {
        let in_use = error
            .as_database_error()
            .is_some_and(|error| error.code().as_deref() == Some("55006"));
        if !in_use || tokio::time::Instant::now() >= deadline {
            return Err(error.into());
        }
        // Whoever is left there has nothing to do there.
        let end = format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{unfinished}'"
        );
        connection.execute(end.as_str()).await?;
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(name)
}

async fn exists(connection: &mut PgConnection, name: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(name)
        .fetch_one(connection)
        .await
}

fn template_name() -> String {
    format!("toolroom_template_{}", migrations_fingerprint())
}
