//! What is remembered of named commands.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use sqlx::{PgPool, Row};
use tokio::sync::OwnedMutexGuard;

use super::{CommandBus, CommandContext, CommandError, NamedCommand, from_sqlx};
use crate::append::CommandRecord;

/// How long a command is remembered.
pub const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

type Key = (String, String, String);

fn key(context: &CommandContext, named: &NamedCommand) -> Key {
    (
        context.workspace.to_string(),
        context.actor.to_string(),
        named.id.clone(),
    )
}

/// Named commands that are being carried out in this process: those of one name take turns, so
/// that all but the first find the first one's outcome.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    turns: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
}

/// A named command's turn, given up when dropped.
pub(super) struct Turn {
    in_flight: Arc<InFlight>,
    key: Key,
    guard: Option<OwnedMutexGuard<()>>,
}

impl InFlight {
    pub(super) async fn turn(
        self: &Arc<Self>,
        context: &CommandContext,
        named: &NamedCommand,
    ) -> Turn {
        let key = key(context, named);
        let lock = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(key.clone()).or_default())
        };
        let guard = Some(lock.lock_owned().await);
        Turn {
            in_flight: Arc::clone(self),
            key,
            guard,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut turns = self
            .in_flight
            .turns
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if turns
            .get(&self.key)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            turns.remove(&self.key);
        }
    }
}

/// What was kept of an earlier sending.
pub(super) struct Found {
    pub(super) digest: Vec<u8>,
    pub(super) aggregate_type: String,
    pub(super) aggregate_id: String,
    pub(super) global_seq: Option<i64>,
    /// The answer, as JSON, of a command that changed no aggregate.
    pub(super) outcome: Option<String>,
}

pub(super) fn record(
    digest_key: &hmac::Key,
    context: &CommandContext,
    named: &NamedCommand,
) -> CommandRecord {
    CommandRecord {
        actor: context.actor.to_string(),
        command_id: named.id.clone(),
        digest: hmac::sign(digest_key, &named.request).as_ref().to_vec(),
    }
}

impl CommandBus {
    /// What was kept of a command on this kind of thing that was sent before under this id; none
    /// if it is new.
    pub(super) async fn remembered<E: std::error::Error>(
        &self,
        context: &CommandContext,
        kind: &str,
    ) -> Result<Option<Found>, CommandError<E>> {
        let Some(named) = &context.named else {
            return Ok(None);
        };
        let found = find(&self.pool, context, named).await.map_err(from_sqlx)?;
        let same = |found: &Found| {
            found.aggregate_type == kind
                && hmac::verify(&self.digest_key, &named.request, &found.digest).is_ok()
        };
        match found {
            Some(found) if !same(&found) => Err(CommandError::IdempotencyConflict),
            found => Ok(found),
        }
    }
}

async fn find(
    pool: &PgPool,
    context: &CommandContext,
    named: &NamedCommand,
) -> Result<Option<Found>, sqlx::Error> {
    let (workspace, actor, id) = key(context, named);
    let row = sqlx::query(
        "select digest, aggregate_type, aggregate_id, global_seq, outcome::text as outcome
         from command_log
         where workspace_id = $1 and actor = $2 and command_id = $3",
    )
    .bind(workspace)
    .bind(actor)
    .bind(id)
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| Found {
        digest: row.get("digest"),
        aggregate_type: row.get("aggregate_type"),
        aggregate_id: row.get("aggregate_id"),
        global_seq: row.get("global_seq"),
        outcome: row.get("outcome"),
    }))
}

/// Forgets commands older than [`KEPT_FOR`]; says how many.
///
/// # Errors
/// When the database is away.
pub async fn prune(pool: &PgPool) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query(
        "delete from command_log where recorded_at < clock_timestamp() - make_interval(secs => $1)",
    )
    .bind(KEPT_FOR.as_secs_f64())
    .execute(pool)
    .await?;
    Ok(deleted.rows_affected())
}
