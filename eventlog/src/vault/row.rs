//! Rows that hold a value: secrets, and the credentials of tools.
//!
//! Each has a data key of its own, which the master key wraps. Key and value are bound to workspace,
//! kind, name and version: a row that is moved, or put back after it was replaced, does not open.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use std::time::Duration;

use moka::future::Cache;
use sqlx::Row as _;
use toolroom_domain::WorkspaceId;
use zeroize::Zeroizing;

use super::{
    Error, Vault,
    cipher::{KEY_BYTES, aead_key, decrypt, encrypt, random_bytes, row_aad},
};
use crate::append::SideRow;

/// The kind of a named secret's row.
pub const SECRET: &str = "secret";

/// The kind of the row with a tool's credentials.
pub const CREDENTIALS: &str = "credentials";

/// For how long a value is used from memory where its change was not heard of: by a node that lost
/// touch with the log.
const CACHED_FOR: Duration = Duration::from_secs(30);

/// Bytes of values in memory.
const CACHED_BYTES: u64 = 32 * 1024 * 1024;

/// What an entry weighs beside its value.
const ENTRY_BYTES: usize = 256;

/// A value from the vault, erased from memory when the last copy is dropped. Never printed.
pub struct OpenedRow {
    /// Which version of its name it is.
    pub version: u32,
    /// The value.
    pub bytes: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for OpenedRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenedRow(version {})", self.version)
    }
}

impl Vault {
    /// A value, sealed to be written beside the events of a command. It takes the place of the row
    /// of this kind and name, whose value and key are gone then.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn seal_row(
        &self,
        workspace: WorkspaceId,
        kind: &'static str,
        name: &str,
        version: u32,
        bytes: &[u8],
    ) -> Result<SideRow, Error> {
        let aad = row_aad(&workspace.to_string(), kind, version, name);
        let key = Zeroizing::new(random_bytes::<KEY_BYTES>()?);
        let master = self.ring.active();
        Ok(SideRow::VaultPut {
            kind,
            name: name.to_owned(),
            version,
            wrapped_key: encrypt(&master.key, &aad, key.as_slice())?,
            master_key_id: master.id().to_owned(),
            data: encrypt(&aead_key(key.as_slice())?, &aad, bytes)?,
        })
    }

    /// The value of a row and its version, from the database; none if there is none.
    ///
    /// # Errors
    /// When the database does not answer, or the row is not what was written for this place.
    pub async fn read_row(
        &self,
        workspace: WorkspaceId,
        kind: &str,
        name: &str,
    ) -> Result<Option<(u32, Zeroizing<Vec<u8>>)>, Error> {
        let owner = workspace.to_string();
        let row = sqlx::query(
            "select version, wrapped_key, master_key_id, data from vault
             where workspace_id = $1 and kind = $2 and name = $3 and wrapped_key is not null",
        )
        .bind(&owner)
        .bind(kind)
        .bind(name)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let version: Option<i32> = row.try_get("version")?;
        let version = version.and_then(|v| u32::try_from(v).ok());
        let version = version.ok_or(Error::Garbled)?;
        let (wrapped, data): (Vec<u8>, Option<Vec<u8>>) =
            (row.try_get("wrapped_key")?, row.try_get("data")?);
        let aad = row_aad(&owner, kind, version, name);
        let key = self
            .unwrap(row.try_get("master_key_id")?, &aad, &wrapped)
            .await?;
        let data = data.ok_or(Error::Garbled)?;
        let bytes = decrypt(&aead_key(&key)?, &aad, &data)?;
        Ok(Some((version, bytes)))
    }

    /// As [`Self::read_row`], from memory where a change would have been heard of.
    ///
    /// # Errors
    /// As those of [`Self::read_row`].
    pub async fn cached_row(
        &self,
        workspace: WorkspaceId,
        kind: &'static str,
        name: &str,
    ) -> Result<Option<Arc<OpenedRow>>, Error> {
        let key = (workspace, kind, name.to_owned());
        if let Some(row) = self.rows.entries.get(&key).await {
            return Ok(row);
        }
        let before = self.rows.changes.load(Ordering::Acquire);
        let row = self.read_row(workspace, kind, name).await?;
        let row = row.map(|(version, bytes)| Arc::new(OpenedRow { version, bytes }));
        self.rows.keep(key, row.clone(), before).await;
        Ok(row)
    }

    /// What changes a workspace's rows calls this once it has: the next who asks reads them anew.
    pub fn forget_rows_of(&self, workspace: WorkspaceId) {
        self.rows.forget(workspace);
    }

    pub(crate) fn rows(&self) -> &RowCache {
        &self.rows
    }
}

type Key = (WorkspaceId, &'static str, String);

/// Values in memory. Cheap to clone.
#[derive(Clone)]
pub(crate) struct RowCache {
    entries: Cache<Key, Option<Arc<OpenedRow>>>,
    /// Whether changes are heard of. Until then nothing is kept.
    hears: Arc<AtomicBool>,
    /// Counts what was forgotten: what was read before must not be kept after.
    changes: Arc<AtomicU64>,
}

impl RowCache {
    pub(super) fn new() -> Self {
        let weigh = |key: &Key, row: &Option<Arc<OpenedRow>>| {
            let bytes = row.as_ref().map_or(0, |row| row.bytes.len());
            u32::try_from(ENTRY_BYTES + key.2.len() + bytes).unwrap_or(u32::MAX)
        };
        Self {
            entries: Cache::builder()
                .weigher(weigh)
                .max_capacity(CACHED_BYTES)
                .time_to_live(CACHED_FOR)
                .support_invalidation_closures()
                .build(),
            hears: Arc::default(),
            changes: Arc::default(),
        }
    }

    async fn keep(&self, key: Key, row: Option<Arc<OpenedRow>>, before: u64) {
        if !self.hears.load(Ordering::Acquire) {
            return;
        }
        self.entries.insert(key.clone(), row).await;
        // Looked at after it was put there: a change that came between has it taken out again,
        // here or by whoever tells of the change.
        if self.changes.load(Ordering::Acquire) != before {
            self.entries.invalidate(&key).await;
        }
    }

    pub(super) fn forget(&self, workspace: WorkspaceId) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        let is_theirs = move |key: &Key, _: &Option<Arc<OpenedRow>>| key.0 == workspace;
        if self.entries.invalidate_entries_if(is_theirs).is_err() {
            self.entries.invalidate_all();
        }
    }

    /// From now on changes are heard of, or not any more.
    pub(super) fn hears(&self, hears: bool) {
        self.hears.store(hears, Ordering::Release);
        if !hears {
            self.changes.fetch_add(1, Ordering::AcqRel);
            self.entries.invalidate_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(version: u32) -> Option<Arc<OpenedRow>> {
        let bytes = Zeroizing::new(b"sesame".to_vec());
        Some(Arc::new(OpenedRow { version, bytes }))
    }

    fn key(workspace: WorkspaceId) -> Key {
        (workspace, SECRET, "A".to_owned())
    }

    async fn version(cache: &RowCache, workspace: WorkspaceId) -> Option<u32> {
        let found = cache.entries.get(&key(workspace)).await;
        found.flatten().map(|row| row.version)
    }

    #[tokio::test]
    async fn nothing_is_kept_before_changes_are_heard_of() {
        let (cache, ours) = (RowCache::new(), WorkspaceId::DEFAULT);
        cache.keep(key(ours), row(1), 0).await;
        assert_eq!(version(&cache, ours).await, None);
        cache.hears(true);
        cache.keep(key(ours), row(1), 0).await;
        assert_eq!(version(&cache, ours).await, Some(1));
        cache.hears(false);
        assert_eq!(version(&cache, ours).await, None);
    }

    #[tokio::test]
    async fn a_change_is_forgotten_at_once_and_touches_no_other_workspace() {
        let (cache, ours, theirs) = (RowCache::new(), WorkspaceId::DEFAULT, WorkspaceId::NONE);
        cache.hears(true);
        cache.keep(key(ours), row(1), 0).await;
        cache.keep(key(theirs), row(1), 0).await;
        cache.forget(ours);
        assert_eq!(version(&cache, ours).await, None);
        assert_eq!(version(&cache, theirs).await, Some(1));
        cache.keep(key(ours), row(2), 1).await;
        assert_eq!(version(&cache, ours).await, Some(2));
    }

    #[tokio::test]
    async fn what_was_read_before_a_change_is_not_kept_after_it() {
        let (cache, ours) = (RowCache::new(), WorkspaceId::DEFAULT);
        cache.hears(true);
        let before = cache.changes.load(Ordering::Acquire);
        cache.forget(ours);
        cache.keep(key(ours), row(1), before).await;
        assert_eq!(version(&cache, ours).await, None);
    }

    #[test]
    fn a_value_does_not_print_itself() {
        assert_eq!(format!("{:?}", row(3).unwrap()), "OpenedRow(version 3)");
    }
}
