//! The cluster's files: where they are, how they come to be, what they say.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::DirBuilderExt},
    },
    path::{Path, PathBuf},
    process::Stdio,
};

use nix::{sys::signal::Signal, unistd::syncfs};

use super::{
    account::{Account, Reach},
    binaries::Binaries,
    child,
    error::{Error, io_at},
    log::last_lines,
};

/// The superuser of the cluster, and its database.
pub(super) const ROLE: &str = "toolroom";

/// The paths below a data folder.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Makes the folder, if it is not there, and its path absolute.
    pub(super) fn create(data_dir: &Path, mode: u32) -> Result<Self, Error> {
        DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(data_dir)
            .map_err(io_at("create", data_dir))?;
        Self::open(data_dir)
    }

    /// Makes the path of an existing folder absolute.
    pub(super) fn open(data_dir: &Path) -> Result<Self, Error> {
        let root = fs::canonicalize(data_dir).map_err(io_at("open", data_dir))?;
        Ok(Self { root })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// PostgreSQL's data directory.
    pub(super) fn cluster(&self) -> PathBuf {
        self.root.join("postgres")
    }

    /// Where `initdb` works: only a finished cluster gets its final name.
    fn unfinished(&self) -> PathBuf {
        self.root.join("postgres.unfinished")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("postgres.log")
    }

    /// The folder of the socket.
    pub(super) fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Names the folder of the socket when it is elsewhere.
    pub(super) fn socket_record(&self) -> PathBuf {
        self.root.join("socket-folder")
    }

    /// Held by the toolroom that owns the folder.
    pub(super) fn owner_lock(&self) -> PathBuf {
        self.root.join("toolroom.lock")
    }

    /// Held by the server's processes themselves.
    pub(super) fn server_lock(&self) -> PathBuf {
        self.root.join("postgres.lock")
    }
}

/// The major version of an existing cluster; `None` when there is none yet.
pub(super) fn version(layout: &Layout) -> Result<Option<u32>, Error> {
    let dir = layout.cluster();
    let path = dir.join("PG_VERSION");
    match fs::read_to_string(&path) {
        Ok(text) => text
            .trim()
            .parse()
            .map(Some)
            .map_err(|_| Error::NotACluster { dir }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let is_free = match fs::read_dir(&dir) {
                Ok(mut entries) => entries.next().is_none(),
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            };
            if is_free {
                Ok(None)
            } else {
                Err(Error::NotACluster { dir })
            }
        }
        Err(error) => Err(io_at("read", &path)(error)),
    }
}

/// Creates the cluster. It works under another name, syncs once, and renames: an interrupted
/// attempt never looks like a cluster, and the next one begins afresh.
///
/// Collation is `C`: the fastest, and the only one whose order no system upgrade changes, which
/// would silently break indexes. Character types are `C.UTF-8`, so that `lower`, `ilike` and word
/// parsing know letters beyond ASCII.
pub(super) fn create(
    layout: &Layout,
    binaries: &Binaries,
    account: &Account,
    server_lock: &File,
) -> Result<(), Error> {
    let dir = layout.unfinished();
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_at("remove", &dir)(error));
        }
        _ => {}
    }
    DirBuilder::new()
        .mode(0o700)
        .create(&dir)
        .map_err(io_at("create", &dir))?;
    account.give(&dir)?;

    let reach = Reach::to(&dir, account, &binaries.program("postgres"))?;
    let program = binaries.program("initdb");
    let mut command = account.command(&program);
    command
        .arg("--pgdata")
        .arg(&reach.path)
        .args(["--username", ROLE])
        .args(["--encoding=UTF8", "--locale=C", "--lc-ctype=C.UTF-8"])
        // Whoever reaches the socket, in its private folder, is the owner; nobody else gets in.
        .args(["--auth-local=trust", "--auth-host=reject"])
        .args(["--no-sync", "--no-instructions"])
        .stdin(Stdio::null());
    let inherited = inherited(reach.descriptor, server_lock)?;
    child::prepare(&mut command, inherited, Some(Signal::SIGKILL));
    let output = command.output().map_err(io_at("run", &program))?;
    if !output.status.success() {
        return Err(Error::Initdb {
            dir,
            output: last_lines(&output.stderr),
        });
    }

    // One sync of the file system takes a tenth of the time of initdb's, file by file; what is
    // renamed below is on disk all the same.
    let folder = File::open(&dir).map_err(io_at("open", &dir))?;
    syncfs(&folder).map_err(|errno| io_at("sync", &dir)(errno.into()))?;
    let cluster = layout.cluster();
    fs::rename(&dir, &cluster).map_err(io_at("create", &cluster))?;
    File::open(layout.root())
        .and_then(|root| root.sync_all())
        .map_err(io_at("sync", layout.root()))
}

/// What a server process inherits: the way to its folder, where it needs one, and its lock.
pub(super) fn inherited(
    folder: Option<OwnedFd>,
    server_lock: &File,
) -> Result<Vec<OwnedFd>, Error> {
    let lock = server_lock
        .try_clone()
        .map_err(io_at("duplicate the lock on", Path::new("postgres.lock")))?;
    Ok(folder.into_iter().chain([lock.into()]).collect())
}

/// Removes a pid file that stands in the way: the caller holds the server's lock, so none of ours
/// runs, but its process id may since have gone to somebody else, for whom PostgreSQL would refuse
/// to start. A server that somebody else started on the folder keeps its file, and PostgreSQL
/// refuses.
pub(super) fn remove_stale_pid_file(cluster: &Path) -> Result<(), Error> {
    let Some(file) = PidFile::read(cluster) else {
        return Ok(());
    };
    if file.is_live(cluster) {
        return Ok(());
    }
    let path = PidFile::path(cluster);
    fs::remove_file(&path).map_err(io_at("remove", &path))
}

/// What `postmaster.pid` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PidFile {
    pub(super) pid: i32,
    /// The folder of the socket; `None` before the server listens.
    pub(super) socket: Option<PathBuf>,
    /// Whether the server accepts connections.
    pub(super) ready: bool,
    /// Whether the server is shutting down.
    pub(super) stopping: bool,
}

impl PidFile {
    fn path(cluster: &Path) -> PathBuf {
        cluster.join("postmaster.pid")
    }

    /// Reads the file; `None` when there is none or it is not yet written.
    pub(super) fn read(cluster: &Path) -> Option<Self> {
        Self::parse(&fs::read(Self::path(cluster)).ok()?)
    }

    /// The lines are: pid, folder, start time, port, socket folder, address, memory key, status.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        let status = lines.get(7).map_or(&b""[..], |line| line.trim_ascii());
        Some(Self {
            pid: str::from_utf8(lines.first()?).ok()?.trim().parse().ok()?,
            socket: lines
                .get(4)
                .filter(|line| !line.is_empty())
                .map(|line| std::ffi::OsStr::from_bytes(line).into()),
            ready: status == b"ready",
            stopping: status == b"stopping",
        })
    }

    /// Whether the process is there and is a server on this cluster: a server's current folder is
    /// its data directory.
    pub(super) fn is_live(&self, cluster: &Path) -> bool {
        fs::read_link(format!("/proc/{}/cwd", self.pid)).is_ok_and(|cwd| cwd == cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_is_read_at_each_stage_of_a_start() {
        let ready =
            b"19250\n/proc/self/fd/3\n1795234490\n5432\n/tmp/h1s\n\n 10117126   4\nready   \n";
        let file = PidFile::parse(ready).unwrap();
        assert_eq!((file.pid, file.ready, file.stopping), (19250, true, false));
        assert_eq!(file.socket.as_deref(), Some(Path::new("/tmp/h1s")));

        let early = PidFile::parse(b"7\n/data\n1795234490\n5432\n").unwrap();
        assert_eq!((early.pid, early.ready, early.socket), (7, false, None));
        assert_eq!(PidFile::parse(b""), None);
        assert_eq!(PidFile::parse(b"12\xff\n"), None);
    }

    #[test]
    fn a_folder_with_other_things_is_not_taken_for_a_place_to_fill() {
        let temp = tempfile::tempdir().unwrap();
        let layout = Layout::open(temp.path()).unwrap();
        assert_eq!(version(&layout).unwrap(), None);
        fs::create_dir(layout.cluster()).unwrap();
        assert_eq!(version(&layout).unwrap(), None);
        fs::write(layout.cluster().join("letters.txt"), "dear").unwrap();
        assert!(matches!(version(&layout), Err(Error::NotACluster { .. })));
        fs::write(layout.cluster().join("PG_VERSION"), "15\n").unwrap();
        assert_eq!(version(&layout).unwrap(), Some(15));
    }
}
