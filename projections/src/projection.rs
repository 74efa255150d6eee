//! What a read model has to say of itself; the runner does the rest.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use sqlx::PgConnection;
use toolroom_eventlog::RecordedEvent;

/// The pause between the beginnings of two batches, so that load shares them: the sequencer's own
/// pace. At 500 commands a second it makes half of them visible within 4 ms; at 3 ms it took 5.
const INTERVAL: Duration = Duration::from_millis(2);

/// Something derived from the log: tables, and how events change them.
///
/// Its crate may be any; it is handed to the runner in [`crate::Config`]. To change its tables or
/// its rules is to raise [`Self::version`]: it is then rebuilt beside the old one by itself.
#[async_trait]
pub trait Projection: Send + Sync + 'static {
    /// Its name, which is its follower's too: lower case, never changed.
    fn name(&self) -> &'static str;

    /// Grows with each change of its tables or rules.
    fn version(&self) -> i32;

    /// Of which kinds of aggregate it sees the events; of all when empty.
    fn aggregate_types(&self) -> &'static [&'static str];

    /// Its tables, without their schema.
    fn tables(&self) -> &'static [&'static str];

    /// The statements that create its tables and their indexes, empty. Each table has a column
    /// `workspace_id`, a `uuid` or the id as text, by which it is isolated; requests may read it.
    /// Whatever other role of [`toolroom_eventlog::database::ROLES`] needs it is granted it here.
    fn create(&self, tables: &Tables) -> Vec<String>;

    /// The pause between the beginnings of two batches under load.
    fn interval(&self) -> Duration {
        INTERVAL
    }

    /// Applies a batch, in order, in the caller's transaction. It should read and think before it
    /// first writes: from then on the transaction holds up the sequencing of everybody's events.
    ///
    /// A batch that fails is applied again in halves, until the event that is to blame stands
    /// alone; so each event must be applicable on its own.
    ///
    /// # Errors
    /// [`ApplyError::Event`] when an event cannot be applied, whenever it is tried.
    async fn apply(
        &self,
        tx: &mut PgConnection,
        tables: &Tables,
        events: &[Arc<RecordedEvent>],
    ) -> Result<(), ApplyError>;
}

/// Under which names a projection's tables go: those that serve, or those of a rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables {
    generation: i64,
    serving: bool,
}

impl Tables {
    pub(crate) fn serving(generation: i64) -> Self {
        Self {
            generation,
            serving: true,
        }
    }

    pub(crate) fn beside(generation: i64) -> Self {
        Self {
            generation,
            serving: false,
        }
    }

    /// A table's name, with its schema.
    pub fn table(&self, name: &str) -> String {
        if self.serving {
            format!("projections.{name}")
        } else {
            format!("projections.{name}__g{}", self.generation)
        }
    }

    /// An index's name, without its schema. It stays when its table begins to serve, so it always
    /// tells the generation.
    pub fn index(&self, name: &str) -> String {
        format!("{name}__g{}", self.generation)
    }
}

/// Why a batch was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// An event does not fit, whenever it is tried: poison.
    #[error("event {position} cannot be applied: {reason}")]
    Event {
        /// Where it is.
        position: i64,
        /// Why.
        reason: String,
    },
    /// The database refused, or did not answer.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl ApplyError {
    /// That an event does not fit.
    pub fn event(event: &RecordedEvent, reason: impl ToString) -> Self {
        Self::Event {
            position: event.position,
            reason: reason.to_string(),
        }
    }

    /// Whether the events are to blame, so that the same again fails again. All else is the
    /// database's or the deployment's, and tried for ever.
    pub fn is_poison(&self) -> bool {
        let error = match self {
            Self::Event { .. } => return true,
            Self::Database(error) => error,
        };
        let code = error.as_database_error().and_then(|e| e.code());
        // A value that does not fit (21, 22), a constraint (23), a size (54), a raised error (P0).
        code.is_some_and(|code| {
            ["21", "22", "23", "54", "P0"]
                .iter()
                .any(|class| code.starts_with(class))
        })
    }

    /// Why the events are to blame, or the fault of the database.
    pub(crate) fn into_poison(self) -> Result<String, sqlx::Error> {
        if self.is_poison() {
            return Ok(self.to_string());
        }
        match self {
            Self::Event { reason, .. } => Ok(reason),
            Self::Database(error) => Err(error),
        }
    }
}

/// An event's payload as today's type.
///
/// # Errors
/// [`ApplyError::Event`] when the stored text does not fit the type.
pub fn decode<E: DeserializeOwned>(event: &RecordedEvent) -> Result<E, ApplyError> {
    event
        .decode()
        .map_err(|error| ApplyError::event(event, error))
}

/// An event's id of its aggregate, parsed.
///
/// # Errors
/// [`ApplyError::Event`] when it is none of this kind.
pub fn aggregate_id<I>(event: &RecordedEvent) -> Result<I, ApplyError>
where
    I: std::str::FromStr<Err: ToString>,
{
    event
        .aggregate_id
        .parse()
        .map_err(|error: I::Err| ApplyError::event(event, error.to_string()))
}
