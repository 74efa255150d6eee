//! The server that all test processes of a target folder share.
//!
//! Whoever needs it first starts it; it is not tied to that process's life, for others use it too.
//! Every test process holds a shared lock on `users.lock` while it lives. A small shell script, the
//! keeper, stops the server some seconds after the last of these locks is gone, however their
//! holders died. Should the keeper be killed, the next test process starts another. The cluster is
//! made afresh at each start and needs no durability.

use std::{
    fs::{self, File},
    io,
    os::unix::{fs::DirBuilderExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use sqlx::postgres::PgConnectOptions;
use tokio::sync::OnceCell;

use crate::embedded::{self, Options};

/// How long the server outlives its last user, in seconds: runners that start a process a test
/// leave gaps, and a run often follows a run.
const LINGER_S: u32 = 15;

/// Settings that give up durability, of which a cluster that is thrown away has no need, allow for
/// the pools of many tests at once, and do not compress the log, through which every copy of the
/// template goes.
const SETTINGS: [(&str, &str); 6] = [
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("wal_compression", "off"),
    ("max_connections", "400"),
    ("autovacuum_naptime", "1h"),
];

/// Held for this process's life: tells the keeper that the server is in use.
static USE: OnceLock<File> = OnceLock::new();

static SERVER: OnceCell<PgConnectOptions> = OnceCell::const_new();

/// The shared server, started if need be.
pub(super) async fn server() -> PgConnectOptions {
    SERVER
        .get_or_init(|| async {
            let folder = folder();
            join_or_start(&folder)
                .await
                .unwrap_or_else(|error| panic!("no test server in {}: {error}", folder.display()))
        })
        .await
        .clone()
}

/// Lets one process (and task) at a time do what must happen once on the server, until the
/// returned file is dropped.
pub(super) async fn exclusively() -> io::Result<File> {
    let path = folder().join("start.lock");
    tokio::task::spawn_blocking(move || {
        let file = open(&path)?;
        file.lock()?;
        Ok(file)
    })
    .await
    .map_err(io::Error::other)?
}

async fn join_or_start(folder: &Path) -> Result<PgConnectOptions, Box<dyn std::error::Error>> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(folder)?;
    let users = folder.join("users.lock");
    let in_use = tokio::task::spawn_blocking({
        let users = users.clone();
        move || {
            let file = open(&users)?;
            file.lock_shared()?;
            io::Result::Ok(file)
        }
    })
    .await??;
    USE.set(in_use).expect("a process joins once");

    let _turn = exclusively().await?;
    let data_dir = folder.join("data");
    let server = match embedded::attach(&data_dir).await? {
        Some(running) => running,
        None => start(&data_dir).await?,
    };
    ensure_keeper(folder, &users, &data_dir.join("postgres"))?;
    Ok(server)
}

async fn start(data_dir: &Path) -> Result<PgConnectOptions, Box<dyn std::error::Error>> {
    match fs::remove_dir_all(data_dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let options = Options {
        data_dir: data_dir.to_path_buf(),
        bin_dir: std::env::var_os("TOOLROOM_PG_BIN").map(Into::into),
        settings: SETTINGS
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
    };
    Ok(embedded::start_detached(options).await?)
}

/// Starts a keeper unless one runs: it holds `keeper.lock` as its standard input.
fn ensure_keeper(folder: &Path, users: &Path, cluster: &Path) -> io::Result<()> {
    let lock = open(&folder.join("keeper.lock"))?;
    match lock.try_lock() {
        Err(fs::TryLockError::WouldBlock) => return Ok(()),
        Err(fs::TryLockError::Error(error)) => return Err(error),
        Ok(()) => {}
    }
    Command::new("sh")
        .args(["-c", include_str!("keeper.sh"), "keeper"])
        .args([users, cluster])
        .arg(LINGER_S.to_string())
        .current_dir("/")
        .stdin(lock)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map(drop)
}

/// `test-postgres` in the target folder that this test was built in.
fn folder() -> PathBuf {
    let target = std::env::current_exe().ok().and_then(|program| {
        let deps = program.ancestors().find(|dir| dir.ends_with("deps"))?;
        Some(deps.parent()?.parent()?.to_path_buf())
    });
    target
        .unwrap_or_else(|| std::env::temp_dir().join("toolroom"))
        .join("test-postgres")
}

fn open(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}
