//! A connection that a busy loop keeps to itself.
//!
//! sqlx asks a connection whether it lives each time it is given back to its pool: a round trip more
//! for each statement. A loop that sends one after the other keeps its connection instead.

use std::time::Instant;

use sqlx::{Connection as _, PgConnection, PgPool, Postgres, pool::PoolConnection};

use crate::database::{Fault, TRUSTED_FOR, classify};

/// A connection of a pool, taken when it is first needed.
#[derive(Debug)]
pub struct Kept {
    pool: PgPool,
    connection: Option<PoolConnection<Postgres>>,
    used: Instant,
}

impl Kept {
    /// Nothing is taken yet.
    pub fn new(pool: &PgPool) -> Self {
        Self {
            pool: pool.clone(),
            connection: None,
            used: Instant::now(),
        }
    }

    /// The connection; a new one, if the kept one lay idle and has died meanwhile. What is sent
    /// over it must not be cancelled midway.
    ///
    /// # Errors
    /// When none can be had.
    pub async fn get(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        let alive = match self.connection.take() {
            Some(mut connection) if self.used.elapsed() >= TRUSTED_FOR => {
                connection.ping().await.is_ok().then_some(connection)
            }
            kept => kept,
        };
        let connection = match alive {
            Some(connection) => connection,
            None => self.pool.acquire().await?,
        };
        self.used = Instant::now();
        Ok(self.connection.insert(connection))
    }

    /// Passes an outcome on, and gives the connection up where the error says that it is of no
    /// more use.
    ///
    /// # Errors
    /// That of the outcome.
    pub fn checked<T>(&mut self, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if let Err(error) = &outcome
            && classify(error) == Fault::Unavailable
        {
            self.release();
        }
        outcome
    }

    /// Gives the connection back to its pool, which finds out whether it is alive.
    pub fn release(&mut self) {
        self.connection = None;
    }
}
