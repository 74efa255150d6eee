//! A private PostgreSQL, for whoever has set no `DATABASE_URL`.
//!
//! [`start`] turns a data folder into a running, durable server that only this machine's owner of
//! the folder can reach, through a Unix socket. It survives every way to die: a killed toolroom
//! takes its server along (the kernel sends it a signal), and whatever is left all the same is
//! ended by the next start before that touches the files. Two locks make this safe:
//!
//! - `toolroom.lock` belongs to the toolroom that owns the folder; a second one is refused.
//! - `postgres.lock` is inherited by the server and all its children, and so is free only when the
//!   last of them is gone.
//!
//! The reasons behind the design are in `docs/decisions/0003-embedded-postgres.md`.

mod account;
mod binaries;
mod child;
mod cluster;
mod error;
mod leftover;
mod lock;
mod log;
mod process;
mod settings;
mod socket;

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use sqlx::{
    ConnectOptions, Connection,
    postgres::{PgConnectOptions, PgSslMode},
};

use self::{
    account::{Account, Reach},
    binaries::Binaries,
    cluster::{Layout, PidFile, ROLE},
    error::io_at,
    lock::FolderLock,
    log::ServerLog,
    process::Process,
    settings::SETTINGS,
};

pub use self::{binaries::find_binaries, error::Error};

/// How long a start may take: after a crash the server replays up to `max_wal_size` of log first,
/// minutes on a slow disk.
const START_LIMIT: Duration = Duration::from_secs(600);

/// How often the pid file is read while waiting for the server.
const READY_POLL: Duration = Duration::from_millis(3);

/// How long [`attach`] waits for a server that is starting or stopping.
const ATTACH_LIMIT: Duration = Duration::from_secs(10);

/// How long an orderly shutdown may take; its checkpoint writes at most what memory holds.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How long an immediate shutdown may take: it writes nothing.
const QUIT_LIMIT: Duration = Duration::from_secs(6);

/// PostgreSQL's code for a database that does not exist.
const UNDEFINED_DATABASE: &str = "3D000";

/// What to start.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The folder for everything; created if absent. The cluster is its subfolder `postgres`.
    pub data_dir: PathBuf,
    /// The folder with `postgres` and `initdb` (`TOOLROOM_PG_BIN`); searched for if `None`.
    pub bin_dir: Option<PathBuf>,
    /// Server settings beyond, or instead of, our own, as name and value.
    pub settings: Vec<(String, String)>,
}

/// A running server. Dropping it begins an orderly shutdown and does not wait for its end; the
/// folder stays locked until then.
#[derive(Debug)]
pub struct Server {
    layout: Layout,
    bin_dir: PathBuf,
    socket: PathBuf,
    process: Process,
    ends_with_us: bool,
}

/// Whose life the server shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lifetime {
    /// That of this process, however it ends.
    ThisProcess,
    /// Nobody's: it runs until it is told to stop.
    #[cfg(feature = "testing")]
    Detached,
}

/// Starts the server of a data folder, creating its cluster the first time, and returns once it
/// accepts connections and has its database.
///
/// # Errors
/// [`Error::InUse`] when another process runs a server on this folder; the other variants tell
/// what is missing or what the server's log says.
pub async fn start(options: Options) -> Result<Server, Error> {
    start_with(options, Lifetime::ThisProcess).await
}

/// Starts a server that outlives this process. Somebody else must stop it.
#[cfg(feature = "testing")]
pub(crate) async fn start_detached(options: Options) -> Result<PgConnectOptions, Error> {
    let server = start_with(options, Lifetime::Detached).await?;
    Ok(server.connect_options())
}

async fn start_with(options: Options, lifetime: Lifetime) -> Result<Server, Error> {
    let server = blocking(move || launch(&options, lifetime)).await?;
    if let Err(error) = ensure_database(&server.connect_options()).await {
        server.stop().await?;
        return Err(error.into());
    }
    Ok(server)
}

/// The way to a server that already runs on the folder, for command-line tools beside it: a live
/// toolroom's, or one that a killed toolroom left. `None` when none runs. A server that is just
/// starting or stopping is waited for, up to ten seconds.
///
/// # Errors
/// [`Error::Io`] when the folder may not be read.
pub async fn attach(data_dir: &Path) -> Result<Option<PgConnectOptions>, Error> {
    if !data_dir.exists() {
        return Ok(None);
    }
    let cluster = Layout::open(data_dir)?.cluster();
    blocking(move || {
        let deadline = Instant::now() + ATTACH_LIMIT;
        while let Some(file) = PidFile::read(&cluster).filter(|file| file.is_live(&cluster)) {
            match file.socket {
                Some(socket) if file.ready => return Ok(Some(connect_options(&socket))),
                _ if Instant::now() < deadline => thread::sleep(READY_POLL),
                _ => break,
            }
        }
        Ok(None)
    })
    .await
}

impl Server {
    /// How to connect: as the superuser `toolroom`, to the database `toolroom`.
    pub fn connect_options(&self) -> PgConnectOptions {
        connect_options(&self.socket)
    }

    /// The folder of the server's programs; `pg_dump` and its kin are there too, where the
    /// installation has them.
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// The data folder, as an absolute path.
    pub fn data_dir(&self) -> &Path {
        self.layout.root()
    }

    /// Waits for the server process to end, by whatever cause, and says how it did. Cancel safe;
    /// any number of callers may wait.
    pub async fn exited(&self) -> ExitStatus {
        self.process.exited().await
    }

    /// Shuts the server down: in order (connections are cut, a checkpoint is written), and if that
    /// takes over twenty seconds, at once. Nothing acknowledged is lost either way.
    ///
    /// # Errors
    /// [`Error::StopTimedOut`] when even that had no effect; the process is killed then.
    pub async fn stop(self) -> Result<(), Error> {
        for (signal, limit) in [(Signal::SIGINT, STOP_LIMIT), (Signal::SIGQUIT, QUIT_LIMIT)] {
            self.process.signal(signal)?;
            if tokio::time::timeout(limit, self.exited()).await.is_ok() {
                socket::forget(&self.layout);
                return Ok(());
            }
        }
        self.process.signal(Signal::SIGKILL)?;
        Err(Error::StopTimedOut {
            pid: self.process.pid(),
            limit_s: (STOP_LIMIT + QUIT_LIMIT).as_secs(),
        })
    }

    /// Kills the server process as a crash would, and waits for its end.
    #[cfg(feature = "testing")]
    pub(crate) async fn kill(self) -> Result<(), Error> {
        self.process.signal(Signal::SIGKILL)?;
        self.exited().await;
        Ok(())
    }

    /// Ends the server at once, without its checkpoint, and blocks until it is gone.
    #[cfg(feature = "testing")]
    pub(crate) fn quit_blocking(self) {
        let deadline = Instant::now() + QUIT_LIMIT;
        if self.process.signal(Signal::SIGQUIT).is_ok() {
            while self.process.status().is_none() && Instant::now() < deadline {
                thread::sleep(READY_POLL);
            }
        }
        socket::forget(&self.layout);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.ends_with_us
            && let Err(error) = self.process.signal(Signal::SIGINT)
        {
            tracing::warn!(%error, "cannot stop the embedded server");
        }
    }
}

/// Everything up to a server that accepts connections; blocks.
fn launch(options: &Options, lifetime: Lifetime) -> Result<Server, Error> {
    let account = Account::choose(&options.data_dir.join("postgres"))?;
    let layout = Layout::create(&options.data_dir, account.data_dir_mode())?;
    let owner_lock = FolderLock::acquire(&layout.owner_lock(), layout.root())?;
    let server_lock = leftover::claim(&layout)?;

    let existing = cluster::version(&layout)?;
    let cluster_dir = layout.cluster();
    let binaries = Binaries::choose(options.bin_dir.as_deref(), existing, &cluster_dir, &account)?;
    if existing.is_none() {
        cluster::create(&layout, &binaries, &account, &server_lock)?;
    }
    cluster::remove_stale_pid_file(&cluster_dir)?;

    let program = binaries.program("postgres");
    let reach = Reach::to(&cluster_dir, &account, &program)?;
    let socket = socket::folder(&layout, &account, reach.is_direct())?;
    let log = ServerLog::open(&layout.log())?;

    let mut command = account.command(&program);
    command.arg("-D").arg(&reach.path);
    command.arg("-c").arg(format!("port={}", socket::PORT));
    command.arg("-c").arg(socket::setting(&socket));
    for (name, value) in SETTINGS {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    for (name, value) in &options.settings {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    let output = || log.file.try_clone().map_err(io_at("open", &log.path));
    command
        .stdin(Stdio::null())
        .stdout(output()?)
        .stderr(output()?)
        // A terminal's interrupt is for toolroom, which drains before it stops the server.
        .process_group(0);
    let ends_with_us = lifetime == Lifetime::ThisProcess;
    child::prepare(
        &mut command,
        cluster::inherited(reach.descriptor, &server_lock)?,
        ends_with_us.then_some(Signal::SIGINT),
    );
    drop(server_lock);

    let owner_lock = ends_with_us.then_some(owner_lock);
    let process = Process::spawn(command, owner_lock).map_err(io_at("run", &program))?;
    let server = Server {
        layout,
        bin_dir: binaries.dir,
        socket,
        process,
        ends_with_us,
    };
    server.wait_until_ready(&log)?;
    Ok(server)
}

impl Server {
    fn wait_until_ready(&self, log: &ServerLog) -> Result<(), Error> {
        let cluster = self.layout.cluster();
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = self.process.status() {
                return Err(Error::EndedAtStart {
                    status,
                    log: log.path.clone(),
                    tail: log.tail(),
                });
            }
            let file = PidFile::read(&cluster);
            if file.is_some_and(|file| file.ready && file.pid == self.process.pid()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::StartTimedOut {
                    limit_s: START_LIMIT.as_secs(),
                    log: log.path.clone(),
                    tail: log.tail(),
                });
            }
            thread::sleep(READY_POLL);
        }
    }
}

fn connect_options(socket: &Path) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(socket)
        .port(socket::PORT)
        .username(ROLE)
        .database(ROLE)
        .ssl_mode(PgSslMode::Disable)
}

/// Creates the database unless it is there: a first start may have been cut off just before.
async fn ensure_database(options: &PgConnectOptions) -> Result<(), sqlx::Error> {
    match options.connect().await {
        Ok(connection) => return connection.close().await,
        Err(sqlx::Error::Database(error))
            if error.code().as_deref() == Some(UNDEFINED_DATABASE) => {}
        Err(error) => return Err(error),
    }
    let mut connection = options.clone().database("postgres").connect().await?;
    sqlx::query("create database toolroom")
        .execute(&mut connection)
        .await?;
    connection.close().await
}

/// Runs work that blocks where it holds nobody up.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(failure) => match failure.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // A task that blocks cannot be aborted, and a runtime that ends polls nobody.
            Err(_) => std::future::pending().await,
        },
    }
}
