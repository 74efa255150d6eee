//! The parts of a node, put together and taken apart in order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use toolroom_api::{ApiOptions, AppState, HttpOptions, Parts, Shell};
use toolroom_domain::{
    Clock,
    port::{Mailer, Presenter},
};
use toolroom_eventlog::{
    Database, EventLog, SystemClock,
    database::{Fault, classify},
    log::{self, Options},
    recovery::{self, Outcome},
    vault::KeyRing,
};
use toolroom_projections::queue::Queue;
use toolroom_worker::{
    VaultSecrets, Worker,
    connector::Connectors,
    executor::{self, EgressOptions, Executor},
    mail::SmtpMailer,
};

use super::people;
use crate::{config::Config, master_key, read_models};

/// How long to wait before a database that is away is asked again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A running node.
pub struct Node {
    /// Ends what takes work.
    edge: CancellationToken,
    /// Ends what that work still needs.
    core: CancellationToken,
    api: JoinHandle<io::Result<()>>,
    worker: toolroom_worker::worker::Handle,
    followers: JoinSet<()>,
    log: log::Tasks,
}

impl Node {
    /// Brings the database up to date and starts all parts on it. A database that is away is
    /// waited for.
    ///
    /// # Errors
    /// When the database cannot be used, or a part does not start.
    pub async fn start(
        config: &Config,
        http: HttpOptions,
        owner: &PgConnectOptions,
        listeners: Vec<TcpListener>,
    ) -> anyhow::Result<Self> {
        let (edge, core) = (CancellationToken::new(), CancellationToken::new());
        let database = Database::connect_lazy_with(owner.clone(), config.database_connections);
        let master = prepare(config, &database).await?;
        let options = Options {
            sequence: true,
            // An embedded database has one node: nobody else is to be told.
            other_nodes: config.database_url.is_some(),
        };
        let (log, log_tasks) = EventLog::start(database, master, options, &core).await?;

        let queue = Queue::default();
        let running = toolroom_projections::Config {
            projections: read_models::all(&queue),
            node: config.node.clone(),
        };
        let (reader, followers) = toolroom_projections::start(&log, running, &core);
        // A read model has its tables, if empty ones, before anybody can ask it.
        reader.prepare().await?;

        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let auth = people::authenticator(config, &log, &clock).await?;
        people::first(&config.auth, &log, &auth, clock.as_ref()).await?;
        let executor = Arc::new(executor(config, &log)?);
        let worker = Worker::new(
            &log,
            queue,
            Arc::clone(&executor),
            Arc::clone(&clock),
            toolroom_worker::Config {
                node: config.node.clone(),
                background: config.worker.background,
                foreground: config.worker.foreground,
                grace: config.worker.grace,
            },
        );
        let state = AppState::new(Parts {
            log: log.clone(),
            projections: reader.clone(),
            runner: Arc::new(worker.runner(&edge)),
            presenter: Arc::clone(&executor) as Arc<dyn Presenter>,
            checker: executor,
            mailer: mailer(config, &clock),
            auth: Arc::new(auth),
            options: ApiOptions {
                public_url: public_url(config, &listeners)?,
                version: env!("SERVER_VERSION").to_owned(),
                started_at: clock.now(),
                data_dir: config.data_dir.clone(),
                plan_limits: config.limits.plans,
            },
            clock,
        });
        let shell = Shell::new(http, edge.clone());
        let api = tokio::spawn(toolroom_api::serve(listeners, state, shell));
        Ok(Self {
            api,
            worker: worker.start(&log, &reader, &edge),
            followers,
            log: log_tasks,
            edge,
            core,
        })
    }

    /// Waits for a part to end before it should.
    pub async fn failed(&mut self) -> anyhow::Error {
        let (part, error) = tokio::select! {
            ended = &mut self.api => match ended {
                Ok(Err(error)) => return anyhow::Error::new(error).context("the API died"),
                ended => ("the API", ended.err()),
            },
            error = self.log.failed() => ("the log", error),
            error = self.worker.failed() => ("the worker", error),
            ended = self.followers.join_next() => ("a read model", ended.and_then(Result::err)),
        };
        match error {
            Some(error) => anyhow::Error::new(error).context(format!("{part} died")),
            None => anyhow::anyhow!("{part} ended by itself"),
        }
    }

    /// Takes no more work, lets what runs end within its grace, and writes what is held.
    pub async fn stop(mut self) {
        self.edge.cancel();
        let (served, ()) = tokio::join!(self.api, self.worker.finish());
        if !matches!(served, Ok(Ok(()))) {
            tracing::warn!("the API did not end in order");
        }
        self.core.cancel();
        while self.followers.join_next().await.is_some() {}
        self.log.finish().await;
    }
}

/// Where clients reach the server: as configured, else at its first address.
fn public_url(config: &Config, listeners: &[TcpListener]) -> anyhow::Result<String> {
    let url = match (&config.public_url, listeners.first()) {
        (Some(url), _) => url.to_string(),
        (None, Some(listener)) => {
            format!("{}://{}", config.edge.scheme(), listener.local_addr()?)
        }
        (None, None) => anyhow::bail!("`listen`: at least one address is needed"),
    };
    Ok(url.trim_end_matches('/').to_owned())
}

/// Sends letters, if a mail server is named.
fn mailer(config: &Config, clock: &Arc<dyn Clock>) -> Option<Arc<dyn Mailer>> {
    let server = config.smtp.clone()?;
    Some(Arc::new(SmtpMailer::new(server, Arc::clone(clock))))
}

fn executor(config: &Config, log: &EventLog) -> anyhow::Result<Executor> {
    let options = executor::Options {
        egress: EgressOptions {
            allow: config.egress_allow.clone(),
            ..EgressOptions::default()
        },
        env_secrets: config.env_secrets.clone(),
        env: Arc::new(|name| std::env::var(name).ok()),
        secrets: Arc::new(VaultSecrets::new(log.vault.clone())),
        connectors: Arc::new(Connectors::load(config.connectors_dir.as_deref())?),
        clock: Arc::new(SystemClock),
    };
    Executor::try_new(options).context("the executor cannot be started")
}

/// Migrates, takes up a log that was moved here, and finds the master keys.
async fn prepare(config: &Config, database: &Database) -> anyhow::Result<KeyRing> {
    let owner = loop {
        match database.owner_pool().await {
            Ok(pool) => break pool,
            Err(error) if classify(&error) == Fault::Unavailable => {
                tracing::warn!(%error, "the database is away; waiting for it");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Err(error) => return Err(error).context("the database cannot be used"),
        }
    };
    toolroom_eventlog::migrate(&owner)
        .await
        .context("the database cannot be migrated; `toolroom doctor` tells more")?;
    if let Outcome::Resumed { sequenced } = recovery::resume(&owner).await? {
        tracing::warn!(
            sequenced,
            "the log came from another cluster and goes on here, in a new epoch"
        );
    }
    let master = master_key::find_or_make(config, &owner).await?;
    owner.close().await;
    Ok(master)
}
