//! The key that wraps all others: found, or made at the first start and never again.

use anyhow::{Context as _, bail};
use sqlx::PgPool;
use toolroom_eventlog::vault::MasterKey;

use crate::config::MasterKeySource;

/// The master key, made if this database has never had one.
///
/// # Errors
/// When it cannot be read, or is missing although the vault was written with one.
pub async fn find_or_make(source: &MasterKeySource, owner: &PgPool) -> anyhow::Result<MasterKey> {
    if let Some(key) = find(source)? {
        return Ok(key);
    }
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
    Ok(MasterKey::from_file_or_new(path)?)
}

/// The master key, if there is one; none is made.
///
/// # Errors
/// When it cannot be read or is none.
pub fn find(source: &MasterKeySource) -> anyhow::Result<Option<MasterKey>> {
    Ok(match source {
        MasterKeySource::Text(text) => Some(MasterKey::from_base64(text.expose())?),
        MasterKeySource::File(path) if path.exists() => Some(MasterKey::from_file_or_new(path)?),
        MasterKeySource::File(_) => None,
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
