//! The master key: what it is, how a file holds it, and which ones a node knows.

use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::{aead::LessSafeKey, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{sync::Mutex, time::Instant};
use zeroize::Zeroizing;

use super::{
    Error,
    cipher::{KEY_BYTES, aead_key, random_bytes},
};

/// Between two looks for a key that a row names and nobody here knows: a source may be a command
/// that asks far away.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// The key that wraps all others. Never printed.
#[derive(Clone)]
pub struct MasterKey {
    pub(super) key: Arc<LessSafeKey>,
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
            .map(Zeroizing::new)
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

    /// By what rows name it: the beginning of its SHA-256, which opens nothing.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key in a file.
    ///
    /// # Errors
    /// When the file cannot be read, is open to others, or holds no key.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| failed(path, "cannot be read", &e))?;
        let text = Zeroizing::new(text);
        let mode = std::fs::metadata(path)
            .map_err(|e| failed(path, "cannot be read", &e))?
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

    /// The key in a file, which is made with mode 0600 if there is none.
    ///
    /// # Errors
    /// When the file cannot be read or made, is open to others, or holds no key.
    pub fn from_file_or_new(path: &Path) -> Result<Self, Error> {
        if !path.exists() {
            write_new(path).map_err(|e| failed(path, "cannot be made", &e))?;
        }
        Self::from_file(path)
    }
}

fn failed(path: &Path, what: &str, error: &io::Error) -> Error {
    Error::MasterKey(format!(
        "the master key file {} {what}: {error}",
        path.display()
    ))
}

/// Puts a new key into a file that is there whole or not at all, whenever the process is killed;
/// one that is there already stays.
fn write_new(path: &Path) -> io::Result<()> {
    let bytes = Zeroizing::new(random_bytes::<KEY_BYTES>().map_err(io::Error::other)?);
    let text = Zeroizing::new(STANDARD.encode(bytes.as_slice()));
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", crate::ids::new_uuid().simple()));
    let beside = Path::new(&beside);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(beside)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| match std::fs::hard_link(beside, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        });
    std::fs::remove_file(beside)?;
    written?;
    sync_folder_of(path)
}

/// Has what was made or renamed in a file's folder survive a loss of power.
///
/// # Errors
/// When the folder cannot be opened.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => std::fs::File::open(".")?.sync_all(),
    }
}

/// The keys that a source gives.
#[derive(Clone, Debug)]
pub struct MasterKeys {
    /// The one in use, or that was before a rotation whose end nobody has noted yet.
    pub current: MasterKey,
    /// The one that shall follow it.
    pub next: Option<MasterKey>,
}

/// Where a node's master keys come from.
#[async_trait]
pub trait KeySource: Send + Sync {
    /// The keys as they lie there now.
    ///
    /// # Errors
    /// When they cannot be had; no part of a key is told.
    async fn keys(&self) -> Result<MasterKeys, Error>;

    /// The key to rotate to: the one that is laid ready or, where the source may make one, a new
    /// one, which is durable when this returns.
    ///
    /// # Errors
    /// When there is none, with what to do about it.
    async fn next_or_new(&self) -> Result<MasterKey, Error>;

    /// Notes that everything is wrapped by this key, the one laid ready. Repeated, it does nothing.
    ///
    /// # Errors
    /// When that cannot be noted; nothing is lost then.
    async fn adopt(&self, key: &MasterKey) -> Result<(), Error>;
}

/// Keys that are handed in and stay what they are.
struct Fixed(MasterKeys);

#[async_trait]
impl KeySource for Fixed {
    async fn keys(&self) -> Result<MasterKeys, Error> {
        Ok(self.0.clone())
    }

    async fn next_or_new(&self) -> Result<MasterKey, Error> {
        let none = || Error::MasterKey("there is no next master key to rotate to".to_owned());
        self.0.next.clone().ok_or_else(none)
    }

    async fn adopt(&self, _: &MasterKey) -> Result<(), Error> {
        Ok(())
    }
}

/// Where the newest rotation stands, as far as it matters for which key is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Aim {
    /// The id of the key that everything shall be wrapped by.
    pub(super) to: String,
    /// Whether everything is.
    pub(super) reached: bool,
}

struct Held {
    keys: Vec<MasterKey>,
    aim: Option<Aim>,
}

/// The master keys that a node knows: during a rotation two. Cheap to clone.
#[derive(Clone)]
pub struct KeyRing {
    source: Arc<dyn KeySource>,
    held: Arc<RwLock<Held>>,
    reloaded: Arc<Mutex<Option<Instant>>>,
}

impl From<MasterKey> for KeyRing {
    fn from(current: MasterKey) -> Self {
        Self::fixed(current, None)
    }
}

impl KeyRing {
    /// The keys of a source, as they lie there now.
    ///
    /// # Errors
    /// When they cannot be had.
    pub async fn load(source: Arc<dyn KeySource>) -> Result<Self, Error> {
        let keys = source.keys().await?;
        Ok(Self::holding(source, keys))
    }

    /// Keys that stay what they are.
    pub fn fixed(current: MasterKey, next: Option<MasterKey>) -> Self {
        let keys = MasterKeys { current, next };
        Self::holding(Arc::new(Fixed(keys.clone())), keys)
    }

    fn holding(source: Arc<dyn KeySource>, keys: MasterKeys) -> Self {
        Self {
            source,
            held: Arc::new(RwLock::new(Held {
                keys: in_order(keys),
                aim: None,
            })),
            reloaded: Arc::default(),
        }
    }

    pub(super) fn source(&self) -> &dyn KeySource {
        self.source.as_ref()
    }

    /// The key by which anything new is wrapped: the one that the newest rotation aims at, if it is
    /// known here.
    pub fn active(&self) -> MasterKey {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let aimed_at = |aim: &Aim| held.keys.iter().find(|key| key.id == aim.to);
        let key = held.aim.as_ref().and_then(aimed_at);
        key.unwrap_or(&held.keys[0]).clone()
    }

    /// The key of an id; none of a key that a finished rotation has left behind.
    pub(super) fn find(&self, id: &str) -> Option<MasterKey> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let left_behind = |aim: &Aim| aim.reached && aim.to != id;
        if held.aim.as_ref().is_some_and(left_behind) {
            return None;
        }
        held.keys.iter().find(|key| key.id == id).cloned()
    }

    /// As [`Self::find`]; a key that is not known may have been laid ready meanwhile.
    pub(super) async fn find_or_reload(&self, id: &str) -> Result<MasterKey, Error> {
        if let Some(key) = self.find(id) {
            return Ok(key);
        }
        let mut reloaded = self.reloaded.lock().await;
        if reloaded.is_none_or(|at| at.elapsed() >= RELOAD_INTERVAL) {
            *reloaded = Some(Instant::now());
            self.reload().await?;
        }
        self.find(id).ok_or_else(|| Error::OtherMasterKey {
            needed: id.to_owned(),
            known: self.known(),
        })
    }

    /// Takes the source's keys as they lie there now.
    pub(super) async fn reload(&self) -> Result<(), Error> {
        let keys = in_order(self.source.keys().await?);
        self.held
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .keys = keys;
        Ok(())
    }

    /// Takes note of where the newest rotation stands.
    pub(super) fn aim(&self, aim: Option<Aim>) {
        self.held
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .aim = aim;
    }

    fn known(&self) -> String {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let ids: Vec<_> = held.keys.iter().map(MasterKey::id).collect();
        ids.join(" and ")
    }
}

fn in_order(keys: MasterKeys) -> Vec<MasterKey> {
    let mut all = vec![keys.current];
    all.extend(keys.next.filter(|next| next.id != all[0].id));
    all
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({})", self.known())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> MasterKey {
        MasterKey::from_base64(&STANDARD.encode([byte; KEY_BYTES])).unwrap()
    }

    #[test]
    fn a_master_key_file_is_made_once_and_kept_from_others() {
        let path = std::env::temp_dir().join(crate::ids::new_uuid().to_string());
        let made = MasterKey::from_file_or_new(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(MasterKey::from_file_or_new(&path).unwrap().id, made.id);
        write_new(&path).unwrap();
        assert_eq!(MasterKey::from_file(&path).unwrap().id, made.id);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(MasterKey::from_file_or_new(&path).is_err());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_told() {
        for text in ["", "c2hvcnQ=", "no base64 at all"] {
            let error = MasterKey::from_base64(text).unwrap_err().to_string();
            assert!(error.contains("32 bytes in base64"), "{error}");
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }

    #[test]
    fn during_a_rotation_both_keys_count_and_afterwards_the_new_one() {
        let (old, new) = (key(1), key(2));
        let ring = KeyRing::fixed(old.clone(), Some(new.clone()));
        assert_eq!(ring.active().id, old.id);
        let aim = |reached| {
            let to = new.id.clone();
            ring.aim(Some(Aim { to, reached }));
        };
        aim(false);
        assert_eq!(ring.active().id, new.id);
        assert!(ring.find(&old.id).is_some() && ring.find(&new.id).is_some());
        aim(true);
        assert!(ring.find(&old.id).is_none() && ring.find(&new.id).is_some());
    }

    #[tokio::test]
    async fn a_key_that_nobody_has_is_told_by_its_id() {
        let ring = KeyRing::from(key(1));
        let error = ring.find_or_reload(key(2).id()).await.unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains(key(1).id()) && told.contains(key(2).id()),
            "{told}"
        );
    }
}
