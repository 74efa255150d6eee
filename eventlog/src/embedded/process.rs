//! The server process under supervision.

use std::{
    io,
    process::{Child, Command, ExitStatus},
    sync::{
        Arc, Mutex,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};
use tokio::sync::watch;

use super::{error::Error, lock::FolderLock};

/// A running child of ours, watched by a thread of its own.
///
/// That thread also spawned it, for the kernel's parent-death signal fires when the spawning
/// *thread* ends: a thread of a runtime's pool may end at any time, this one ends with the child.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    /// Taken for each signal and for the reaping, so that no signal meets a reused id.
    reaped: Arc<Mutex<bool>>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Spawns the command. The folder's lock, if given, is released once the process has ended.
    pub(super) fn spawn(command: Command, lock: Option<FolderLock>) -> io::Result<Self> {
        let (started, start) = sync_channel(1);
        let (ended, exit) = watch::channel(None);
        let reaped = Arc::new(Mutex::new(false));
        let supervisor = Supervisor {
            lock,
            reaped: Arc::clone(&reaped),
            ended,
        };
        thread::Builder::new()
            .name("embedded-postgres".to_owned())
            .spawn(move || supervisor.run(command, &started))?;
        let pid = start.recv().map_err(io::Error::other)??;
        Ok(Self { pid, reaped, exit })
    }

    /// The process id.
    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Sends a signal; to a process that has ended, none.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), Error> {
        let reaped = lock(&self.reaped);
        if *reaped {
            return Ok(());
        }
        match kill(self.pid, signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(Error::Signal {
                pid: self.pid.as_raw(),
                source: errno.into(),
            }),
        }
    }

    /// How the process ended, if it has.
    pub(super) fn status(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Waits for the end of the process.
    pub(super) async fn exited(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        loop {
            if let Some(status) = *exit.borrow_and_update() {
                return status;
            }
            if exit.changed().await.is_err() {
                // The supervisor could not wait for the process, and has said so in the log.
                std::future::pending::<()>().await;
            }
        }
    }
}

struct Supervisor {
    lock: Option<FolderLock>,
    reaped: Arc<Mutex<bool>>,
    ended: watch::Sender<Option<ExitStatus>>,
}

impl Supervisor {
    fn run(self, mut command: Command, started: &SyncSender<io::Result<Pid>>) {
        let spawned = command.spawn();
        // Closes our copies of what the child inherits: the server's lock is then its own.
        drop(command);
        let child = match spawned {
            Ok(child) => child,
            Err(error) => {
                drop(self.lock);
                started.send(Err(error)).ok();
                return;
            }
        };
        started.send(Ok(pid_of(&child))).ok();
        let status = reap(child, &self.reaped);
        drop(self.lock);
        match status {
            Ok(status) => {
                self.ended.send_replace(Some(status));
            }
            Err(error) => tracing::error!(%error, "cannot wait for the embedded server"),
        }
    }
}

fn reap(mut child: Child, reaped: &Mutex<bool>) -> io::Result<ExitStatus> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    while let Err(errno) = waitid(Id::Pid(pid_of(&child)), flags) {
        if errno != Errno::EINTR {
            return Err(errno.into());
        }
    }
    let mut reaped = lock(reaped);
    let status = child.wait()?;
    *reaped = true;
    Ok(status)
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

fn lock(reaped: &Mutex<bool>) -> std::sync::MutexGuard<'_, bool> {
    reaped
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
