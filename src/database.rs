//! How commands come to their database: one's own, the one that runs, or one started for a while.

use std::str::FromStr as _;

use anyhow::{Context as _, bail};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use toolroom_eventlog::{
    database::reach,
    embedded::{self, Server},
};

use crate::config::Config;

/// A command-line tool works alone: one connection, one to spare.
const CONNECTIONS: u32 = 2;

/// Whether a data folder may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Make it.
    Create,
    /// There is nothing to work on then.
    Refuse,
}

/// A database within reach.
pub struct Access {
    options: PgConnectOptions,
    started: Option<Server>,
}

impl Access {
    /// Connects nothing yet, but starts the embedded server if it does not run.
    ///
    /// # Errors
    /// When there is no data folder and none may be made, or the server does not start.
    pub async fn open(config: &Config, missing: Missing) -> anyhow::Result<Self> {
        if let Some(options) = configured(config)? {
            return Ok(Self {
                options,
                started: None,
            });
        }
        if let Some(options) = embedded::attach(&config.data_dir).await? {
            return Ok(Self {
                options,
                started: None,
            });
        }
        if missing == Missing::Refuse && !config.data_dir.join("postgres").exists() {
            bail!(
                "{} holds no data: name the data folder with --data-dir, or a database with DATABASE_URL",
                config.data_dir.display()
            );
        }
        let server = embedded::start(embedded_options(config)).await?;
        Ok(Self {
            options: server.connect_options(),
            started: Some(server),
        })
    }

    /// How to connect as the owner.
    pub fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Connections as the owner.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn pool(&self) -> anyhow::Result<PgPool> {
        let unreachable = "the database cannot be reached";
        reach(&self.options).await.context(unreachable)?;
        PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect_with(self.options.clone())
            .await
            .context(unreachable)
    }

    /// Stops the server if it was started for this.
    ///
    /// # Errors
    /// When it does not stop.
    pub async fn close(self) -> anyhow::Result<()> {
        match self.started {
            Some(server) => Ok(server.stop().await?),
            None => Ok(()),
        }
    }
}

/// The configured database, if there is one.
///
/// # Errors
/// When its URL is none; the URL is not repeated, for it may hold a password.
pub fn configured(config: &Config) -> anyhow::Result<Option<PgConnectOptions>> {
    let Some(url) = &config.database_url else {
        return Ok(None);
    };
    let options = PgConnectOptions::from_str(url.expose()).map_err(|_| {
        anyhow::anyhow!(
            "`database_url` is no URL of a PostgreSQL database: it must look like postgres://user:password@host:5432/database"
        )
    })?;
    Ok(Some(options))
}

/// How the embedded server is started.
pub fn embedded_options(config: &Config) -> embedded::Options {
    embedded::Options {
        data_dir: config.data_dir.clone(),
        bin_dir: config.pg_bin.clone(),
        settings: Vec::new(),
    }
}
