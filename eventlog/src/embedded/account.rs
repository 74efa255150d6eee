//! As whom the server runs. PostgreSQL refuses root, so root drops to an unprivileged account.

use std::{
    fs::File,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            fs::{MetadataExt, chown},
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::Command,
};

use nix::unistd::{Uid, User, geteuid};

use super::error::{Error, io_at};

/// Accounts that root drops to, best first: `postgres` comes with the Debian package, `nobody`
/// exists everywhere.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];

/// What a server process may see of our environment. Everything else stays out: `PG…` variables
/// would change the server's behaviour, and secrets are none of its business.
const KEPT_ENVIRONMENT: [&str; 3] = ["PATH", "LD_LIBRARY_PATH", "TMPDIR"];

/// The account that owns the cluster and runs the server.
#[derive(Debug, Clone)]
pub(super) enum Account {
    /// The one this process runs as.
    Own,
    /// Another one, to which this process, being root, drops.
    Dropped { uid: u32, gid: u32, name: String },
}

impl Account {
    /// The account for the cluster at `dir`: the owner of an existing one, so that a cluster made
    /// by an ordinary user stays that user's when root starts it once; else the first candidate.
    pub(super) fn choose(dir: &Path) -> Result<Self, Error> {
        if !geteuid().is_root() {
            return Ok(Self::Own);
        }
        if let Ok(existing) = dir.metadata()
            && existing.uid() != 0
        {
            let known = User::from_uid(Uid::from_raw(existing.uid())).ok().flatten();
            return Ok(Self::Dropped {
                uid: existing.uid(),
                gid: existing.gid(),
                name: known.map_or_else(|| existing.uid().to_string(), |user| user.name),
            });
        }
        CANDIDATES
            .iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| Self::Dropped {
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
                name: user.name,
            })
            .ok_or(Error::NoAccount)
    }

    /// The mode for a data folder that we create: others pass through it only where the server's
    /// account must, and never list it.
    pub(super) fn data_dir_mode(&self) -> u32 {
        match self {
            Self::Own => 0o700,
            Self::Dropped { .. } => 0o711,
        }
    }

    /// Hands a file or folder to the account.
    pub(super) fn give(&self, path: &Path) -> Result<(), Error> {
        match self {
            Self::Own => Ok(()),
            Self::Dropped { uid, gid, .. } => {
                chown(path, Some(*uid), Some(*gid)).map_err(io_at("change the owner of", path))
            }
        }
    }

    /// Whether the account owns what is at `path`.
    pub(super) fn owns(&self, path: &Path) -> bool {
        let uid = match self {
            Self::Own => geteuid().as_raw(),
            Self::Dropped { uid, .. } => *uid,
        };
        path.symlink_metadata().is_ok_and(|meta| meta.uid() == uid)
    }

    /// A command that runs as the account, from `/` (the current folder may be closed to it).
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").env_clear().env("TZ", "UTC");
        for name in KEPT_ENVIRONMENT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if let Self::Dropped { uid, gid, .. } = self {
            command.uid(*uid).gid(*gid);
        }
        command
    }

    /// The name for messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Own => "of this process".to_owned(),
            Self::Dropped { name, .. } => format!("`{name}`"),
        }
    }
}

/// How the server's account reaches a folder of its own.
///
/// The folder may lie below one that is closed to that account, as all of `/root` is. Then the
/// server inherits an open descriptor and takes `/proc/self/fd/N` for the path, which leads to the
/// folder itself without passing its parents. (The alternatives are worse: widening the rights of
/// a home folder behind its owner's back, or keeping the data elsewhere than was asked.)
#[derive(Debug)]
pub(super) struct Reach {
    /// The path to hand to the server.
    pub(super) path: PathBuf,
    /// What the process must inherit for that path to lead anywhere.
    pub(super) descriptor: Option<OwnedFd>,
}

impl Reach {
    /// Finds out by trying: runs `probe` (any harmless program, with arguments) as the account
    /// inside `dir`.
    pub(super) fn to(dir: &Path, account: &Account, probe: &Path) -> Result<Self, Error> {
        let direct = Self {
            path: dir.to_path_buf(),
            descriptor: None,
        };
        if matches!(account, Account::Own) {
            return Ok(direct);
        }
        match account
            .command(probe)
            .arg("--version")
            .current_dir(dir)
            .output()
        {
            Ok(_) => Ok(direct),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                let folder = OwnedFd::from(File::open(dir).map_err(io_at("open", dir))?);
                Ok(Self {
                    path: format!("/proc/self/fd/{}", folder.as_raw_fd()).into(),
                    descriptor: Some(folder),
                })
            }
            Err(error) => Err(io_at("run", probe)(error)),
        }
    }

    /// Whether the parents of the folder are open to the account.
    pub(super) fn is_direct(&self) -> bool {
        self.descriptor.is_none()
    }
}
