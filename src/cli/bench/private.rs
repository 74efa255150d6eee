//! The folder that a benchmark has for itself.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::statvfs::statvfs;
use tempfile::TempDir;

use super::output;

/// What stays free beside a benchmark, so that a server on the same disk does not stop: as much as
/// its write-ahead log may take.
const LEFT_FREE_BYTES: u64 = 2 * GIB;

/// What a benchmark's own write-ahead log may take.
const WRITE_AHEAD_BYTES: u64 = 2 * GIB;

/// Between looks at what is free: no disk fills by [`LEFT_FREE_BYTES`] within that time.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// A folder beside the data folder, so on its disk, that goes with its value.
pub struct Folder(TempDir);

impl Folder {
    /// Makes it, where `needed_bytes` for events and a reserve are free.
    ///
    /// # Errors
    /// When no folder can be made, it would be on another disk, or the disk is too full.
    pub fn beside(data_dir: &Path, needed_bytes: u64) -> anyhow::Result<Self> {
        let parent = parent(data_dir)?;
        let free = free_bytes(&parent)?;
        let needed = needed_bytes.saturating_add(WRITE_AHEAD_BYTES + LEFT_FREE_BYTES);
        if free < needed {
            bail!(
                "{} has {} GiB free, and {} GiB are needed: ask for fewer --events, or name a folder on another disk with --data-dir",
                parent.display(),
                free / GIB,
                needed.div_ceil(GIB)
            );
        }
        let made = tempfile::Builder::new()
            .prefix("toolroom-bench-")
            // Started by root, the server runs under another account, which must be able to pass.
            .permissions(Permissions::from_mode(0o711))
            .tempdir_in(&parent);
        made.map(Self).with_context(|| {
            format!(
                "no folder can be made in {}; name another place with --data-dir",
                parent.display()
            )
        })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The data folder within it.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Says that a server runs in it.
    pub fn announce(&self) {
        output::say(format_args!(
            "measuring on a private PostgreSQL in {}, which goes at the end",
            self.path().display()
        ));
    }

    /// Waits until the disk is nearly full, and says so.
    pub async fn fills_disk(&self) -> anyhow::Error {
        loop {
            match free_bytes(self.path()) {
                Ok(free) if free >= LEFT_FREE_BYTES => tokio::time::sleep(LOOK_INTERVAL).await,
                Ok(free) => {
                    return anyhow::anyhow!(
                        "stopped with {} MiB left on the disk of {}: take fewer --seconds, or name a folder on another disk with --data-dir",
                        free / MIB,
                        self.path().display()
                    );
                }
                Err(error) => return error,
            }
        }
    }

    /// Removes it with all that is in it; no server may run there any more.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn remove(self) -> anyhow::Result<()> {
        let path = self.path().to_path_buf();
        self.0
            .close()
            .with_context(|| format!("{} cannot be removed: remove it by hand", path.display()))
    }
}

fn free_bytes(folder: &Path) -> anyhow::Result<u64> {
    let disk = statvfs(folder)
        .with_context(|| format!("what is free at {} is not known", folder.display()))?;
    Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
}

/// The folder that holds the data folder, or will.
fn parent(data_dir: &Path) -> anyhow::Result<PathBuf> {
    let absolute = std::path::absolute(data_dir)
        .with_context(|| format!("{} is no path", data_dir.display()))?;
    let there = fs::canonicalize(&absolute).ok();
    let path = there.as_deref().unwrap_or(&absolute);
    let parent = path
        .ancestors()
        .skip(1)
        .find(|folder| folder.is_dir())
        .with_context(|| format!("there is nothing beside {}", path.display()))?;
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev());
    if there.is_some() && device(path)? != device(parent)? {
        bail!(
            "{} is a disk of its own, and a folder beside it would measure another: name a folder on it, such as --data-dir {}",
            path.display(),
            path.join("bench").display()
        );
    }
    Ok(parent.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_lies_beside_the_data_and_goes() {
        let home = tempfile::tempdir().unwrap();
        let home = fs::canonicalize(home.path()).unwrap();
        fs::create_dir(home.join("data")).unwrap();
        std::os::unix::fs::symlink(home.join("data"), home.join("link")).unwrap();
        for data in ["data", "not-yet", "not-yet/either", "link"] {
            let folder = Folder::beside(&home.join(data), 0).unwrap();
            assert_eq!(folder.path().parent(), Some(home.as_path()), "{data}");
            fs::write(folder.path().join("file"), "x").unwrap();
            let path = folder.path().to_path_buf();
            folder.remove().unwrap();
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_disk_is_not_filled_up() {
        let home = tempfile::tempdir().unwrap();
        let refused = Folder::beside(&home.path().join("data"), 1 << 60).err();
        let words = refused.unwrap().to_string();
        assert!(words.contains("GiB are needed"), "{words}");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn another_disk_is_not_measured_instead() {
        let refused = Folder::beside(Path::new("/proc"), 0).err().unwrap();
        let words = refused.to_string();
        assert!(words.contains("--data-dir /proc/bench"), "{words}");
    }
}
