//! Encryption of what the log holds, and the keys for it.
//!
//! Each workspace has a data key, kept wrapped by the master key in the table `vault`. Job inputs
//! and outputs are sealed with it before they become events. Destroying the wrapped key makes them
//! unreadable for good and leaves the hash chain whole.

use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest, hmac, rand as secure_random,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use moka::future::Cache;
use serde_json::Value;
use sqlx::{PgPool, Row};
use toolroom_domain::{Sealed, WorkspaceId};

/// Bytes of a key.
const KEY_BYTES: usize = 32;

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
    /// The database did not answer.
    #[error("the vault could not be read: {0}")]
    Database(#[from] sqlx::Error),
    /// The value is no JSON, which only tampering explains.
    #[error("a sealed value does not hold what was sealed")]
    Garbled,
}

/// The key that wraps all others. Never printed.
#[derive(Clone)]
pub struct MasterKey {
    key: Arc<LessSafeKey>,
    id: String,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

impl MasterKey {
    /// A key from its base64 form: 32 bytes.
    ///
    /// # Errors
    /// When the text is not that; the text is not repeated.
    pub fn from_base64(text: &str) -> Result<Self, Error> {
        let bytes = STANDARD
            .decode(text.trim())
            .ok()
            .filter(|bytes| bytes.len() == KEY_BYTES)
            .ok_or_else(|| {
                Error::MasterKey(
                    "the master key must be 32 bytes in base64; make one with `openssl rand -base64 32`"
                        .to_owned(),
                )
            })?;
        let id = crate::verify::hex(&digest::digest(&digest::SHA256, &bytes).as_ref()[..8]);
        Ok(Self {
            key: Arc::new(aead_key(&bytes)?),
            id,
        })
    }

    /// The key in a file, which is made with mode 0600 if there is none.
    ///
    /// # Errors
    /// When the file cannot be read or made, is open to others, or holds no key.
    pub fn from_file_or_new(path: &Path) -> Result<Self, Error> {
        let failed = |what: &str, error: std::io::Error| {
            Error::MasterKey(format!(
                "the master key file {} {what}: {error}",
                path.display()
            ))
        };
        match std::fs::read_to_string(path) {
            Ok(text) => {
                use std::os::unix::fs::PermissionsExt as _;
                let mode = std::fs::metadata(path)
                    .map_err(|e| failed("cannot be read", e))?
                    .permissions()
                    .mode();
                if mode & 0o077 != 0 {
                    return Err(Error::MasterKey(format!(
                        "the master key file {} can be read by others; mend it with `chmod 600`",
                        path.display()
                    )));
                }
                Self::from_base64(&text)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let text = STANDARD.encode(random_bytes::<KEY_BYTES>()?);
                let mut file = std::fs::OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path)
                    .map_err(|e| failed("cannot be made", e))?;
                file.write_all(text.as_bytes())
                    .and_then(|()| file.sync_all())
                    .map_err(|e| failed("cannot be written", e))?;
                Self::from_base64(&text)
            }
            Err(error) => Err(failed("cannot be read", error)),
        }
    }
}

fn aead_key(bytes: &[u8]) -> Result<LessSafeKey, Error> {
    UnboundKey::new(&AES_256_GCM, bytes)
        .map(LessSafeKey::new)
        .map_err(|_| Error::Unopened)
}

fn random_bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    secure_random::fill(&mut bytes)
        .map_err(|_| Error::MasterKey("the system gives no random bytes".to_owned()))?;
    Ok(bytes)
}

/// Nonce, ciphertext, tag. Nonces are random: at 2^32 values under one key the chance of a
/// repetition is still below 2^-32.
fn encrypt(key: &LessSafeKey, aad: &str, plain: &[u8]) -> Result<Vec<u8>, Error> {
    let nonce = random_bytes::<NONCE_LEN>()?;
    let mut data = plain.to_vec();
    key.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(aad.as_bytes()),
        &mut data,
    )
    .map_err(|_| Error::Unopened)?;
    let mut out = nonce.to_vec();
    out.append(&mut data);
    Ok(out)
}

fn decrypt(key: &LessSafeKey, aad: &str, sealed: &[u8]) -> Result<Vec<u8>, Error> {
    let (nonce, data) = sealed.split_at_checked(NONCE_LEN).ok_or(Error::Unopened)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Unopened)?;
    let mut data = data.to_vec();
    let plain = key
        .open_in_place(nonce, Aad::from(aad.as_bytes()), &mut data)
        .map_err(|_| Error::Unopened)?;
    Ok(plain.to_vec())
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
    Present { id: i64, key: Arc<LessSafeKey> },
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
    master: MasterKey,
    by_workspace: Cache<WorkspaceId, DataKey>,
    by_id: Cache<i64, DataKey>,
}

impl Vault {
    /// A vault over the table of that name.
    pub fn new(pool: PgPool, master: MasterKey) -> Self {
        Self {
            pool,
            master,
            by_workspace: Cache::builder()
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
        let key = match self.by_workspace.get(&workspace).await {
            Some(key) => key,
            None => {
                let key = self.current_key(workspace).await?;
                self.by_workspace.insert(workspace, key.clone()).await;
                key
            }
        };
        let DataKey::Present { id, key } = key else {
            return Err(Error::MasterKey(
                "the workspace was erased; nothing can be kept for it".to_owned(),
            ));
        };
        let plain = serde_json::to_vec(value).map_err(|_| Error::Garbled)?;
        let data = encrypt(&key, &aad(workspace, context), &plain)?;
        Ok(Sealed {
            key: id,
            data: STANDARD.encode(data),
            blob: None,
        })
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
        let key = match self.by_id.get(&sealed.key).await {
            Some(key) => key,
            None => {
                let key = self.key_by_id(workspace, sealed.key).await?;
                self.by_id.insert(sealed.key, key.clone()).await;
                key
            }
        };
        let DataKey::Present { key, .. } = key else {
            return Ok(Opened::Erased);
        };
        let data = STANDARD.decode(&sealed.data).map_err(|_| Error::Unopened)?;
        let plain = decrypt(&key, &aad(workspace, context), &data)?;
        serde_json::from_slice(&plain)
            .map(Opened::Value)
            .map_err(|_| Error::Garbled)
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
        bytes.try_into().map_err(|_| Error::Unopened)
    }

    async fn current_key(&self, workspace: WorkspaceId) -> Result<DataKey, Error> {
        let (id, bytes) = self.key_or_new(&workspace.to_string(), "data-key").await?;
        data_key(id, bytes)
    }

    async fn key_or_new(&self, owner: &str, kind: &str) -> Result<(i64, Option<Vec<u8>>), Error> {
        let select = "select id, wrapped_key from vault
                      where workspace_id = $1 and kind = $2 and name = 'current'";
        let find = || sqlx::query(select).bind(owner).bind(kind);
        let row = match find().fetch_optional(&self.pool).await? {
            Some(row) => row,
            None => {
                let wrapped = encrypt(
                    &self.master.key,
                    &wrap_aad(owner, kind),
                    &random_bytes::<KEY_BYTES>()?,
                )?;
                // Another node may be first; then its key is the key.
                sqlx::query(
                    "insert into vault (workspace_id, kind, name, wrapped_key, master_key_id)
                     values ($1, $2, 'current', $3, $4)
                     on conflict do nothing",
                )
                .bind(owner)
                .bind(kind)
                .bind(wrapped)
                .bind(&self.master.id)
                .execute(&self.pool)
                .await?;
                find().fetch_one(&self.pool).await?
            }
        };
        let unwrapped = row
            .get::<Option<Vec<u8>>, _>("wrapped_key")
            .map(|wrapped| decrypt(&self.master.key, &wrap_aad(owner, kind), &wrapped))
            .transpose()?;
        Ok((row.get("id"), unwrapped))
    }

    async fn key_by_id(&self, workspace: WorkspaceId, id: i64) -> Result<DataKey, Error> {
        let owner = workspace.to_string();
        let wrapped: Option<Option<Vec<u8>>> = sqlx::query_scalar(
            "select wrapped_key from vault where id = $1 and workspace_id = $2 and kind = 'data-key'",
        )
        .bind(id)
        .bind(&owner)
        .fetch_optional(&self.pool)
        .await?;
        let bytes = wrapped
            .flatten()
            .map(|wrapped| decrypt(&self.master.key, &wrap_aad(&owner, "data-key"), &wrapped))
            .transpose()?;
        data_key(id, bytes)
    }
}

fn data_key(id: i64, bytes: Option<Vec<u8>>) -> Result<DataKey, Error> {
    Ok(match bytes {
        Some(bytes) => DataKey::Present {
            id,
            key: Arc::new(aead_key(&bytes)?),
        },
        None => DataKey::Erased,
    })
}

fn aad(workspace: WorkspaceId, context: &str) -> String {
    format!("{workspace}/{context}")
}

fn wrap_aad(owner: &str, kind: &str) -> String {
    format!("{owner}/{kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_opens_only_in_its_place() {
        let key = aead_key(&[7; KEY_BYTES]).unwrap();
        let sealed = encrypt(&key, "ws/job/input", b"secret").unwrap();
        assert_eq!(decrypt(&key, "ws/job/input", &sealed).unwrap(), b"secret");
        assert!(decrypt(&key, "ws/other/input", &sealed).is_err());
        assert!(decrypt(&aead_key(&[8; KEY_BYTES]).unwrap(), "ws/job/input", &sealed).is_err());
    }

    #[test]
    fn a_master_key_file_is_made_once_and_kept_from_others() {
        use std::os::unix::fs::PermissionsExt as _;
        let path = std::env::temp_dir().join(crate::ids::new_uuid().to_string());
        let made = MasterKey::from_file_or_new(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(MasterKey::from_file_or_new(&path).unwrap().id, made.id);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(MasterKey::from_file_or_new(&path).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
