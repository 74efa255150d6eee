//! Who owns a data folder: a lock file that the kernel releases when its owner dies.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::error::{Error, io_at};

/// How long a held lock is asked for again before its holder counts as alive: a process that was
/// just killed, or a fork of it that has not reached its exec, holds it for a few milliseconds more.
const GRACE: Duration = Duration::from_millis(300);

/// How often a held lock is asked for again.
const POLL: Duration = Duration::from_millis(5);

/// The exclusive right to a data folder, for as long as this value lives.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the lock and writes this process's id into it.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process (or another server in this one) holds it.
    pub(super) fn acquire(path: &Path, data_dir: &Path) -> Result<Self, Error> {
        let mut file = open(path)?;
        let deadline = Instant::now() + GRACE;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(io_at("lock", path)(source)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(POLL),
                Err(TryLockError::WouldBlock) => {
                    let mut owner = String::new();
                    file.read_to_string(&mut owner).ok();
                    return Err(Error::InUse {
                        data_dir: data_dir.to_path_buf(),
                        pid: owner.trim().parse().ok(),
                    });
                }
            }
        }
        write_pid(&mut file).map_err(io_at("write", path))?;
        Ok(Self { _file: file })
    }
}

/// Opens a lock file, creating it readable to its owner alone.
pub(super) fn open(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(io_at("open", path))
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}
