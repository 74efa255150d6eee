//! Where the server's socket is.

use std::{
    fs::{self, DirBuilder},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use nix::unistd::mkdtemp;

use super::{
    account::Account,
    cluster::Layout,
    error::{Error, io_at},
};

/// The port, which for a socket is but a part of its file's name.
pub(super) const PORT: u16 = 5432;

/// The longest path that an address of a Unix socket holds, in bytes (108 with its final zero).
const PATH_LIMIT: usize = 107;

/// Chooses the folder for the socket and makes it, private to the account: `run` in the data
/// folder where that path is short enough and open to the server (`direct`), else a folder under
/// the temporary one, whose name is kept in the data folder to be found again.
pub(super) fn folder(layout: &Layout, account: &Account, direct: bool) -> Result<PathBuf, Error> {
    let beside = layout.run();
    if direct && fits(&beside) {
        if !beside.is_dir() {
            private_folder(&beside)?;
            account.give(&beside)?;
        }
        sweep(&beside)?;
        return Ok(beside);
    }
    if let Some(recorded) = recorded(layout)
        && is_private(&recorded, account)
        && fits(&recorded)
    {
        sweep(&recorded)?;
        return Ok(recorded);
    }
    let short = make_short()?;
    account.give(&short)?;
    let record = layout.socket_record();
    fs::write(&record, short.as_os_str().as_bytes()).map_err(io_at("write", &record))?;
    Ok(short)
}

/// Removes a folder under the temporary one, and its record, after an orderly end.
pub(super) fn forget(layout: &Layout) {
    if let Some(recorded) = recorded(layout) {
        // Not empty means not ours alone: then it stays.
        fs::remove_dir(recorded).ok();
        fs::remove_file(layout.socket_record()).ok();
    }
}

/// The value for `unix_socket_directories`, which is a list: quoted, so that a comma or a space in
/// the path stays one entry.
pub(super) fn setting(folder: &Path) -> std::ffi::OsString {
    let mut value = std::ffi::OsString::from("unix_socket_directories=\"");
    value.push(folder);
    value.push("\"");
    value
}

fn fits(folder: &Path) -> bool {
    let bytes = folder.as_os_str().as_bytes();
    let plain = !bytes
        .iter()
        .any(|byte| byte.is_ascii_control() || *byte == b'"');
    plain && folder.join(file_name()).as_os_str().len() <= PATH_LIMIT
}

fn file_name() -> String {
    format!(".s.PGSQL.{PORT}")
}

fn recorded(layout: &Layout) -> Option<PathBuf> {
    let bytes = fs::read(layout.socket_record()).ok()?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(&bytes)))
}

/// Whether what a record names is still the private folder that we made: others may write to the
/// temporary folder too.
fn is_private(folder: &Path, account: &Account) -> bool {
    folder
        .symlink_metadata()
        .is_ok_and(|meta| meta.is_dir() && meta.mode() & 0o077 == 0)
        && account.owns(folder)
}

fn private_folder(path: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(io_at("create", path))
}

fn make_short() -> Result<PathBuf, Error> {
    let name = "toolroom-XXXXXX";
    let chosen = std::env::temp_dir().join(name);
    let template = if chosen.is_absolute() && fits(&chosen) {
        chosen
    } else {
        Path::new("/tmp").join(name)
    };
    mkdtemp(&template).map_err(|errno| io_at("create", &template)(errno.into()))
}

/// Removes what a killed server left. Nobody listens any more (the caller holds the server's
/// lock), but the process id in the stale lock file may by now be somebody else's.
fn sweep(folder: &Path) -> Result<(), Error> {
    for name in [file_name(), format!("{}.lock", file_name())] {
        let path = folder.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io_at("remove", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}
