//! The key that wraps all others: found, or made at the first start and never again; and the one that
//! follows it.

mod command;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use sqlx::PgPool;
use toolroom_eventlog::vault::{Error, KeyRing, KeySource, MasterKey, MasterKeys, sync_folder_of};

use crate::config::{Config, MasterKeySource};

/// The master keys that the configuration names; the one in use is made if this database has never
/// had one.
///
/// # Errors
/// When they cannot be read, or the one in use is missing although the vault was written with one.
pub async fn find_or_make(config: &Config, owner: &PgPool) -> anyhow::Result<KeyRing> {
    if find(&config.master_key).await?.is_none() {
        make(&config.master_key, owner).await?;
    }
    Ok(KeyRing::load(source(config)).await?)
}

async fn make(source: &MasterKeySource, owner: &PgPool) -> anyhow::Result<()> {
    let MasterKeySource::File(path) = source else {
        bail!("`master_key` is empty");
    };
    // A new key would open nothing of this, and would stand in the way of the one that does.
    if is_in_use(owner).await? {
        bail!(
            "the master key file {} is missing, but the database holds keys that only it opens: put it back, or name it with `master_key_file`",
            path.display()
        );
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    }
    MasterKey::from_file_or_new(path)?;
    Ok(())
}

/// The master keys that the configuration names; none if there is none in use, and none is made.
///
/// # Errors
/// When one cannot be read or is none.
pub async fn known(config: &Config) -> Result<Option<KeyRing>, Error> {
    match find(&config.master_key).await? {
        Some(_) => KeyRing::load(source(config)).await.map(Some),
        None => Ok(None),
    }
}

/// The master key, if there is one; none is made.
///
/// # Errors
/// When it cannot be read or is none.
pub async fn find(source: &MasterKeySource) -> Result<Option<MasterKey>, Error> {
    Ok(match source {
        MasterKeySource::Text(text) => Some(MasterKey::from_base64(text.expose())?),
        MasterKeySource::File(path) if path.exists() => Some(MasterKey::from_file(path)?),
        MasterKeySource::File(_) => None,
        MasterKeySource::Command(command) => Some(command::ask(command).await?),
    })
}

/// Whether anything is wrapped by a master key already.
///
/// # Errors
/// When the database does not answer.
pub async fn is_in_use(owner: &PgPool) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from vault where wrapped_key is not null)")
        .fetch_one(owner)
        .await
}

fn source(config: &Config) -> Arc<dyn KeySource> {
    Arc::new(Configured {
        current: config.master_key.clone(),
        next: config.next_master_key.clone(),
        // Where other nodes may be, a key that one of them made would be no use to the others.
        may_make: config.database_url.is_none(),
    })
}

/// The keys that the configuration names.
struct Configured {
    current: MasterKeySource,
    next: Option<MasterKeySource>,
    may_make: bool,
}

#[async_trait]
impl KeySource for Configured {
    async fn keys(&self) -> Result<MasterKeys, Error> {
        let current = find(&self.current).await?;
        let missing = || Error::MasterKey("the master key is missing; put it back".to_owned());
        let next = match &self.next {
            Some(next) => find(next).await?,
            None => None,
        };
        Ok(MasterKeys {
            current: current.ok_or_else(missing)?,
            next,
        })
    }

    async fn next_or_new(&self) -> Result<MasterKey, Error> {
        match &self.next {
            None => Err(Error::MasterKey(
                "there is no next master key to rotate to: set `next_master_key`, `next_master_key_file` or `next_master_key_command` on all nodes, restart them one by one, and ask again"
                    .to_owned(),
            )),
            Some(MasterKeySource::File(path)) if !path.exists() && self.may_make => {
                MasterKey::from_file_or_new(path)
            }
            Some(next) => find(next).await?.ok_or_else(|| {
                let place = match next {
                    MasterKeySource::File(path) => path.display().to_string(),
                    _ => "`next_master_key`".to_owned(),
                };
                Error::MasterKey(format!(
                    "there is no next master key to rotate to: put one, made with `openssl rand -base64 32`, into {place} on every node, readable for the server alone, and ask again"
                ))
            }),
        }
    }

    async fn adopt(&self, key: &MasterKey) -> Result<(), Error> {
        match (&self.current, &self.next) {
            (MasterKeySource::File(current), Some(MasterKeySource::File(next))) => {
                adopt_file(current, next, key).map_err(|error| {
                    Error::MasterKey(format!(
                        "the next master key {} could not take the place of {}: {error}; move it there yourself",
                        next.display(),
                        current.display()
                    ))
                })
            }
            _ => {
                tracing::info!(
                    key = key.id(),
                    "the next master key is the one in use: make it the configured master key, and remove the next one, before the next rotation"
                );
                Ok(())
            }
        }
    }
}

/// Puts the next key's file into the place of the current one, which stays beside it under the name
/// of its id: backups from before need it. Killed at any point, one of both files has what is needed,
/// and what is missing is done at the next try.
fn adopt_file(current: &Path, next: &Path, key: &MasterKey) -> io::Result<()> {
    let before = MasterKey::from_file(current).map_err(io::Error::other)?;
    if before.id() == key.id() {
        return Ok(());
    }
    let kept = former(current, &before);
    match std::fs::hard_link(current, &kept) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    std::fs::rename(next, current)?;
    sync_folder_of(current)?;
    sync_folder_of(next)?;
    tracing::info!(
        file = %kept.display(),
        "the former master key opens nothing but backups from before; delete it with the last of them"
    );
    Ok(())
}

fn former(current: &Path, key: &MasterKey) -> PathBuf {
    let mut name = current.as_os_str().to_owned();
    name.push(format!(".{}", key.id()));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> (tempfile::TempDir, Configured) {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| MasterKeySource::File(folder.path().join(name));
        let source = Configured {
            current: at("master.key"),
            next: Some(at("master.key.next")),
            may_make: true,
        };
        MasterKey::from_file_or_new(&folder.path().join("master.key")).unwrap();
        (folder, source)
    }

    fn names(folder: &Path) -> Vec<String> {
        let files = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn the_next_key_takes_the_place_of_the_current_one_which_stays_beside_it() {
        let (folder, source) = files();
        assert!(source.keys().await.unwrap().next.is_none());
        let next = source.next_or_new().await.unwrap();
        assert_eq!(
            source.next_or_new().await.unwrap().id(),
            next.id(),
            "made once"
        );
        let keys = source.keys().await.unwrap();
        assert_eq!(keys.next.unwrap().id(), next.id());
        let former = keys.current.id().to_owned();
        // Killed after the first of both steps, and done again.
        let (current, kept) = (
            folder.path().join("master.key"),
            folder.path().join(format!("master.key.{former}")),
        );
        std::fs::hard_link(&current, &kept).unwrap();
        source.adopt(&next).await.unwrap();
        source.adopt(&next).await.unwrap();
        let keys = source.keys().await.unwrap();
        assert_eq!((keys.current.id(), keys.next.is_none()), (next.id(), true));
        assert_eq!(MasterKey::from_file(&kept).unwrap().id(), former);
        assert_eq!(
            names(folder.path()),
            ["master.key".to_owned(), format!("master.key.{former}")]
        );
    }

    #[tokio::test]
    async fn where_other_nodes_may_be_no_key_is_made_for_them() {
        let (folder, mut source) = files();
        source.may_make = false;
        let error = source.next_or_new().await.unwrap_err().to_string();
        assert!(error.contains("master.key.next on every node"), "{error}");
        assert_eq!(names(folder.path()), ["master.key"]);
        source.next = None;
        let error = source.next_or_new().await.unwrap_err().to_string();
        assert!(error.contains("next_master_key_command"), "{error}");
    }
}
