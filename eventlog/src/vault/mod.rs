//! Encryption of what must not be read, and the keys for it.
//!
//! Each workspace has a data key, kept wrapped by the master key in the table `vault`. Job inputs
//! and outputs are sealed with it before they become events. Destroying the wrapped key makes them
//! unreadable for good and leaves the hash chain whole. Secrets and credentials are whole rows of
//! that table (`row`), outside the log. What is wrapped by which master key, each row says, so
//! that the master key can be changed while all goes on (`rotation`).

mod blobs;
mod cipher;
mod follow;
mod master;
mod rotation;
mod row;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{aead::LessSafeKey, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use moka::future::Cache;
use serde_json::Value;
use sqlx::{PgPool, Row, postgres::PgRow};
use tokio::sync::Notify;
use toolroom_domain::{Sealed, WorkspaceId};
use zeroize::Zeroizing;

use crate::verify::hex;

pub(crate) use self::cipher::OVERHEAD;
pub use self::{
    blobs::{BlobCheck, SealedValue, Text, check_blobs, parse},
    master::{KeyRing, KeySource, MasterKey, MasterKeys, sync_folder_of},
    rotation::{Rotation, RotationError, Step},
    row::{CREDENTIALS, OpenedRow, SECRET},
};
use self::{
    cipher::{KEY_BYTES, aead_key, decrypt, encrypt, key_aad, random_bytes, value_aad},
    row::RowCache,
};
pub(crate) use self::{follow::run as forget_what_changes, rotation::run as rotate};

/// For how long a key is used from memory: an erasure on another node counts after this at last.
const KEY_CACHED_FOR: Duration = Duration::from_secs(30);

/// Keys in memory: one a busy workspace.
const KEYS_CACHED: u64 = 10_000;

/// The name under which server-wide keys are kept; not a workspace.
const SERVER: &str = "server";

/// Why something could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The master key is not what it should be.
    #[error("{0}")]
    MasterKey(String),
    /// The key or the data is not what was written, or the master key is another one.
    #[error(
        "a key in the vault does not open with this master key; start with the master key that wrote it"
    )]
    Unopened,
    /// A row is wrapped by a master key that this node does not have.
    #[error(
        "a key in the vault does not open with this master key: it needs the one of id {needed}, and known is {known}; start with the master key that wrote it, and during a rotation with the next one too"
    )]
    OtherMasterKey {
        /// The id of the key that the row names.
        needed: String,
        /// Those of the keys that are known here.
        known: String,
    },
    /// The database did not answer.
    #[error("the vault could not be read: {0}")]
    Database(#[from] sqlx::Error),
    /// The value is no JSON, which only tampering explains.
    #[error("a sealed value does not hold what was sealed")]
    Garbled,
    /// The workspace's key was destroyed.
    #[error("the workspace was erased; nothing can be kept or run in it any more")]
    Erased,
    /// The value is larger than any that is kept.
    #[error("the value has more than {limit} bytes as JSON; at most so many are kept")]
    TooLarge {
        /// The bound, in bytes.
        limit: usize,
    },
    /// The value would take too much memory whenever it is read.
    #[error("the value holds more than {limit} values within it; at most so many are kept")]
    TooManyValues {
        /// The bound.
        limit: usize,
    },
    /// A large value is not where its event says that it is.
    #[error("a large value is missing in the table `blobs`; `toolroom verify` tells which are")]
    Missing,
}

/// A value that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Opened {
    /// The value.
    Value(Value),
    /// Its key is gone, and so is the value.
    Erased,
}

impl Opened {
    /// The value, or the word `erased` in its place.
    pub fn into_value(self) -> Value {
        match self {
            Self::Value(value) => value,
            Self::Erased => Value::String("erased".to_owned()),
        }
    }
}

#[derive(Clone)]
enum DataKey {
    Present {
        id: i64,
        key: Arc<LessSafeKey>,
        /// By which large values are named; drawn from the key, so that it ends with it.
        naming: Arc<hmac::Key>,
        /// For digests that stay in the log; drawn from the key too.
        digests: Arc<hmac::Key>,
    },
    Erased,
}

/// A key of the server, the same on all its nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKey {
    /// For the digests of repeated commands.
    Digest,
    /// For the hashes of API keys.
    ApiKeyHash,
    /// For what sessions are given against forged requests.
    Session,
}

impl ServerKey {
    fn kind(self) -> &'static str {
        match self {
            Self::Digest => "digest-key",
            Self::ApiKeyHash => "api-key-hash-key",
            Self::Session => "session-key",
        }
    }
}

/// Seals and opens. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    pool: PgPool,
    ring: KeyRing,
    rows: RowCache,
    /// Wakes what takes rotations forward.
    rotate: Arc<Notify>,
    by_workspace: Cache<WorkspaceId, DataKey>,
    by_id: Cache<i64, DataKey>,
    erased: Cache<WorkspaceId, bool>,
}

impl Vault {
    /// A vault over the table of that name.
    pub fn new(pool: PgPool, master: impl Into<KeyRing>) -> Self {
        Self {
            pool,
            ring: master.into(),
            rows: RowCache::new(),
            rotate: Arc::default(),
            by_workspace: Cache::builder()
                .max_capacity(KEYS_CACHED)
                .time_to_live(KEY_CACHED_FOR)
                .build(),
            erased: Cache::builder()
                .max_capacity(KEYS_CACHED)
                .time_to_live(KEY_CACHED_FOR)
                .build(),
            by_id: Cache::builder()
                .max_capacity(KEYS_CACHED)
                .time_to_live(KEY_CACHED_FOR)
                .build(),
        }
    }

    /// Seals a value with its workspace's key, bound to `context`: in another place it does not
    /// open.
    ///
    /// # Errors
    /// When the key cannot be had.
    pub async fn seal(
        &self,
        workspace: WorkspaceId,
        context: &str,
        value: &Value,
    ) -> Result<Sealed, Error> {
        let DataKey::Present { id, key, .. } = self.key_of(workspace).await? else {
            return Err(Error::Erased);
        };
        let plain = Zeroizing::new(serde_json::to_vec(value).map_err(|_| Error::Garbled)?);
        let data = encrypt(&key, &value_aad(workspace, context), &plain)?;
        Ok(Sealed {
            key: id,
            data: STANDARD.encode(data),
            blob: None,
        })
    }

    /// A digest that may stay in the log: keyed, so that nobody can try guesses against it without the
    /// workspace's data key, whose id comes with it. Equal for equal texts of one workspace.
    ///
    /// # Errors
    /// When the key cannot be had.
    pub async fn keyed_digest(
        &self,
        workspace: WorkspaceId,
        text: &str,
    ) -> Result<(i64, String), Error> {
        match self.key_of(workspace).await? {
            DataKey::Present { id, digests, .. } => {
                let digest = hmac::sign(&digests, text.as_bytes());
                Ok((id, hex(digest.as_ref())))
            }
            DataKey::Erased => Err(Error::Erased),
        }
    }

    /// Opens what [`Self::seal`] sealed for the same workspace and context.
    ///
    /// # Errors
    /// When it was sealed elsewhere, or the database does not answer.
    pub async fn open(
        &self,
        workspace: WorkspaceId,
        context: &str,
        sealed: &Sealed,
    ) -> Result<Opened, Error> {
        match self.read(workspace, context, sealed).await? {
            Text::Json(json) => parse(json).await.map(Opened::Value),
            Text::Erased => Ok(Opened::Erased),
        }
    }

    /// Whether the workspace was erased.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn is_erased(&self, workspace: WorkspaceId) -> Result<bool, Error> {
        if let Some(key) = self.by_workspace.get(&workspace).await {
            return Ok(matches!(key, DataKey::Erased));
        }
        if let Some(erased) = self.erased.get(&workspace).await {
            return Ok(erased);
        }
        // Makes no key, as sealing would: whoever asks may have nothing to keep.
        let erased: bool = sqlx::query_scalar(
            "select exists (
                 select from vault
                 where workspace_id = $1 and kind = 'data-key' and erased_at is not null)",
        )
        .bind(workspace.to_string())
        .fetch_one(&self.pool)
        .await?;
        self.erased.insert(workspace, erased).await;
        Ok(erased)
    }

    /// Forgets what is remembered of a workspace's key: it was destroyed, and no value may be opened or
    /// kept with it from memory.
    pub async fn forget(&self, workspace: WorkspaceId) {
        self.forget_rows_of(workspace);
        self.by_workspace.invalidate(&workspace).await;
        self.erased.invalidate(&workspace).await;
        // Which ids were the workspace's is not known here, and this is rare.
        self.by_id.invalidate_all();
    }

    /// Forgets all keys: which were destroyed was missed.
    pub(crate) fn forget_all(&self) {
        self.by_workspace.invalidate_all();
        self.erased.invalidate_all();
        self.by_id.invalidate_all();
    }

    async fn key_of(&self, workspace: WorkspaceId) -> Result<DataKey, Error> {
        if let Some(key) = self.by_workspace.get(&workspace).await {
            return Ok(key);
        }
        let key = self.current_key(workspace).await?;
        self.by_workspace.insert(workspace, key.clone()).await;
        Ok(key)
    }

    async fn key_with(&self, workspace: WorkspaceId, id: i64) -> Result<DataKey, Error> {
        if let Some(key) = self.by_id.get(&id).await {
            return Ok(key);
        }
        let key = self.key_by_id(workspace, id).await?;
        self.by_id.insert(id, key.clone()).await;
        Ok(key)
    }

    /// The server's key for the digests of repeated commands, made on first use.
    ///
    /// # Errors
    /// When the database does not answer or the master key is another one.
    pub async fn digest_key(&self) -> Result<hmac::Key, Error> {
        let bytes = self.server_key(ServerKey::Digest).await?;
        Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
    }

    /// One of the server's own keys, made on first use.
    ///
    /// # Errors
    /// When the database does not answer or the master key is another one.
    pub async fn server_key(&self, key: ServerKey) -> Result<[u8; KEY_BYTES], Error> {
        let (_, bytes) = self.key_or_new(SERVER, key.kind()).await?;
        let bytes = bytes.ok_or(Error::Unopened)?;
        bytes.as_slice().try_into().map_err(|_| Error::Unopened)
    }

    async fn current_key(&self, workspace: WorkspaceId) -> Result<DataKey, Error> {
        let (id, bytes) = self.key_or_new(&workspace.to_string(), "data-key").await?;
        data_key(id, bytes)
    }

    async fn key_or_new(&self, owner: &str, kind: &str) -> Result<(i64, Option<Key>), Error> {
        let select = "select id, wrapped_key, master_key_id from vault
                      where workspace_id = $1 and kind = $2 and name = 'current'";
        let find = || sqlx::query(select).bind(owner).bind(kind);
        let row = match find().fetch_optional(&self.pool).await? {
            Some(row) => row,
            None => {
                let key = Zeroizing::new(random_bytes::<KEY_BYTES>()?);
                let master = self.ring.active();
                let wrapped = encrypt(&master.key, &key_aad(owner, kind), key.as_slice())?;
                // Another node may be first; then its key is the key.
                sqlx::query(
                    "insert into vault (workspace_id, kind, name, wrapped_key, master_key_id)
                     values ($1, $2, 'current', $3, $4)
                     on conflict do nothing",
                )
                .bind(owner)
                .bind(kind)
                .bind(wrapped)
                .bind(master.id())
                .execute(&self.pool)
                .await?;
                find().fetch_one(&self.pool).await?
            }
        };
        Ok((row.get("id"), self.unwrapped(&row, owner, kind).await?))
    }

    async fn key_by_id(&self, workspace: WorkspaceId, id: i64) -> Result<DataKey, Error> {
        let owner = workspace.to_string();
        let row = sqlx::query(
            "select wrapped_key, master_key_id from vault
             where id = $1 and workspace_id = $2 and kind = 'data-key'",
        )
        .bind(id)
        .bind(&owner)
        .fetch_optional(&self.pool)
        .await?;
        let bytes = match row {
            Some(row) => self.unwrapped(&row, &owner, "data-key").await?,
            None => None,
        };
        data_key(id, bytes)
    }

    /// The key of a row that holds nothing else; none if it was destroyed.
    async fn unwrapped(&self, row: &PgRow, owner: &str, kind: &str) -> Result<Option<Key>, Error> {
        let Some(wrapped) = row.try_get::<Option<Vec<u8>>, _>("wrapped_key")? else {
            return Ok(None);
        };
        let master = row.try_get("master_key_id")?;
        let key = self.unwrap(master, &key_aad(owner, kind), &wrapped).await?;
        Ok(Some(key))
    }

    /// Opens a wrapped key with the master key that its row names.
    async fn unwrap(&self, master: &str, aad: &str, wrapped: &[u8]) -> Result<Key, Error> {
        let master = self.ring.find_or_reload(master).await?;
        decrypt(&master.key, aad, wrapped)
    }
}

/// For what the key that names large values is drawn.
const NAMING: &[u8] = b"toolroom/blob-name/1";

/// For what the key of digests is drawn.
const DIGESTS: &[u8] = b"toolroom/digest/1";

/// A key for one purpose, drawn from a data key: it ends with that.
fn drawn(data_key: &[u8], purpose: &[u8]) -> hmac::Key {
    let drawn = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, data_key), purpose);
    hmac::Key::new(hmac::HMAC_SHA256, drawn.as_ref())
}

/// The bytes of a key, erased from memory when they are dropped.
type Key = Zeroizing<Vec<u8>>;

fn data_key(id: i64, bytes: Option<Key>) -> Result<DataKey, Error> {
    Ok(match bytes {
        Some(bytes) => DataKey::Present {
            id,
            key: Arc::new(aead_key(&bytes)?),
            naming: Arc::new(drawn(&bytes, NAMING)),
            digests: Arc::new(drawn(&bytes, DIGESTS)),
        },
        None => DataKey::Erased,
    })
}
