//! This program as a server, in a process of its own.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::{
    cli::{
        bench::{Bench, machine::memory_mib, private::Folder, report::Report, stopped_by},
        output,
    },
    config::Config,
};

/// What the server keeps of our environment: with anything else it would not have its defaults, or
/// would work on the operator's own data.
const KEPT_ENVIRONMENT: [&str; 3] = ["PATH", "LD_LIBRARY_PATH", "TMPDIR"];

/// More than running calls, open requests and the embedded server together may take at a stop.
const STOP_LIMIT: Duration = Duration::from_secs(90);

/// Lines of its log that tell why a server did not start.
const LAST_LINES: usize = 10;

/// How a server is started.
pub struct Setup {
    /// The name of its data folder within the benchmark's.
    pub data: &'static str,
    /// Variables of its environment, where it shall not have its defaults.
    pub settings: Vec<(&'static str, String)>,
}

/// A server process.
pub struct Server {
    process: Child,
    log: Option<Lines<BufReader<ChildStderr>>>,
    address: Option<SocketAddr>,
}

/// Measures against servers that start on empty data folders. However it ends, they are stopped and
/// the folder removed.
///
/// # Errors
/// When one does not start or stop, or the measurement fails.
pub async fn on_servers<const N: usize>(
    bench: &mut Bench<'_>,
    folder: Folder,
    setups: [Setup; N],
    measure: impl AsyncFnOnce(&Folder, &[Server; N], &mut Report) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut servers = Vec::with_capacity(N);
    let measured = async {
        for setup in setups {
            servers.push(Server::start(bench.config, &folder, setup)?);
        }
        // Not interrupted, as no start of a server is.
        for server in &mut servers {
            server.listens().await?;
        }
        folder.announce();
        let servers = servers.as_slice().try_into()?;
        tokio::select! {
            measured = measure(&folder, servers, &mut bench.report) => measured,
            signal = bench.signals.stop() => Err(stopped_by(signal)),
            error = folder.fills_disk() => Err(error),
        }
    }
    .await;
    let mut stopped = Ok(());
    for server in servers {
        stopped = stopped.and(server.stop().await);
    }
    let removed = folder.remove();
    measured?;
    stopped?;
    removed
}

impl Server {
    /// Starts it on an empty data folder; it does not listen yet.
    fn start(config: &Config, folder: &Folder, setup: Setup) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program's file is not known")?;
        let mut command = Command::new(&program);
        command.env_clear();
        for name in KEPT_ENVIRONMENT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if let Some(programs) = &config.pg_bin {
            command.env("TOOLROOM_PG_BIN", std::path::absolute(programs)?);
        }
        let mut process = command
            .env("TOOLROOM_LOG_FORMAT", "json")
            .envs(setup.settings)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.path().join(setup.data))
            // No configuration file lies there.
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // A terminal's interrupt is for us, who stop it once and wait for its end.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be run", program.display()))?;
        let log = process.stderr.take();
        Ok(Self {
            process,
            log: log.map(|log| BufReader::new(log).lines()),
            address: None,
        })
    }

    /// Waits until it listens. From then on its warnings are repeated.
    async fn listens(&mut self) -> anyhow::Result<()> {
        let mut log = self.log.take().context("the server was waited for")?;
        let mut last = VecDeque::with_capacity(LAST_LINES);
        while let Some(line) = log.next_line().await? {
            if let Some(address) = listening_on(&line) {
                self.address = Some(address);
                tokio::spawn(repeat_warnings(log));
                return Ok(());
            }
            if last.len() == LAST_LINES {
                last.pop_front();
            }
            last.push_back(line);
        }
        bail!("the server did not start: {}", Vec::from(last).join("\n"))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When it does not yet.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        self.address.context("the server does not listen yet")
    }

    /// Memory that its process holds, in MiB; that of PostgreSQL's processes is not in it.
    ///
    /// # Errors
    /// When it does not run any more.
    pub fn resident_mib(&self) -> anyhow::Result<f64> {
        let id = self.process.id().context("the server ended")?;
        memory_mib(id, "VmRSS")
    }

    /// Stops it, and with it its PostgreSQL.
    async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(id) = self.process.id() {
            kill(Pid::from_raw(i32::try_from(id)?), Signal::SIGTERM)?;
        }
        let ended = tokio::time::timeout(STOP_LIMIT, self.process.wait()).await;
        let status = ended.with_context(|| {
            format!("the server did not stop within {} s", STOP_LIMIT.as_secs())
        })??;
        if !status.success() {
            bail!("the server ended with {status}");
        }
        Ok(())
    }
}

/// The address in the line of the log that tells one.
fn listening_on(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    if line["message"] != "listening" {
        return None;
    }
    line["url"].as_str()?.strip_prefix("http://")?.parse().ok()
}

/// Reads the log to its end, so that the server never waits for a reader.
async fn repeat_warnings(mut log: Lines<BufReader<ChildStderr>>) {
    while let Ok(Some(line)) = log.next_line().await {
        if !line.contains("\"level\":\"INFO\"") {
            output::say(format_args!("the server says: {line}"));
        }
    }
}
