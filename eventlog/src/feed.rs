//! The one ordered feed that everything derived follows.
//!
//! The newest events are kept in memory as they are sequenced, so that the followers of one
//! process read each event from the database at most once between them.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::TryStreamExt;
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx};
use sqlx::{PgConnection, PgExecutor, PgPool, Row};
use tokio::sync::watch;

use crate::event::RecordedEvent;

/// Events kept in memory: some seconds of a busy server.
const TAIL_EVENTS: usize = 20_000;

/// Bytes kept in memory.
const TAIL_BYTES: usize = 32 * 1024 * 1024;

/// Events that one read returns at the most.
pub const READ_EVENTS: i64 = 5_000;

/// Bytes after which one read, or one step of the sequencer, ends, however few events it has:
/// inputs of a megabyte each must not fill the memory by the thousand.
pub(crate) const READ_BYTES: i64 = 4 * 1024 * 1024;

/// The size in SQL of the payload of the event `e`: as stored, which costs no look at the value
/// itself. One that is compressed is assumed to be ten times as large; what is sealed does not
/// compress, definitions of tools do, by three to ten.
pub(crate) const PAYLOAD_BYTES: &str = "case when pg_column_compression(e.payload) is null
     then pg_column_size(e.payload)::bigint
     else pg_column_size(e.payload)::bigint * 10 end";

/// Events of another node that are taken into the tail at once.
const REFRESH_EVENTS: i64 = 2_000;

/// How long a waiter sleeps between looks at the database, when no signal comes.
const RESOLVE_INTERVAL: Duration = Duration::from_millis(20);

/// The newest link of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// The log's epoch.
    pub epoch: i32,
    /// The last position; 0 when the log is empty.
    pub position: i64,
    /// The last hash, or the chain's seed.
    pub hash: Vec<u8>,
    /// The last time, if there is an event.
    pub logged_at: Option<Timestamp>,
}

/// Reads the log in order. Cheap to clone; all clones share one tail.
#[derive(Clone)]
pub struct Feed {
    pool: PgPool,
    tail: Arc<RwLock<Tail>>,
    head: Arc<watch::Sender<i64>>,
}

#[derive(Default)]
struct Tail {
    /// Contiguous positions, ending with the newest known.
    events: VecDeque<Arc<RecordedEvent>>,
    bytes: usize,
}

impl Tail {
    fn last(&self) -> i64 {
        self.events.back().map_or(0, |e| e.position)
    }

    fn push(&mut self, event: Arc<RecordedEvent>) {
        if !self.events.is_empty() && event.position != self.last() + 1 {
            self.events.clear();
            self.bytes = 0;
        }
        self.bytes += event.size();
        self.events.push_back(event);
        while self.events.len() > TAIL_EVENTS || self.bytes > TAIL_BYTES {
            if let Some(oldest) = self.events.pop_front() {
                self.bytes -= oldest.size();
            }
        }
    }

    /// The events after a position, if the tail reaches back that far.
    fn after(&self, position: i64, limit: usize) -> Option<Vec<Arc<RecordedEvent>>> {
        let first = self.events.front()?.position;
        let skip = usize::try_from(position + 1 - first).ok()?;
        Some(self.events.iter().skip(skip).take(limit).cloned().collect())
    }
}

impl Feed {
    /// A feed over `pool`, its tail still empty.
    pub fn new(pool: PgPool) -> Self {
        Self {
            pool,
            tail: Arc::default(),
            head: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Takes in what was just sequenced here.
    pub fn push(&self, events: Vec<RecordedEvent>) {
        let Some(last) = events.last().map(|e| e.position) else {
            return;
        };
        {
            let mut tail = self.tail.write().unwrap_or_else(PoisonError::into_inner);
            let known = tail.last();
            for event in events {
                if event.position > known {
                    tail.push(Arc::new(event));
                }
            }
        }
        self.head.send_if_modified(|head| {
            let grew = last > *head;
            *head = last.max(*head);
            grew
        });
    }

    /// Takes in what another node has sequenced.
    pub async fn refresh(&self) {
        loop {
            let known = *self.head.borrow();
            let after = if known == 0 {
                match self.head().await {
                    Ok(head) => (head.position - 1).max(0),
                    Err(_) => return,
                }
            } else {
                known
            };
            match select(&self.pool, after, REFRESH_EVENTS).await {
                Ok(events) if events.is_empty() => return,
                Ok(events) => self.push(events),
                Err(error) => {
                    tracing::debug!(%error, "could not look for events of other nodes");
                    return;
                }
            }
        }
    }

    /// Tells of each growth of the log: the newest position that this process knows.
    pub fn watch(&self) -> watch::Receiver<i64> {
        self.head.subscribe()
    }

    /// The next events after `position`, in order: at most `limit`, and fewer when they are large
    /// or more than [`READ_EVENTS`]. None are left when it gives none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn read(
        &self,
        position: i64,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, sqlx::Error> {
        match self.cached(position, limit) {
            Some(events) => Ok(events),
            None => select_shared(&self.pool, position, limit).await,
        }
    }

    /// As [`Self::read`], over the caller's connection: whoever waits for a second connection
    /// while holding one can wait for ever.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn read_in_tx(
        &self,
        tx: &mut PgConnection,
        position: i64,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, sqlx::Error> {
        match self.cached(position, limit) {
            Some(events) => Ok(events),
            None => select_shared(tx, position, limit).await,
        }
    }

    fn cached(&self, position: i64, limit: usize) -> Option<Vec<Arc<RecordedEvent>>> {
        let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
        tail.after(position, limit)
    }

    /// One event by its position.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn event(&self, position: i64) -> Result<Option<RecordedEvent>, sqlx::Error> {
        Ok(select(&self.pool, position - 1, 1).await?.pop())
    }

    /// The hash before the event at `position`: the chain's seed for the first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn hash_before(&self, position: i64) -> Result<Option<Vec<u8>>, sqlx::Error> {
        if position <= 1 {
            return Ok(Some(crate::verify::seed().to_vec()));
        }
        sqlx::query_scalar("select hash from event_log where position = $1")
            .bind(position - 1)
            .fetch_optional(&self.pool)
            .await
    }

    /// The newest link of the chain, from the database.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn head(&self) -> Result<LogHead, sqlx::Error> {
        let row = sqlx::query(
            "select log_epoch, position, hash, case when position > 0 then time end as time
             from sequencer_state",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(LogHead {
            epoch: row.get("log_epoch"),
            position: row.get("position"),
            hash: row.get("hash"),
            logged_at: row
                .get::<Option<SqlTimestamp>, _>("time")
                .map(SqlTimestamp::to_jiff),
        })
    }

    /// The last position whose time is at or before `time`; 0 when there is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn position_at(&self, time: Timestamp) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar(
            "select coalesce(
                 (select position from event_log where time <= $1 order by time desc, position desc limit 1),
                 0)",
        )
        .bind(time.to_sqlx())
        .fetch_one(&self.pool)
        .await
    }

    /// The position of what a command wrote, once it is sequenced; none when `within` is over.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn position_of(
        &self,
        global_seq: i64,
        within: Duration,
    ) -> Result<Option<i64>, sqlx::Error> {
        let deadline = tokio::time::Instant::now() + within;
        let mut head = self.head.subscribe();
        let mut look_in_database = false;
        let mut searched = 0;
        loop {
            let newest = *head.borrow_and_update();
            if let Some(position) = self.in_tail(global_seq, searched) {
                return Ok(Some(position));
            }
            searched = newest;
            if look_in_database {
                let found: Option<i64> =
                    sqlx::query_scalar("select position from event_log where global_seq = $1")
                        .bind(global_seq)
                        .fetch_optional(&self.pool)
                        .await?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            if tokio::time::Instant::now() >= deadline {
                return Ok(None);
            }
            let grown = tokio::time::timeout(RESOLVE_INTERVAL, head.changed()).await;
            look_in_database = grown.is_err();
        }
    }

    /// Searched from the newest back to `after`: who asks has just written.
    fn in_tail(&self, global_seq: i64, after: i64) -> Option<i64> {
        let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
        tail.events
            .iter()
            .rev()
            .take(REFRESH_EVENTS as usize)
            .take_while(|event| event.position > after)
            .find(|event| event.global_seq == global_seq)
            .map(|event| event.position)
    }
}

async fn select_shared(
    executor: impl PgExecutor<'_>,
    after: i64,
    limit: usize,
) -> Result<Vec<Arc<RecordedEvent>>, sqlx::Error> {
    let limit = i64::try_from(limit).unwrap_or(READ_EVENTS).min(READ_EVENTS);
    let events = select(executor, after, limit).await?;
    Ok(events.into_iter().map(Arc::new).collect())
}

async fn select(
    executor: impl PgExecutor<'_>,
    after: i64,
    limit: i64,
) -> Result<Vec<RecordedEvent>, sqlx::Error> {
    let sql = format!(
        "select position, global_seq, workspace_id, aggregate_type, aggregate_id, sequence,
                time, hash, event_type, event_version, payload::text as payload,
                metadata::text as metadata, recorded_at
         from (
             select l.position, l.global_seq, l.workspace_id, l.aggregate_type,
                    l.aggregate_id, l.sequence, l.time, l.hash, e.event_type,
                    e.event_version, e.payload, e.metadata, e.recorded_at,
                    sum({PAYLOAD_BYTES})
                        over (order by l.position rows between unbounded preceding
                                                           and 1 preceding) as before
             from event_log l
             join events e using (aggregate_type, aggregate_id, sequence)
             where l.position > $1 and l.position <= $1 + $2
         ) sized
         where coalesce(before, 0) < $3
         order by position"
    );
    let rows = sqlx::query(&sql)
        .bind(after)
        .bind(limit)
        .bind(READ_BYTES)
        .fetch(executor);
    rows.and_then(async |row| RecordedEvent::from_row(&row))
        .try_collect()
        .await
}
