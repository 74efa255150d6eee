//! The provider's public keys, kept in memory and fetched anew when they may have changed.
//!
//! Fetches are bounded in number whatever callers send: one at a time, at most one in
//! [`REFRESH_PAUSE`]. They run in a task of their own, since a caller who hangs up must neither end
//! a fetch that others wait for nor use up the turn.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Mutex, OwnedMutexGuard};
use toolroom_domain::Clock;

use super::{Reason, key::PublicKey};
use crate::http::nesting;

/// Between one fetch and the next: unknown key ids are free to invent.
pub const REFRESH_PAUSE: Duration = Duration::from_secs(30);

/// For how long keys count as the provider's present ones. A key that it withdraws ceases to count
/// after this and one fetch.
pub const MAX_AGE: Duration = Duration::from_secs(10 * 60);

/// For how long keys serve while the provider does not answer: longer than an outage, shorter than
/// for a withdrawn key to be forgotten.
pub const STALE_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a fetch may take.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a key set: 64 RSA keys with their certificates fit.
pub const MAX_BYTES: usize = 256 * 1024;

/// Keys of a set; providers have two or three.
pub const MAX_KEYS: usize = 64;

/// How deep a key set's brackets may nest: the set, its list, a key, its lists.
const DEPTH: usize = 6;

/// Why keys could not be fetched.
pub type FetchError = Box<dyn std::error::Error + Send + Sync>;

/// Fetches the provider's key set.
#[async_trait]
pub trait FetchJwks: Send + Sync + 'static {
    /// The JSON text of the set. An implementation stops reading after [`MAX_BYTES`].
    ///
    /// # Errors
    /// When the provider does not answer, or not with a key set.
    async fn fetch(&self) -> Result<Bytes, FetchError>;
}

/// The provider's keys. Clones share them.
#[derive(Clone)]
pub struct Jwks {
    cache: Arc<Cache>,
}

struct Cache {
    provider: Box<dyn FetchJwks>,
    clock: Arc<dyn Clock>,
    held: RwLock<Held>,
    /// Held by whoever fetches.
    turn: Arc<Mutex<()>>,
}

#[derive(Default)]
struct Held {
    keys: HashMap<String, Arc<PublicKey>>,
    fetched_at: Option<Timestamp>,
    tried_at: Option<Timestamp>,
}

impl Held {
    fn is_younger_than(&self, age: Duration, now: Timestamp) -> bool {
        self.fetched_at.is_some_and(|at| within(age, at, now))
    }
}

/// Whether two moments are less than `span` apart. Their order does not count: a clock that is set
/// back by much must not keep keys young.
fn within(span: Duration, one: Timestamp, other: Timestamp) -> bool {
    one.duration_since(other).unsigned_abs() < span
}

impl Jwks {
    /// A cache that is empty until the first token comes.
    pub fn new(provider: impl FetchJwks, clock: Arc<dyn Clock>) -> Self {
        Self {
            cache: Arc::new(Cache {
                provider: Box::new(provider),
                clock,
                held: RwLock::default(),
                turn: Arc::default(),
            }),
        }
    }

    /// The key of this id. Keys past their age serve while others are fetched; who asks for an
    /// unknown one waits for the fetch.
    pub(super) async fn key(&self, kid: &str) -> Result<Arc<PublicKey>, Reason> {
        let cache = &self.cache;
        if let Ok(key) = cache.held(kid) {
            if cache.is_aged()
                && cache.may_fetch()
                && let Ok(turn) = Arc::clone(&cache.turn).try_lock_owned()
            {
                tokio::spawn(Arc::clone(cache).refresh(turn));
            }
            return Ok(key);
        }
        if cache.may_fetch() {
            let turn = Arc::clone(&cache.turn).lock_owned().await;
            let refreshing = tokio::spawn(Arc::clone(cache).refresh(turn));
            if let Err(error) = refreshing.await {
                tracing::error!(%error, "fetching the identity provider's keys panicked");
            }
        }
        cache.held(kid)
    }

    /// Whether a fetch is under way.
    #[cfg(test)]
    pub(super) fn is_fetching(&self) -> bool {
        self.cache.turn.try_lock().is_err()
    }
}

impl Cache {
    fn held(&self, kid: &str) -> Result<Arc<PublicKey>, Reason> {
        let held = self.held.read().expect("no holder panics");
        if !held.is_younger_than(STALE_FOR, self.clock.now()) {
            return Err(Reason::KeysUnavailable);
        }
        held.keys.get(kid).cloned().ok_or(Reason::KeyUnknown)
    }

    fn is_aged(&self) -> bool {
        let held = self.held.read().expect("no holder panics");
        !held.is_younger_than(MAX_AGE, self.clock.now())
    }

    fn may_fetch(&self) -> bool {
        let held = self.held.read().expect("no holder panics");
        !held
            .tried_at
            .is_some_and(|at| within(REFRESH_PAUSE, at, self.clock.now()))
    }

    /// Fetches the keys, unless somebody did while this one waited for its turn. Keys that cannot
    /// be replaced stay.
    async fn refresh(self: Arc<Self>, _turn: OwnedMutexGuard<()>) {
        if !self.may_fetch() {
            return;
        }
        let fetched = match tokio::time::timeout(FETCH_TIMEOUT, self.provider.fetch()).await {
            Ok(Ok(text)) => parse(&text).map_err(FetchError::from),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(format!("no answer within {} s", FETCH_TIMEOUT.as_secs()).into()),
        };
        let now = self.clock.now();
        let mut held = self.held.write().expect("no holder panics");
        held.tried_at = Some(now);
        match fetched {
            Ok(keys) => {
                held.keys = keys;
                held.fetched_at = Some(now);
            }
            Err(error) => tracing::warn!(
                %error,
                keys = held.keys.len(),
                "the identity provider's keys could not be fetched; those known go on serving"
            ),
        }
    }
}

/// Why a text is no set of keys to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum InvalidSet {
    #[error("the key set is longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error("the key set is no JSON object with a list `keys`")]
    Malformed,
    #[error("the key set holds more than {MAX_KEYS} keys")]
    TooMany,
    #[error("the key set holds no key with a `kid` that signs by RS256, ES256 or EdDSA")]
    Useless,
}

fn parse(text: &[u8]) -> Result<HashMap<String, Arc<PublicKey>>, InvalidSet> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    if text.len() > MAX_BYTES {
        return Err(InvalidSet::TooLong);
    }
    if nesting::too_deep_field(DEPTH, text).is_some() {
        return Err(InvalidSet::Malformed);
    }
    let set: Set = serde_json::from_slice(text).map_err(|_| InvalidSet::Malformed)?;
    if set.keys.len() > MAX_KEYS {
        return Err(InvalidSet::TooMany);
    }
    let mut keys = HashMap::new();
    for (kid, key) in set.keys.into_iter().filter_map(PublicKey::from_jwk) {
        keys.entry(kid).or_insert_with(|| Arc::new(key));
    }
    if keys.is_empty() {
        return Err(InvalidSet::Useless);
    }
    Ok(keys)
}
