//! Changing the master key while all goes on.
//!
//! A rotation is a row of the table `master_key_rotations` that names the new key. From then on new
//! rows are wrapped by it, and a loop on every node, of which one works at a time, wraps the others
//! anew in small transactions. Each row says which key it is wrapped by, so that a node opens both
//! kinds, and a node that is killed leaves nothing half done. The rotation ends, in one transaction
//! that keeps other writers out, when no row of another key is left; from its commit on a trigger
//! refuses rows of the old key. Only then does a node's key source let go of it: whichever of both
//! keys a file holds when a node starts, it finds what it needs.

use std::time::Duration;

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool, Row as _, postgres::PgRow};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Error, MasterKey, Vault,
    cipher::{decrypt, encrypt, key_aad, row_aad},
    master::Aim,
};
use crate::command::Receipt;

/// Rows wrapped anew in one transaction: some milliseconds of work.
const BATCH: i64 = 200;

/// How often a node looks whether a rotation was begun or ended elsewhere.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How old a rotation is when it ends at the earliest, in seconds: by then every node has looked, and
/// what it wrapped by the old key before is wrapped anew.
const SETTLED_AFTER_S: f64 = 3.0;

/// How long the end of a rotation waits for those who write into the vault. Whoever comes after
/// waits as long.
const LOCK_TIMEOUT: &str = "2s";

/// How long to wait before rows that did not open are tried again.
const BROKEN_INTERVAL: Duration = Duration::from_secs(30);

/// Rows that do not open which are stepped over; with more of them there is another trouble.
const BROKEN_ROWS: usize = 1_000;

/// A change of the master key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// Which, counted from 1.
    pub id: i64,
    /// The id of the new key.
    pub to_key: String,
    /// Rows to wrap anew.
    pub total: i64,
    /// Rows that are.
    pub done: i64,
    /// What keeps it from its end, if anything does.
    pub problem: Option<String>,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// Since when the old key opens nothing.
    pub finished_at: Option<Timestamp>,
}

impl Rotation {
    /// The newest rotation in a database, if there ever was one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn newest(pool: &PgPool) -> Result<Option<Self>, sqlx::Error> {
        let row = sqlx::query(NEWEST).fetch_optional(pool).await?;
        row.as_ref().map(Self::read).transpose()
    }

    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let finished: Option<SqlTimestamp> = row.try_get("finished_at")?;
        Ok(Self {
            id: row.try_get("id")?,
            to_key: row.try_get("to_key")?,
            total: row.try_get("total")?,
            done: row.try_get("done")?,
            problem: row.try_get("problem")?,
            started_at: row.try_get::<SqlTimestamp, _>("started_at")?.to_jiff(),
            finished_at: finished.map(SqlTimestamp::to_jiff),
        })
    }
}

/// Why no rotation was begun.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// There is no key to rotate to.
    #[error("{0}")]
    NoKey(#[source] Error),
    /// The key that lies ready is the one in use.
    #[error(
        "the next master key is the one in use already: everything is wrapped by it; lay another one ready to rotate again"
    )]
    SameKey,
    /// The database did not answer.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// How far one step came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There may be more to do at once.
    Went,
    /// Another node works on it, or it is too young to end.
    Waits,
    /// There is no rotation under way, or not any more.
    Idle,
}

/// The newest rotation.
const NEWEST: &str = "select id, to_key, total, done, problem, started_at, finished_at
     from master_key_rotations order by id desc limit 1";

impl Vault {
    /// The newest rotation, if there ever was one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn rotation(&self) -> Result<Option<Rotation>, sqlx::Error> {
        Rotation::newest(&self.pool).await
    }

    /// Takes note of the newest rotation: which key is used follows from it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn look(&self) -> Result<Option<Rotation>, sqlx::Error> {
        let rotation = self.rotation().await?;
        self.ring.aim(rotation.as_ref().map(|rotation| Aim {
            to: rotation.to_key.clone(),
            reached: rotation.finished_at.is_some(),
        }));
        Ok(rotation)
    }

    /// Begins a rotation to the next master key and returns at once; one that is under way goes on,
    /// and is what this tells.
    ///
    /// # Errors
    /// When there is no next key, or the database does not answer.
    pub async fn begin_rotation(
        &self,
        receipt: Option<Receipt>,
    ) -> Result<Rotation, RotationError> {
        let next = match self.rotation().await? {
            Some(newest) if newest.finished_at.is_none() => None,
            newest => Some(self.next_key(newest.as_ref()).await?),
        };
        let mut tx = self.pool.begin().await?;
        sqlx::query("lock table master_key_rotations in share row exclusive mode")
            .execute(&mut *tx)
            .await?;
        let newest = sqlx::query(NEWEST).fetch_optional(&mut *tx).await?;
        let newest = newest.as_ref().map(Rotation::read).transpose()?;
        let rotation = match (newest, next) {
            (Some(newest), _) if newest.finished_at.is_none() => newest,
            (Some(newest), Some(next)) if newest.to_key == next.id() => {
                return Err(RotationError::SameKey);
            }
            (_, Some(next)) => begin_in_tx(&mut tx, &next).await?,
            // The one that was under way has ended since.
            (Some(newest), None) => newest,
            (None, None) => return Err(sqlx::Error::RowNotFound.into()),
        };
        if let Some(receipt) = receipt {
            receipt.keep_in_tx(&mut tx, &rotation).await?;
        }
        tx.commit().await?;
        tracing::info!(
            key = rotation.to_key,
            rows = rotation.total,
            "the master key is rotated"
        );
        self.rotate.notify_one();
        Ok(rotation)
    }

    async fn next_key(&self, newest: Option<&Rotation>) -> Result<MasterKey, RotationError> {
        let source = self.ring.source();
        let mut next = source.next_or_new().await.map_err(RotationError::NoKey)?;
        if let Some(newest) = newest.filter(|newest| newest.to_key == next.id()) {
            // The source has not gone over yet to the key that the last rotation led to.
            self.adopt(newest).await.map_err(RotationError::NoKey)?;
            next = source.next_or_new().await.map_err(RotationError::NoKey)?;
        }
        self.ring.reload().await.map_err(RotationError::NoKey)?;
        if self.ring.active().id() == next.id() {
            return Err(RotationError::SameKey);
        }
        Ok(next)
    }

    /// Takes the rotation that is under way one batch further; `broken` collects the rows that do not
    /// open, which are stepped over.
    ///
    /// # Errors
    /// When the new key is not known here, or the database does not answer.
    pub async fn rotate_step(&self, broken: &mut Vec<i64>) -> Result<Step, Error> {
        let Some(rotation) = self.look().await?.filter(|r| r.finished_at.is_none()) else {
            return Ok(Step::Idle);
        };
        let to = self.ring.find_or_reload(&rotation.to_key).await?;
        let mut tx = self.pool.begin().await?;
        // Its lock is the fence: one node works on it at a time.
        let fence = sqlx::query_scalar::<_, i64>(
            "select id from master_key_rotations
             where id = $1 and finished_at is null for update skip locked",
        )
        .bind(rotation.id)
        .fetch_optional(&mut *tx)
        .await?;
        if fence.is_none() {
            return Ok(Step::Waits);
        }
        let rows = others_in_tx(&mut tx, &to, broken).await?;
        let step = if rows.is_empty() {
            end_in_tx(&mut tx, &rotation, &to, broken).await?
        } else {
            self.wrap_in_tx(&mut tx, &rotation, &to, &rows, broken)
                .await?;
            Step::Went
        };
        tx.commit().await?;
        if step == Step::Idle {
            self.look().await?;
            tracing::info!(key = rotation.to_key, "the master key was rotated");
        }
        Ok(step)
    }

    async fn wrap_in_tx(
        &self,
        tx: &mut PgConnection,
        rotation: &Rotation,
        to: &MasterKey,
        rows: &[PgRow],
        broken: &mut Vec<i64>,
    ) -> Result<(), Error> {
        let (mut ids, mut wrapped) = (Vec::new(), Vec::new());
        for row in rows {
            let id: i64 = row.try_get("id")?;
            match self.wrapped_anew(row, to).await {
                Ok(bytes) => {
                    ids.push(id);
                    wrapped.push(bytes);
                }
                Err(Error::Unopened | Error::OtherMasterKey { .. })
                    if broken.len() < BROKEN_ROWS =>
                {
                    broken.push(id);
                }
                Err(error) => return Err(error),
            }
        }
        if ids.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "update vault v set wrapped_key = u.wrapped_key, master_key_id = $1
             from unnest($2::bigint[], $3::bytea[]) as u (id, wrapped_key)
             where v.id = u.id",
        )
        .bind(to.id())
        .bind(&ids)
        .bind(wrapped)
        .execute(&mut *tx)
        .await?;
        // What was still wrapped by the old key after the rotation began is counted as it is found.
        sqlx::query(
            "update master_key_rotations
             set done = done + $2, total = greatest(total, done + $2), problem = null
             where id = $1",
        )
        .bind(rotation.id)
        .bind(i64::try_from(ids.len()).unwrap_or(i64::MAX))
        .execute(tx)
        .await?;
        Ok(())
    }

    async fn wrapped_anew(&self, row: &PgRow, to: &MasterKey) -> Result<Vec<u8>, Error> {
        let (owner, kind, name): (&str, &str, &str) = (
            row.try_get("workspace_id")?,
            row.try_get("kind")?,
            row.try_get("name")?,
        );
        let aad = match row.try_get::<Option<i32>, _>("version")? {
            Some(version) => {
                let version = u32::try_from(version).map_err(|_| Error::Unopened)?;
                row_aad(owner, kind, version, name)
            }
            None => key_aad(owner, kind),
        };
        let from = self
            .ring
            .find_or_reload(row.try_get("master_key_id")?)
            .await?;
        let key = decrypt(&from.key, &aad, row.try_get("wrapped_key")?)?;
        encrypt(&to.key, &aad, &key)
    }

    /// Lets the key source go over to the key of a finished rotation, if it lies ready there.
    async fn adopt(&self, rotation: &Rotation) -> Result<(), Error> {
        let keys = self.ring.source().keys().await?;
        if let Some(next) = keys.next.filter(|next| next.id() == rotation.to_key) {
            self.ring.source().adopt(&next).await?;
        }
        self.ring.reload().await
    }
}

async fn begin_in_tx(tx: &mut PgConnection, next: &MasterKey) -> Result<Rotation, sqlx::Error> {
    let row = sqlx::query(
        "insert into master_key_rotations (to_key, total)
         select $1, count(*) from vault where wrapped_key is not null and master_key_id <> $1
         returning id, to_key, total, done, problem, started_at, finished_at",
    )
    .bind(next.id())
    .fetch_one(tx)
    .await?;
    Rotation::read(&row)
}

/// The next rows that are wrapped by another key than this one. In two ranges, so that those that are
/// done already are not walked through each time.
async fn others_in_tx(
    tx: &mut PgConnection,
    to: &MasterKey,
    broken: &[i64],
) -> Result<Vec<PgRow>, sqlx::Error> {
    sqlx::query(
        "select id, workspace_id, kind, name, version, wrapped_key, master_key_id
         from vault
         where id in (
             (select id from vault
              where wrapped_key is not null and master_key_id < $1 and id <> all($2)
              order by master_key_id, id limit $3)
             union all
             (select id from vault
              where wrapped_key is not null and master_key_id > $1 and id <> all($2)
              order by master_key_id, id limit $3)
             limit $3)
         order by id
         for update",
    )
    .bind(to.id())
    .bind(broken)
    .bind(BATCH)
    .fetch_all(tx)
    .await
}

/// Ends the rotation if nothing is left to do, with all other writers kept out.
async fn end_in_tx(
    tx: &mut PgConnection,
    rotation: &Rotation,
    to: &MasterKey,
    broken: &[i64],
) -> Result<Step, sqlx::Error> {
    if let Some(first) = broken.first() {
        let problem = format!(
            "{} rows of the table `vault` do not open, the first of id {first}: they were changed, or wrapped by a key that is not known here; give that key, or delete them",
            broken.len()
        );
        sqlx::query("update master_key_rotations set problem = $2 where id = $1 and problem is distinct from $2")
            .bind(rotation.id)
            .bind(problem)
            .execute(tx)
            .await?;
        return Ok(Step::Waits);
    }
    sqlx::query("select set_config('lock_timeout', $1, true)")
        .bind(LOCK_TIMEOUT)
        .execute(&mut *tx)
        .await?;
    // Waits for whoever writes, and sees what they have written.
    sqlx::query("lock table vault in share mode")
        .execute(&mut *tx)
        .await?;
    let ended = sqlx::query(
        "update master_key_rotations set finished_at = clock_timestamp(), total = done, problem = null
         where id = $1 and started_at < clock_timestamp() - make_interval(secs => $3)
           and not exists (select from vault where wrapped_key is not null and master_key_id < $2)
           and not exists (select from vault where wrapped_key is not null and master_key_id > $2)",
    )
    .bind(rotation.id)
    .bind(to.id())
    .bind(SETTLED_AFTER_S)
    .execute(tx)
    .await?;
    Ok(match ended.rows_affected() {
        0 => Step::Waits,
        _ => Step::Idle,
    })
}

/// Takes rotations forward until `shutdown`, whoever began them, and has the key source go over to
/// the new key at their end.
pub(crate) async fn run(vault: Vault, shutdown: CancellationToken) {
    let mut watch = Watch::default();
    let mut complained = String::new();
    loop {
        match watch.advance(&vault).await {
            Ok(Step::Went) if !shutdown.is_cancelled() => continue,
            Ok(_) => complained.clear(),
            Err(error) => {
                let told = error.to_string();
                if told != complained {
                    tracing::warn!(%error, "the rotation of the master key does not go on");
                    complained = told;
                }
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = vault.rotate.notified() => {}
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

/// What a node remembers between its looks.
#[derive(Default)]
struct Watch {
    /// Rows that did not open.
    broken: Vec<i64>,
    /// When they are tried again: whoever mends them need not restart anything.
    again_at: Option<Instant>,
    /// The rotation whose key the source has gone over to.
    adopted: i64,
}

impl Watch {
    async fn advance(&mut self, vault: &Vault) -> Result<Step, Error> {
        let Some(newest) = vault.look().await? else {
            return Ok(Step::Idle);
        };
        if newest.finished_at.is_some() {
            if newest.id != self.adopted {
                vault.adopt(&newest).await?;
                self.adopted = newest.id;
            }
            return Ok(Step::Idle);
        }
        if self.again_at.is_some_and(|at| at <= Instant::now()) {
            self.broken.clear();
            self.again_at = None;
        }
        let step = vault.rotate_step(&mut self.broken).await?;
        if let (Some(first), None) = (self.broken.first(), self.again_at) {
            tracing::error!(
                row = first,
                "rows of the table `vault` do not open; the rotation of the master key waits for them"
            );
            self.again_at = Some(Instant::now() + BROKEN_INTERVAL);
        }
        Ok(step)
    }
}
