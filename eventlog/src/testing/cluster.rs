//! A server of a test's own.

use std::{fs::Permissions, os::unix::fs::PermissionsExt, path::Path};

use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;

use crate::embedded::{self, Options, Server};

/// An own server with the settings of production, in a temporary folder that goes with it.
#[derive(Debug)]
pub struct TestCluster {
    server: Option<Server>,
    settings: Vec<(String, String)>,
    folder: TempDir,
}

impl TestCluster {
    /// Starts a server on an empty cluster; it has no tables yet (see [`crate::migrate`]).
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// As [`start`](Self::start), with further server settings.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let mut cluster = Self {
            server: None,
            settings: settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            folder: tempfile::Builder::new()
                .prefix("toolroom-test-")
                .permissions(Permissions::from_mode(0o711))
                .tempdir()
                .expect("the temporary folder is writable"),
        };
        cluster.restart().await;
        cluster
    }

    /// How to connect; the same after a restart.
    ///
    /// # Panics
    /// Panics while the server is stopped.
    pub fn connect_options(&self) -> PgConnectOptions {
        self.server().connect_options()
    }

    /// The running server.
    ///
    /// # Panics
    /// Panics while the server is stopped.
    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("the test's server is running")
    }

    /// The data folder.
    pub fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    /// Kills the server with SIGKILL, as a crash would.
    pub async fn kill9(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill().await.expect("the server can be killed");
        }
    }

    /// Stops the server in an orderly way.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await.expect("the server stops");
        }
    }

    /// Starts the server on the same cluster again, stopping it first if it runs.
    pub async fn restart(&mut self) {
        self.stop().await;
        let options = Options {
            data_dir: self.folder.path().to_path_buf(),
            bin_dir: std::env::var_os("TOOLROOM_PG_BIN").map(Into::into),
            settings: self.settings.clone(),
        };
        let server = embedded::start(options).await;
        self.server = Some(server.unwrap_or_else(|error| panic!("cannot start a server: {error}")));
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        // The folder goes next, so the server must be gone; nobody needs this cluster again.
        if let Some(server) = self.server.take() {
            server.quit_blocking();
        }
    }
}
