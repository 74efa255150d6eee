//! How far a follower has come, and who may move it.
//!
//! A follower has one holder at a time. Its lease carries an epoch that grows with each change of
//! holder, and the checkpoint moves only under the current epoch, in the transaction that writes
//! what was derived: a holder that was presumed dead and comes back writes nothing.

use std::time::Duration;

use sqlx::{PgConnection, PgPool, Row};

/// For how long a holder may be silent before another takes over.
pub const LEASE: Duration = Duration::from_secs(10);

/// The right to move a follower's checkpoint.
#[derive(Clone, Debug)]
pub struct Lease {
    follower: String,
    epoch: i64,
    position: i64,
}

/// Why a checkpoint did not move.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another node holds the follower now.
    #[error("the lease on `{0}` has passed to another node")]
    LeaseLost(String),
    /// The database did not answer.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Lease {
    /// Takes the follower's lease, if it is free, run out, or `holder`'s own from before.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn acquire(
        pool: &PgPool,
        follower: &str,
        holder: &str,
    ) -> Result<Option<Self>, sqlx::Error> {
        let row = sqlx::query(
            "insert into checkpoints as c (follower, position, lease_epoch, holder, lease_until)
             values ($1, 0, 1, $2, clock_timestamp() + make_interval(secs => $3))
             on conflict (follower) do update
             set lease_epoch = c.lease_epoch + 1, holder = $2,
                 lease_until = clock_timestamp() + make_interval(secs => $3)
             where c.holder is null or c.holder = $2 or c.lease_until < clock_timestamp()
             returning lease_epoch, position",
        )
        .bind(follower)
        .bind(holder)
        .bind(LEASE.as_secs_f64())
        .fetch_optional(pool)
        .await?;
        Ok(row.map(|row| Self {
            follower: follower.to_owned(),
            epoch: row.get("lease_epoch"),
            position: row.get("position"),
        }))
    }

    /// Whose checkpoint it is.
    pub fn follower(&self) -> &str {
        &self.follower
    }

    /// Up to where the follower has come.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Moves the checkpoint in the caller's transaction, which the caller commits, and then calls
    /// [`Self::moved_to`]. Renews the lease too.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] when another node took over; the caller then rolls back.
    pub async fn move_in_tx(&self, tx: &mut PgConnection, to: i64) -> Result<(), Error> {
        let moved = sqlx::query(
            "update checkpoints
             set position = $3, updated_at = clock_timestamp(),
                 lease_until = clock_timestamp() + make_interval(secs => $5)
             where follower = $1 and lease_epoch = $2 and position = $4",
        )
        .bind(&self.follower)
        .bind(self.epoch)
        .bind(to)
        .bind(self.position)
        .bind(LEASE.as_secs_f64())
        .execute(tx)
        .await?;
        self.must_have_one(moved.rows_affected())
    }

    /// Remembers that the transaction with [`Self::move_in_tx`] has committed.
    pub fn moved_to(&mut self, position: i64) {
        self.position = position;
    }

    /// Says that the holder lives. To be called at least every third of [`LEASE`].
    ///
    /// # Errors
    /// [`Error::LeaseLost`] when another node took over, or when the checkpoint went back: a
    /// database that crashed may have lost its last moves, and what was derived with them.
    pub async fn renew(&self, connection: &mut PgConnection) -> Result<(), Error> {
        let renewed = sqlx::query(
            "update checkpoints set lease_until = clock_timestamp() + make_interval(secs => $3)
             where follower = $1 and lease_epoch = $2 and position = $4",
        )
        .bind(&self.follower)
        .bind(self.epoch)
        .bind(LEASE.as_secs_f64())
        .bind(self.position)
        .execute(connection)
        .await?;
        self.must_have_one(renewed.rows_affected())
    }

    /// Gives the lease up, so that another node need not wait for its end.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn release(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query(
            "update checkpoints set holder = null, lease_until = null
             where follower = $1 and lease_epoch = $2",
        )
        .bind(&self.follower)
        .bind(self.epoch)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// Ends the current holder's right in the caller's transaction, and gives the follower's
    /// position: for whoever changes behind the holder's back what was derived. The holder finds
    /// its lease lost, takes it again, and reads all anew. None if the follower never began.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn fence_in_tx(
        tx: &mut PgConnection,
        follower: &str,
    ) -> Result<Option<i64>, sqlx::Error> {
        sqlx::query_scalar(
            "update checkpoints set lease_epoch = lease_epoch + 1 where follower = $1
             returning position",
        )
        .bind(follower)
        .fetch_optional(tx)
        .await
    }

    fn must_have_one(&self, rows: u64) -> Result<(), Error> {
        if rows == 1 {
            Ok(())
        } else {
            Err(Error::LeaseLost(self.follower.clone()))
        }
    }
}
