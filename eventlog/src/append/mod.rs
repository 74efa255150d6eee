//! Appending: what a command wrote becomes durable, all of it or none.
//!
//! Commands are handed to one of a few writers, which write what has gathered while the last commit
//! was under way in one statement, one round trip and one flush (`writer`). An aggregate always
//! goes to the same writer, so its commands meet in the process before they meet in the database.

mod side;
mod statement;
mod writer;

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};
use std::time::Duration;

use serde::Deserialize;
use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use toolroom_domain::ClaimChange;

use crate::{database::lanes, signal::Signals};

pub use side::SideRow;

/// How many commands may wait for a writer before senders are held back.
const QUEUE: usize = 1024;

/// One event, serialised.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// From 1, one more than the aggregate's last.
    pub sequence: i64,
    /// The frozen name.
    pub event_type: String,
    /// The payload's version.
    pub event_version: String,
    /// JSON text.
    pub payload: String,
    /// JSON text. Its `workspace_id` is that of the [`Append`].
    pub metadata: String,
}

/// What is remembered of a command that its sender named.
#[derive(Clone, Debug)]
pub struct CommandRecord {
    /// Who sent it.
    pub actor: String,
    /// The sender's idempotency key.
    pub command_id: String,
    /// HMAC of the request.
    pub digest: Vec<u8>,
}

/// What one command writes.
#[derive(Clone, Debug)]
pub struct Append {
    /// To whom all of it belongs.
    pub workspace_id: String,
    /// Which kind of aggregate.
    pub aggregate_type: &'static str,
    /// Which one.
    pub aggregate_id: String,
    /// The id in the metadata of its events, by which a commit of unknown outcome is recognised.
    pub command_id: String,
    /// In order; may be empty when there is a record to keep.
    pub events: Vec<NewEvent>,
    /// Names that its events take and release.
    pub claims: Vec<ClaimChange>,
    /// To be remembered, when the sender named the command.
    pub record: Option<CommandRecord>,
    /// What stands beside its events.
    pub side: Vec<SideRow>,
}

/// The part of an event's metadata that says to whom it belongs.
#[derive(Deserialize)]
struct Owner<'a> {
    #[serde(borrow)]
    workspace_id: Cow<'a, str>,
}

impl Append {
    /// That all of it belongs to one workspace. A batch holds those of many, so that no policy of
    /// the database can see to it.
    fn check(&self) -> Result<(), AppendError> {
        for event in &self.events {
            let owner: Result<Owner<'_>, _> = serde_json::from_str(&event.metadata);
            if !owner.is_ok_and(|owner| owner.workspace_id == self.workspace_id) {
                return Err(AppendError::Refused(format!(
                    "the metadata of event {} does not say that it belongs to {}, as its command does",
                    event.sequence, self.workspace_id
                )));
            }
        }
        Ok(())
    }

    fn size(&self) -> usize {
        let text = |e: &NewEvent| e.payload.len() + e.metadata.len();
        let events: usize = self.events.iter().map(text).sum();
        events + self.side.iter().map(SideRow::size).sum::<usize>()
    }
}

/// Why nothing was appended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The aggregate has moved on since it was loaded.
    #[error("another command changed the aggregate meanwhile")]
    Conflict,
    /// A command of this id is recorded already.
    #[error("a command of this id is recorded already")]
    Repeated,
    /// Another aggregate holds a name that the command would take.
    #[error("the name `{key}` is taken")]
    NameTaken {
        /// What kind of name.
        scope: &'static str,
        /// The name.
        key: String,
    },
    /// The workspace was erased, and what stands beside the events would outlive that.
    #[error("the workspace was erased; nothing can be kept or run in it any more")]
    Erased,
    /// The database is away. Whether the command was appended is unknown; repeated with its id it
    /// will not be appended twice.
    #[error("the database is not available")]
    Unavailable,
    /// The database refuses these very rows.
    #[error("the database refused the append: {0}")]
    Refused(String),
}

/// `global_seq` of the command's last event; none when it wrote no event.
pub type Appended = Result<Option<i64>, AppendError>;

struct Pending {
    append: Append,
    reply: oneshot::Sender<Appended>,
}

/// How far each writer has come: `global_seq` of its last event, 0 before its first. One writer's
/// events get their places in the log in the order in which it wrote them; those of two need not.
#[derive(Debug)]
pub struct Marks(Box<[AtomicI64]>);

impl Marks {
    /// Those of all writers, at this moment.
    pub fn all(&self) -> Vec<i64> {
        let marks = self.0.iter();
        marks.map(|mark| mark.load(Ordering::Acquire)).collect()
    }

    fn note(&self, writer: usize, global_seq: i64) {
        self.0[writer].fetch_max(global_seq, Ordering::AcqRel);
    }
}

/// Hands commands to the writers.
#[derive(Clone, Debug)]
pub struct Appender {
    writers: Vec<mpsc::Sender<Pending>>,
    marks: Arc<Marks>,
}

/// The writers' tasks, to be awaited on shutdown.
pub type Writers = tokio::task::JoinSet<()>;

impl Appender {
    /// Starts the writers; they end, after what they hold is written, with `shutdown`.
    pub fn start(
        pool: &PgPool,
        signals: &Signals,
        shutdown: &CancellationToken,
    ) -> (Self, Writers) {
        let mut tasks = Writers::new();
        let lanes = lanes();
        let marks = Arc::new(Marks((0..lanes).map(|_| AtomicI64::new(0)).collect()));
        let writers = (0..lanes)
            .map(|index| {
                let (sender, receiver) = mpsc::channel(QUEUE);
                let writer = writer::Writer::new(pool, signals.clone(), Arc::clone(&marks), index);
                tasks.spawn(writer.run(receiver, shutdown.clone()));
                sender
            })
            .collect();
        (Self { writers, marks }, tasks)
    }

    /// How far the writers have come. A command whose sender has its answer is within.
    pub fn marks(&self) -> &Arc<Marks> {
        &self.marks
    }

    /// Appends what one command wrote, and returns once it is durable.
    ///
    /// # Errors
    /// See [`AppendError`]; in each case but `Unavailable` nothing was written.
    pub async fn append(&self, append: Append) -> Appended {
        append.check()?;
        let mut hasher = DefaultHasher::new();
        append.aggregate_id.hash(&mut hasher);
        let index =
            usize::try_from(hasher.finish() % self.writers.len() as u64).unwrap_or_default();
        let (reply, answer) = oneshot::channel();
        let pending = Pending { append, reply };
        if self.writers[index].send(pending).await.is_err() {
            return Err(AppendError::Unavailable);
        }
        answer.await.unwrap_or(Err(AppendError::Unavailable))
    }
}

/// How long a commit of unknown outcome is looked into before its sender is told that the database
/// is away.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);
