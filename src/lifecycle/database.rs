//! The database that a server runs on: the embedded one, kept alive, or one's own.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::bail;
use sqlx::postgres::PgConnectOptions;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use toolroom_eventlog::embedded::{self, Options, Server};

use crate::{config::Config, database};

/// An embedded server that dies this often within [`RESTART_WINDOW`] will not live.
const RESTARTS: usize = 5;

/// See [`RESTARTS`].
const RESTART_WINDOW: Duration = Duration::from_secs(60);

/// How long the folder of a server that died may still be held.
const RELEASE_LIMIT: Duration = Duration::from_secs(30);

/// How long to wait before a server that died is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(200);

/// A running, or at least reachable, database.
pub struct Database {
    options: PgConnectOptions,
    keeper: Option<Keeper>,
}

struct Keeper {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Database {
    /// Starts the embedded server, unless the configuration names a database.
    ///
    /// # Errors
    /// When the embedded server does not start.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        if let Some(options) = database::configured(config)? {
            return Ok(Self {
                options,
                keeper: None,
            });
        }
        let options = database::embedded_options(config);
        let server = embedded::start(options.clone()).await?;
        let stop = CancellationToken::new();
        Ok(Self {
            options: server.connect_options(),
            keeper: Some(Keeper {
                task: tokio::spawn(keep(server, options, stop.clone())),
                stop,
            }),
        })
    }

    /// How to connect as the owner.
    pub fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Waits until the embedded server is given up; for ever where there is none.
    pub async fn failed(&mut self) -> anyhow::Error {
        match &mut self.keeper {
            None => std::future::pending().await,
            Some(keeper) => match (&mut keeper.task).await {
                Ok(Ok(())) => anyhow::anyhow!("the embedded server was stopped"),
                Ok(Err(error)) => error,
                Err(panic) => panic.into(),
            },
        }
    }

    /// Stops the embedded server.
    ///
    /// # Errors
    /// When it does not stop.
    pub async fn stop(self) -> anyhow::Result<()> {
        match self.keeper {
            Some(keeper) if !keeper.task.is_finished() => {
                keeper.stop.cancel();
                keeper.task.await?
            }
            _ => Ok(()),
        }
    }
}

/// Starts the server again when it dies: connections come back by themselves, and nothing that was
/// acknowledged is lost.
async fn keep(mut server: Server, options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let mut deaths = VecDeque::with_capacity(RESTARTS);
    loop {
        let status = tokio::select! {
            status = server.exited() => status,
            () = stop.cancelled() => return Ok(server.stop().await?),
        };
        // What is dropped gives the folder free.
        drop(server);
        let now = Instant::now();
        deaths.push_back(now);
        if deaths.len() >= RESTARTS
            && deaths
                .pop_front()
                .is_some_and(|first| now - first < RESTART_WINDOW)
        {
            bail!(
                "the embedded server died {RESTARTS} times within {} s, the last time with {status}; {} tells why",
                RESTART_WINDOW.as_secs(),
                options.data_dir.join("postgres.log").display()
            );
        }
        tracing::error!(%status, "the embedded server died; it is started again");
        tokio::select! {
            () = tokio::time::sleep(RESTART_PAUSE) => {}
            () = stop.cancelled() => return Ok(()),
        }
        server = again(&options).await?;
        tracing::info!("the embedded server is back");
    }
}

/// Starts the server on a folder that was ours a moment ago: what is left of the dead server, or
/// somebody who looks whether it runs, may hold it for some moments more.
async fn again(options: &Options) -> Result<Server, embedded::Error> {
    let patience = Instant::now() + RELEASE_LIMIT;
    loop {
        match embedded::start(options.clone()).await {
            Err(embedded::Error::InUse { .. }) if Instant::now() < patience => {
                tokio::time::sleep(RESTART_PAUSE).await;
            }
            started => return started,
        }
    }
}
