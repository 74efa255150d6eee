//! Taking a cluster over from a toolroom that was killed.
//!
//! Every server process inherits an open, locked file ([`Layout::server_lock`]), so the lock is
//! free when, and only when, none of them is left: not the server, not one of its children that
//! outlived it, not an `initdb` that was interrupted. No process id has to be believed.

use std::{
    fs::{self, File, TryLockError},
    os::unix::fs::MetadataExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    cluster::{Layout, PidFile},
    error::{Error, io_at},
    lock,
};

/// How often the lock is asked for again.
const POLL: Duration = Duration::from_millis(10);

/// How long a left-over server may take for an orderly shutdown, its checkpoint included, before
/// it is told to stop at once (its log is then replayed at the start).
const ORDERLY: Duration = Duration::from_secs(10);

/// How long processes without their server (they notice its death within milliseconds, unless a
/// statement keeps them busy) may go on before they are killed. Their shared memory is lost anyway.
const ORPHANED: Duration = Duration::from_millis(500);

/// When to give up.
const LIMIT: Duration = Duration::from_secs(30);

/// Ends what an earlier toolroom left running on the cluster, and takes the server's lock.
///
/// # Errors
/// [`Error::LeftOver`] when processes would not end, [`Error::Signal`] when they are another user's.
pub(super) fn claim(layout: &Layout) -> Result<File, Error> {
    let path = layout.server_lock();
    let lock = lock::open(&path)?;
    let began = Instant::now();
    let mut sent = None;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(io_at("lock", &path)(source)),
        }
        let pids = holders(&lock).map_err(io_at("read", Path::new("/proc")))?;
        if began.elapsed() > LIMIT {
            return Err(Error::LeftOver {
                dir: layout.cluster(),
                pids,
                limit_s: LIMIT.as_secs(),
            });
        }
        end(&pids, &layout.cluster(), began.elapsed(), &mut sent)?;
        thread::sleep(POLL);
    }
}

/// Sends what is due after `waited`: `sent` remembers the server and the signal it got last.
fn end(
    pids: &[i32],
    cluster: &Path,
    waited: Duration,
    sent: &mut Option<(i32, Signal)>,
) -> Result<(), Error> {
    let server = PidFile::read(cluster)
        .map(|file| file.pid)
        .filter(|pid| pids.contains(pid));
    match server {
        Some(pid) => {
            let due = if waited < ORDERLY {
                Signal::SIGINT
            } else {
                Signal::SIGQUIT
            };
            if *sent != Some((pid, due)) {
                tracing::warn!(pid, signal = %due, "stopping the server that an earlier toolroom left");
                send(pid, due)?;
                *sent = Some((pid, due));
            }
        }
        None if waited > ORPHANED => {
            for pid in pids {
                send(*pid, Signal::SIGKILL)?;
            }
        }
        None => {}
    }
    Ok(())
}

fn send(pid: i32, signal: Signal) -> Result<(), Error> {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(Error::Signal {
            pid,
            source: errno.into(),
        }),
    }
}

/// The other processes that have `file` open. Those that this process may not look into are left
/// out.
fn holders(file: &File) -> std::io::Result<Vec<i32>> {
    let wanted = file.metadata()?;
    let own = std::process::id().cast_signed();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(entry.path().join("fd")) else {
            continue;
        };
        let holds = descriptors.flatten().any(|descriptor| {
            fs::metadata(descriptor.path())
                .is_ok_and(|meta| meta.ino() == wanted.ino() && meta.dev() == wanted.dev())
        });
        if holds && pid != own {
            found.push(pid);
        }
    }
    Ok(found)
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use sqlx::{ConnectOptions, Executor};

    use super::super::{Options, start, start_detached};

    #[tokio::test]
    async fn a_server_left_running_is_taken_over_with_its_clients() {
        let temp = tempfile::Builder::new()
            .permissions(std::fs::Permissions::from_mode(0o711))
            .tempdir()
            .unwrap();
        let options = Options {
            data_dir: temp.path().to_path_buf(),
            ..Options::default()
        };
        let left = start_detached(options.clone()).await.unwrap();
        let mut client = left.connect().await.unwrap();
        client.execute("create table kept ()").await.unwrap();

        let server = start(options).await.unwrap();
        assert!(client.execute("select").await.is_err());
        let mut client = server.connect_options().connect().await.unwrap();
        client.execute("select from kept").await.unwrap();
        server.stop().await.unwrap();
    }
}
