//! Loading streams: what has been asked for while the last read was under way is read at once.
//!
//! The twin of the group committer. One command costs a round trip either way; sixty-four at once
//! cost a handful instead of sixty-four.

use std::collections::HashMap;
use std::sync::Arc;

use cqrs_es::persist::SerializedEvent;
use sqlx::{PgConnection, PgPool, Row};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{database::lanes, kept::Kept};

/// Streams in one read.
const BATCH: usize = 64;

/// How many may wait before askers are held back.
const QUEUE: usize = 1024;

type Key = (&'static str, String);
type Events = Result<Vec<SerializedEvent>, LoadError>;

/// Why a stream could not be read. One fault answers all who asked in the same read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    /// The database is away.
    #[error("the database is not available")]
    Unavailable,
    /// The database refuses the read.
    #[error("the stream could not be read: {0}")]
    Failed(String),
}

struct Ask {
    key: Key,
    answer: oneshot::Sender<Events>,
}

/// Reads streams in batches.
#[derive(Clone, Debug)]
pub struct Loader {
    queues: Arc<[mpsc::Sender<Ask>]>,
}

impl Loader {
    /// Starts the readers among `tasks`; they end with `shutdown`.
    pub fn start(pool: &PgPool, tasks: &mut JoinSet<()>, shutdown: &CancellationToken) -> Self {
        let queues = (0..lanes()).map(|_| {
            let (sender, receiver) = mpsc::channel(QUEUE);
            tasks.spawn(run(Kept::new(pool), receiver, shutdown.clone()));
            sender
        });
        Self {
            queues: queues.collect(),
        }
    }

    /// All events of one aggregate, in order; none when there is no such aggregate.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn load(&self, aggregate_type: &'static str, aggregate_id: &str) -> Events {
        let (answer, events) = oneshot::channel();
        let ask = Ask {
            key: (aggregate_type, aggregate_id.to_owned()),
            answer,
        };
        // The emptier queue: that reader is nearer to its next read.
        let queue = self
            .queues
            .iter()
            .max_by_key(|queue| queue.capacity())
            .unwrap_or(&self.queues[0]);
        if queue.send(ask).await.is_err() {
            return Err(LoadError::Unavailable);
        }
        events.await.unwrap_or(Err(LoadError::Unavailable))
    }
}

async fn run(mut connection: Kept, mut asks: mpsc::Receiver<Ask>, shutdown: CancellationToken) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let asked = tokio::select! {
            biased;
            asked = asks.recv_many(&mut batch, BATCH) => asked,
            () = shutdown.cancelled() => 0,
        };
        if asked == 0 {
            return;
        }
        let read = match connection.get().await {
            Ok(connection) => read(connection, batch.iter().map(|ask| &ask.key)).await,
            Err(error) => Err(error),
        };
        match connection.checked(read) {
            Ok(mut streams) => {
                // Two may ask for one stream; the last is given the original.
                let mut left: HashMap<Key, usize> = HashMap::new();
                for ask in &batch {
                    *left.entry(ask.key.clone()).or_default() += 1;
                }
                for ask in batch.drain(..) {
                    let rest = left.entry(ask.key.clone()).or_default();
                    *rest -= 1;
                    let events = if *rest == 0 {
                        streams.remove(&ask.key)
                    } else {
                        streams.get(&ask.key).cloned()
                    };
                    let _ = ask.answer.send(Ok(events.unwrap_or_default()));
                }
            }
            Err(error) => {
                let fault = match crate::database::classify(&error) {
                    crate::database::Fault::Permanent | crate::database::Fault::Constraint => {
                        LoadError::Failed(error.to_string())
                    }
                    _ => LoadError::Unavailable,
                };
                for ask in batch.drain(..) {
                    let _ = ask.answer.send(Err(fault.clone()));
                }
            }
        }
    }
}

async fn read(
    connection: &mut PgConnection,
    keys: impl Iterator<Item = &Key>,
) -> Result<HashMap<Key, Vec<SerializedEvent>>, sqlx::Error> {
    let keys: std::collections::HashSet<&Key> = keys.collect();
    let (types, ids): (Vec<&str>, Vec<&str>) =
        keys.iter().map(|(kind, id)| (*kind, id.as_str())).unzip();
    let rows = sqlx::query(
        "select k.n, e.sequence, e.event_type, e.event_version, e.payload, e.metadata
         from unnest($1::text[], $2::text[]) with ordinality as k(t, i, n)
         -- an index scan a stream, whatever the planner believes of the table's size
         cross join lateral (
             select * from events e
             where e.aggregate_type = k.t and e.aggregate_id = k.i
             order by e.sequence
         ) e",
    )
    .bind(types)
    .bind(ids)
    .fetch_all(connection)
    .await?;
    let keys: Vec<&Key> = keys.into_iter().collect();
    let mut streams: HashMap<Key, Vec<SerializedEvent>> = HashMap::with_capacity(keys.len());
    for row in rows {
        let n: i64 = row.get("n");
        let sequence: i64 = row.get("sequence");
        let Some(key) = usize::try_from(n - 1).ok().and_then(|n| keys.get(n)) else {
            continue;
        };
        let event = SerializedEvent::new(
            key.1.clone(),
            usize::try_from(sequence).unwrap_or_default(),
            key.0.to_owned(),
            row.get("event_type"),
            row.get("event_version"),
            row.get("payload"),
            row.get("metadata"),
        );
        streams.entry((*key).clone()).or_default().push(event);
    }
    Ok(streams)
}
