//! Values too large for the log: the event holds their name, the table `blobs` what is sealed.
//!
//! A name is an HMAC-SHA-256 of the value under a key that is drawn from the workspace's data key.
//! So equal values of one workspace share a row; whoever reads the log or the table cannot try
//! guesses against a name, nor see that two workspaces hold the same; and with the data key goes
//! what could tell.

use std::collections::HashMap;
use std::io;
use std::sync::LazyLock;

use aws_lc_rs::{aead::NONCE_LEN, constant_time, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::TryStreamExt as _;
use serde_json::Value;
use sqlx::{PgPool, Row};
use tokio::sync::Semaphore;
use toolroom_domain::{
    Sealed, WorkspaceId,
    limits::{INLINE_BYTES, JOB_VALUE_BYTES, JSON_VALUES},
    measure::has_too_many_values,
    sealed::BlobRef,
};

use super::{
    DataKey, Error, OVERHEAD, Vault,
    cipher::{decrypt_in_place, encrypt_in_place, value_aad},
};
use crate::{append::SideRow, command::CommandContext, verify::hex};

/// From this size on a value is parsed on a thread where it may take its time.
const PARSE_INLINE_BYTES: usize = 256 * 1024;

/// Large values that are read from the database at once: each holds one of the few connections that
/// commands have too, and twice its size in memory until it is open.
const READS_AT_ONCE: usize = 2;

static READS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(READS_AT_ONCE));

/// A value that was sealed, to be written with the event that holds it.
#[derive(Debug)]
#[must_use = "a large value is lost unless it is written beside the event that names it"]
pub struct SealedValue {
    sealed: Sealed,
    row: Option<SideRow>,
}

impl SealedValue {
    /// What the event holds. What lies outside the log is written by the command that is sent with
    /// this context, and by no other.
    pub fn beside(self, command: &mut CommandContext) -> Sealed {
        self.among(&mut command.side)
    }

    /// As [`Self::beside`], of a command whose context comes later.
    pub fn among(self, side: &mut Vec<SideRow>) -> Sealed {
        side.extend(self.row);
        self.sealed
    }
}

/// A value as JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// The text.
    Json(Bytes),
    /// Its key is gone, and so is the value.
    Erased,
}

fn name(naming: &hmac::Key, plain: &[u8]) -> String {
    hex(hmac::sign(naming, plain).as_ref())
}

/// What the ciphertext of a large value is bound to: several events may name it, so not to any.
fn blob_context(sha256: &str) -> String {
    format!("blob/{sha256}")
}

/// A value from its text.
///
/// # Errors
/// [`Error::Garbled`] when it is no JSON.
pub async fn parse(json: Bytes) -> Result<Value, Error> {
    let parse = |json: &[u8]| serde_json::from_slice(json).map_err(|_| Error::Garbled);
    if json.len() < PARSE_INLINE_BYTES {
        return parse(&json);
    }
    tokio::task::spawn_blocking(move || parse(&json))
        .await
        .map_err(|_| Error::Garbled)?
}

/// Gathers JSON after room for a nonce, up to the bound of what is kept.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > NONCE_LEN + JOB_VALUE_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn text_of(value: &Value) -> Result<Vec<u8>, Error> {
    let mut text = Bounded(vec![0; NONCE_LEN]);
    // Nothing but the bound can stop a `Value` from being written.
    serde_json::to_writer(&mut text, value).map_err(|_| Error::TooLarge {
        limit: JOB_VALUE_BYTES,
    })?;
    if has_too_many_values(&text.0[NONCE_LEN..]) {
        return Err(Error::TooManyValues { limit: JSON_VALUES });
    }
    Ok(text.0)
}

impl Vault {
    /// Seals a value as [`Vault::seal`] does; a large one becomes a row beside the event. It is
    /// serialised once and encrypted where it stands.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above [`JOB_VALUE_BYTES`]; [`Error::TooManyValues`]; [`Error::Erased`]; or when the key cannot be
    /// had.
    pub async fn seal_value(
        &self,
        workspace: WorkspaceId,
        context: &str,
        value: &Value,
    ) -> Result<SealedValue, Error> {
        let DataKey::Present {
            id, key, naming, ..
        } = self.key_of(workspace).await?
        else {
            return Err(Error::Erased);
        };
        let text = text_of(value)?;
        let bytes = text.len() - NONCE_LEN;
        if bytes <= INLINE_BYTES {
            let data = encrypt_in_place(&key, &value_aad(workspace, context), text)?;
            return Ok(SealedValue {
                sealed: Sealed {
                    key: id,
                    data: STANDARD.encode(data),
                    blob: None,
                },
                row: None,
            });
        }
        let sha256 = name(&naming, &text[NONCE_LEN..]);
        let aad = value_aad(workspace, &blob_context(&sha256));
        let data = encrypt_in_place(&key, &aad, text)?.into_boxed_slice();
        Ok(SealedValue {
            sealed: Sealed {
                key: id,
                data: String::new(),
                blob: Some(BlobRef {
                    sha256: sha256.clone(),
                    bytes: bytes as u64,
                }),
            },
            row: Some(SideRow::Blob {
                sha256,
                key: id,
                data: Bytes::from(data),
            }),
        })
    }

    /// Opens a value without parsing it.
    ///
    /// # Errors
    /// When it was sealed elsewhere, is not where its event says, or the database does not answer.
    pub async fn read(
        &self,
        workspace: WorkspaceId,
        context: &str,
        sealed: &Sealed,
    ) -> Result<Text, Error> {
        let DataKey::Present { key, .. } = self.key_with(workspace, sealed.key).await? else {
            return Ok(Text::Erased);
        };
        let Some(blob) = &sealed.blob else {
            let data = STANDARD.decode(&sealed.data).map_err(|_| Error::Unopened)?;
            return decrypt_in_place(&key, &value_aad(workspace, context), data).map(Text::Json);
        };
        let aad = value_aad(workspace, &blob_context(&blob.sha256));
        match self.blob(workspace, &blob.sha256).await? {
            Some(data) => decrypt_in_place(&key, &aad, data).map(Text::Json),
            // Erased since the key was looked at, perhaps on another node.
            None => match self.key_by_id(workspace, sealed.key).await? {
                DataKey::Erased => Ok(Text::Erased),
                DataKey::Present { .. } => Err(Error::Missing),
            },
        }
    }

    /// Opens large values of one workspace by their names, all in one read: those that are there and
    /// were not erased. How many bytes that may be is the caller's to bound.
    ///
    /// # Errors
    /// When one is not what its name says, or the database does not answer.
    pub async fn read_named(
        &self,
        workspace: WorkspaceId,
        names: &[String],
    ) -> Result<HashMap<String, Text>, Error> {
        let _turn = READS.acquire().await.map_err(|_| Error::Missing)?;
        let mut rows = sqlx::query(
            "select sha256, key, data from blobs where workspace_id = $1 and sha256 = any($2)",
        )
        .bind(workspace.to_string())
        .bind(names)
        .fetch(&self.pool);
        let mut texts = HashMap::with_capacity(names.len());
        while let Some(row) = rows.try_next().await? {
            let (sha256, key, data): (String, i64, Vec<u8>) =
                (row.get("sha256"), row.get("key"), row.get("data"));
            drop(row);
            let text = match self.key_with(workspace, key).await? {
                DataKey::Present { key, .. } => {
                    let aad = value_aad(workspace, &blob_context(&sha256));
                    Text::Json(decrypt_in_place(&key, &aad, data)?)
                }
                DataKey::Erased => Text::Erased,
            };
            texts.insert(sha256, text);
        }
        Ok(texts)
    }

    async fn blob(&self, workspace: WorkspaceId, sha256: &str) -> Result<Option<Vec<u8>>, Error> {
        let _turn = READS.acquire().await.map_err(|_| Error::Missing)?;
        let data =
            sqlx::query_scalar("select data from blobs where workspace_id = $1 and sha256 = $2")
                .bind(workspace.to_string())
                .bind(sha256)
                .fetch_optional(&self.pool)
                .await?;
        Ok(data)
    }

    /// The name that a value has, or would have if it were large: equal for equal values of one
    /// workspace, and no help to guess one. None when the workspace was erased.
    ///
    /// # Errors
    /// When the key cannot be had.
    pub async fn name_of(
        &self,
        workspace: WorkspaceId,
        json: &[u8],
    ) -> Result<Option<String>, Error> {
        Ok(match self.key_of(workspace).await? {
            DataKey::Present { naming, .. } => Some(name(&naming, json)),
            DataKey::Erased => None,
        })
    }
}

/// What was found of all large values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlobCheck {
    /// How many there are.
    pub blobs: u64,
    /// Bytes of them all as JSON.
    pub bytes: u64,
}

/// Opens every large value and compares it with its name, one at a time.
///
/// # Errors
/// With the outer error when the database does not answer, with the inner text when a value is not
/// what its name says.
pub async fn check_blobs(pool: &PgPool, vault: &Vault) -> Result<Result<BlobCheck, String>, Error> {
    let mut found = BlobCheck::default();
    let mut after = (String::new(), String::new());
    loop {
        let row = sqlx::query(
            "select workspace_id, sha256, key, data from blobs
             where (workspace_id, sha256) > ($1, $2)
             order by workspace_id, sha256 limit 1",
        )
        .bind(&after.0)
        .bind(&after.1)
        .fetch_optional(pool)
        .await?;
        let Some(row) = row else {
            return Ok(Ok(found));
        };
        let (workspace, sha256): (String, String) = (row.get("workspace_id"), row.get("sha256"));
        let (key, data): (i64, Vec<u8>) = (row.get("key"), row.get("data"));
        drop(row);
        found.blobs += 1;
        found.bytes += data.len().saturating_sub(OVERHEAD) as u64;
        match is_sound(vault, &workspace, &sha256, key, data).await {
            Ok(true) => {}
            Ok(false) => {
                return Ok(Err(format!(
                    "the large value {sha256} of the workspace {workspace} is not what was written"
                )));
            }
            Err(error) => return Err(error),
        }
        after = (workspace, sha256);
    }
}

async fn is_sound(
    vault: &Vault,
    workspace: &str,
    sha256: &str,
    key: i64,
    data: Vec<u8>,
) -> Result<bool, Error> {
    let Ok(workspace) = workspace.parse() else {
        return Ok(false);
    };
    match vault.key_with(workspace, key).await? {
        DataKey::Present { key, naming, .. } => {
            let aad = value_aad(workspace, &blob_context(sha256));
            let Ok(plain) = decrypt_in_place(&key, &aad, data) else {
                return Ok(false);
            };
            let name = name(&naming, &plain);
            Ok(constant_time::verify_slices_are_equal(name.as_bytes(), sha256.as_bytes()).is_ok())
        }
        // An erasure that was cut short leaves what nobody can open.
        DataKey::Erased => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{NAMING, drawn},
        *,
    };

    #[test]
    fn a_name_tells_nothing_without_the_key_that_it_was_made_with() {
        let naming_key = |byte| drawn(&[byte; 32], NAMING);
        let (one, other) = (naming_key(1), naming_key(2));
        assert_eq!(name(&one, b"value"), name(&one, b"value"));
        assert_ne!(name(&one, b"value"), name(&other, b"value"));
        let plain = hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"value").as_ref());
        assert_ne!(name(&one, b"value"), plain);
    }

    #[test]
    fn a_value_is_measured_while_it_is_written() {
        let fits = Value::String("x".repeat(JOB_VALUE_BYTES - 2));
        assert_eq!(text_of(&fits).unwrap().len(), NONCE_LEN + JOB_VALUE_BYTES);
        let one_more = Value::String("x".repeat(JOB_VALUE_BYTES - 1));
        assert!(matches!(text_of(&one_more), Err(Error::TooLarge { .. })));
    }
}
