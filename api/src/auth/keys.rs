//! What is kept of API keys, from memory for a moment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlxTimestamp, ToSqlx};
use moka::future::Cache;
use sqlx::{PgPool, Row as _};
use toolroom_domain::{ApiKeyId, Role, WorkspaceId, access::Caller};

use super::{
    Reason, Unauthenticated,
    api_key::{ApiKey, HashKey},
};
use crate::error::ApiError;

/// For how long what was read of a key counts: a revocation works on every node after this and the
/// time of one read, whether or not anybody was told.
pub(super) const TRUSTED_FOR: Duration = Duration::from_millis(500);

/// Prefixes remembered, unknown ones included.
const REMEMBERED: u64 = 20_000;

/// How often it is written when keys were used last.
const USES_EVERY: Duration = Duration::from_secs(5);

/// A key's row.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub id: ApiKeyId,
    pub workspace: WorkspaceId,
    pub role: Role,
    /// Whether its holder runs the server.
    pub operator: bool,
    hash: Vec<u8>,
    expires_at: Option<Timestamp>,
    revoked: bool,
}

impl Known {
    /// What the key's holder may do.
    pub fn caller(&self) -> Caller {
        match self.operator {
            true => Caller::Operator,
            false => Caller::Key(self.role),
        }
    }

    /// Whether the key opens anything now.
    ///
    /// # Errors
    /// When it was revoked or has expired.
    pub fn check(&self, now: Timestamp) -> Result<(), Unauthenticated> {
        if self.revoked {
            return Err(Reason::KeyRevoked.into());
        }
        if self.expires_at.is_some_and(|at| at <= now) {
            return Err(Reason::KeyExpired.into());
        }
        Ok(())
    }
}

/// Finds keys.
pub(super) struct Keys {
    pool: PgPool,
    hash_key: HashKey,
    known: Cache<String, Option<Arc<Known>>>,
    /// Keys used since it was last written.
    used: Arc<Mutex<HashMap<ApiKeyId, Timestamp>>>,
}

impl Keys {
    pub(super) fn new(pool: PgPool, hash_key: HashKey) -> Self {
        let used = Arc::default();
        tokio::spawn(write_uses(pool.clone(), Arc::downgrade(&used)));
        Self {
            pool,
            hash_key,
            known: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(TRUSTED_FOR)
                .build(),
            used,
        }
    }

    /// What is kept of the key that somebody shows.
    ///
    /// # Errors
    /// When it does not count, or the database does not answer.
    pub(super) async fn verify(
        &self,
        key: &ApiKey,
        now: Timestamp,
    ) -> Result<Arc<Known>, ApiError> {
        let Some(known) = self.find(key.prefix()).await? else {
            return Err(Unauthenticated::from(Reason::KeyPrefix).into());
        };
        self.hash_key.verify(key, &known.hash)?;
        known.check(now)?;
        self.used(known.id, now);
        Ok(known)
    }

    /// Whether a key is the one that was issued with its prefix, whether it opens anything or not.
    pub(super) fn is_of(&self, key: &ApiKey, known: &Known) -> bool {
        self.hash_key.verify(key, &known.hash).is_ok()
    }

    /// Notes that a key was used.
    pub(super) fn used(&self, id: ApiKeyId, now: Timestamp) {
        self.lock_used().insert(id, now);
    }

    /// The key of a prefix.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn find(&self, prefix: &str) -> Result<Option<Arc<Known>>, ApiError> {
        if let Some(known) = self.known.get(prefix).await {
            return Ok(known);
        }
        let read = self
            .known
            .try_get_with_by_ref(prefix, read(&self.pool, prefix));
        read.await.map_err(|error| match Arc::try_unwrap(error) {
            Ok(error) => error.into(),
            Err(_) => ApiError::unavailable(),
        })
    }

    /// Forgets what is remembered of a key: this node has just changed it.
    pub(super) async fn forget(&self, prefix: &str) {
        self.known.invalidate(prefix).await;
    }

    pub(super) fn hash_key(&self) -> &HashKey {
        &self.hash_key
    }

    fn lock_used(&self) -> std::sync::MutexGuard<'_, HashMap<ApiKeyId, Timestamp>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(pool: &PgPool, prefix: &str) -> Result<Option<Arc<Known>>, sqlx::Error> {
    let row = sqlx::query(
        "select key_id, workspace_id, hash, role, operator, expires_at,
                revoked_at is not null as revoked
         from key_hashes where prefix = $1",
    )
    .bind(prefix)
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let parsed = |column: &str| -> Result<String, sqlx::Error> { row.try_get(column) };
    let garbled = |column: &str| sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: "is not what was written".into(),
    };
    let expires_at: Option<SqlxTimestamp> = row.try_get("expires_at")?;
    Ok(Some(Arc::new(Known {
        id: parsed("key_id")?.parse().map_err(|_| garbled("key_id"))?,
        workspace: parsed("workspace_id")?
            .parse()
            .map_err(|_| garbled("workspace_id"))?,
        role: Role::ALL
            .into_iter()
            .find(|role| parsed("role").is_ok_and(|text| text == role.as_str()))
            .ok_or_else(|| garbled("role"))?,
        operator: row.try_get("operator")?,
        hash: row.try_get("hash")?,
        expires_at: expires_at.map(SqlxTimestamp::to_jiff),
        revoked: row.try_get("revoked")?,
    })))
}

/// Writes when keys were used, while anybody asks for keys.
async fn write_uses(pool: PgPool, used: std::sync::Weak<Mutex<HashMap<ApiKeyId, Timestamp>>>) {
    loop {
        tokio::time::sleep(USES_EVERY).await;
        let Some(used) = used.upgrade() else { return };
        let uses = std::mem::take(&mut *used.lock().unwrap_or_else(PoisonError::into_inner));
        if uses.is_empty() {
            continue;
        }
        let (ids, times): (Vec<String>, Vec<SqlxTimestamp>) = uses
            .iter()
            .map(|(id, at)| (id.to_string(), at.to_sqlx()))
            .unzip();
        let written = sqlx::query(
            "update key_hashes k set last_used_at = greatest(k.last_used_at, u.at)
             from unnest($1::text[], $2::timestamptz[]) as u (id, at)
             where k.key_id = u.id",
        )
        .bind(ids)
        .bind(times)
        .execute(&pool)
        .await;
        if let Err(error) = written {
            tracing::debug!(%error, "could not write when keys were used; kept for the next time");
            let mut kept = used.lock().unwrap_or_else(PoisonError::into_inner);
            for (id, at) in uses {
                kept.entry(id).or_insert(at);
            }
        }
    }
}
