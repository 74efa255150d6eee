//! A group committer.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use backon::{BackoffBuilder, ExponentialBuilder};
use sqlx::{PgPool, Row};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Append, AppendError, Appended, Marks, Pending, SETTLE_WITHIN,
    statement::{self, Failure},
};
use crate::{kept::Kept, signal::Signals};

/// Commands in one batch: past this the statement's own time outweighs what a flush costs.
const BATCH_COMMANDS: usize = 256;

/// Bytes in one batch, so that a few large commands do not delay many small ones.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Tries of a single command that met a deadlock.
const CONTENTION_TRIES: usize = 5;

pub(super) struct Writer {
    connection: Kept,
    signals: Signals,
    marks: Arc<Marks>,
    index: usize,
}

impl Writer {
    pub(super) fn new(pool: &PgPool, signals: Signals, marks: Arc<Marks>, index: usize) -> Self {
        Self {
            connection: Kept::new(pool),
            signals,
            marks,
            index,
        }
    }

    /// Writes what comes in until `shutdown`, and then what has come in before.
    pub(super) async fn run(
        mut self,
        mut incoming: mpsc::Receiver<Pending>,
        shutdown: CancellationToken,
    ) {
        let mut deferred = Vec::new();
        loop {
            if deferred.is_empty() {
                let first = tokio::select! {
                    biased;
                    first = incoming.recv() => first,
                    () = shutdown.cancelled() => {
                        incoming.close();
                        incoming.recv().await
                    }
                };
                match first {
                    Some(first) => deferred.push(first),
                    None => return,
                }
            }
            let batch = gather(&mut deferred, &mut incoming);
            self.commit(batch).await;
        }
    }

    async fn commit(&mut self, batch: Vec<Pending>) {
        let started = Instant::now();
        metrics::histogram!("toolroom_append_batch_commands").record(batch.len() as f64);
        let appends: Vec<&Append> = batch.iter().map(|p| &p.append).collect();
        match self.write(&appends).await {
            Ok(written) => {
                if let Some(last) = written.values().max() {
                    self.marks.note(self.index, *last);
                }
                self.signals.announce_append();
                for pending in batch {
                    let last = written.get(&pending.append.aggregate_id).copied();
                    // A sender that went away has its outcome in the log.
                    let _ = pending.reply.send(Ok(last));
                }
            }
            Err(_) => {
                for pending in batch {
                    let outcome = self.commit_one(&pending.append).await;
                    if let Ok(last) = outcome {
                        self.marks.note(self.index, last.unwrap_or_default());
                        self.signals.announce_append();
                    }
                    let _ = pending.reply.send(outcome);
                }
            }
        }
        metrics::histogram!("toolroom_append_batch_seconds").record(started.elapsed());
    }

    async fn write(&mut self, batch: &[&Append]) -> Result<statement::Written, Failure> {
        let written = match self.connection.get().await {
            Ok(connection) => statement::write(connection, batch).await,
            Err(_) => Err(Failure::Unknown),
        };
        if matches!(written, Err(Failure::Unknown)) {
            self.connection.release();
        }
        written
    }

    /// One command in a transaction of its own, after a batch with it in failed: only the guilty
    /// one is refused. The batch may have been committed after all, when its outcome was unknown.
    async fn commit_one(&mut self, append: &Append) -> Appended {
        let deadline = Instant::now() + SETTLE_WITHIN;
        let mut contentions = 0;
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(std::time::Duration::from_millis(5))
            .with_max_delay(std::time::Duration::from_millis(500))
            .without_max_times()
            .with_jitter()
            .build();
        loop {
            match self.write(&[append]).await {
                Ok(written) => return Ok(written.get(&append.aggregate_id).copied()),
                Err(Failure::RolledBack(error)) => {
                    return match (&error, self.find(append).await) {
                        (
                            AppendError::Conflict
                            | AppendError::Repeated
                            | AppendError::NameTaken { .. },
                            Ok(Some(own)),
                        ) => Ok(own),
                        _ => Err(error),
                    };
                }
                Err(Failure::Contended) => {
                    contentions += 1;
                    if contentions >= CONTENTION_TRIES {
                        return Err(AppendError::Conflict);
                    }
                }
                Err(Failure::Unknown) => {
                    if Instant::now() >= deadline {
                        return Err(AppendError::Unavailable);
                    }
                }
            }
            if let Some(delay) = delays.next() {
                tokio::time::sleep(delay).await;
            }
        }
    }

    /// Looks whether this very command is in the log already: by the command id on its first
    /// event. A command without events leaves a record only, which the bus looks up.
    async fn find(&mut self, append: &Append) -> Result<Option<Option<i64>>, sqlx::Error> {
        let Some(first) = append.events.first() else {
            return Ok(None);
        };
        let found = sqlx::query(
            "select command_id,
                    (select max(global_seq) from events l
                     where l.aggregate_type = e.aggregate_type and l.aggregate_id = e.aggregate_id
                       and l.command_id = e.command_id) as last
             from events e
             where aggregate_type = $1 and aggregate_id = $2 and sequence = $3",
        )
        .bind(append.aggregate_type)
        .bind(&append.aggregate_id)
        .bind(first.sequence)
        .fetch_optional(self.connection.get().await?)
        .await;
        let row = self.connection.checked(found)?;
        let own = row.filter(|row| {
            let command_id: Option<String> = row.get("command_id");
            command_id.as_deref() == Some(append.command_id.as_str())
        });
        Ok(own.map(|row| row.get("last")))
    }
}

/// Takes a batch: what was deferred first, then what has come in, no aggregate twice (two commands
/// on one aggregate cannot both be right about its sequence; the later one is deferred).
fn gather(deferred: &mut Vec<Pending>, incoming: &mut mpsc::Receiver<Pending>) -> Vec<Pending> {
    let mut batch: Vec<Pending> = Vec::new();
    let mut bytes = 0;
    let mut aggregates = HashSet::new();
    let mut held = Vec::new();
    let mut waiting = std::mem::take(deferred).into_iter();
    while batch.len() < BATCH_COMMANDS && bytes < BATCH_BYTES {
        let Some(next) = waiting.next().or_else(|| incoming.try_recv().ok()) else {
            break;
        };
        if aggregates.insert(next.append.aggregate_id.clone()) {
            bytes += next.append.size();
            batch.push(next);
        } else {
            held.push(next);
        }
        if held.len() >= BATCH_COMMANDS {
            break;
        }
    }
    held.extend(waiting);
    *deferred = held;
    batch
}
