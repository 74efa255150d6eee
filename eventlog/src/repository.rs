//! How cqrs-es reads and writes the log.
//!
//! An aggregate's stream is read by the [`Loader`], other reads are postgres-es's own; a write goes
//! to the [`Appender`]. What cqrs-es has no place for
//! (claims, the command's record, the `global_seq` written) travels in a context of the task that
//! carries the command out.

use std::sync::{Arc, Mutex, PoisonError};

use cqrs_es::{
    Aggregate,
    persist::{
        PersistedEventRepository, PersistenceError, ReplayStream, SerializedEvent,
        SerializedSnapshot,
    },
};
use postgres_es::PostgresEventRepository;
use serde_json::Value;
use sqlx::PgPool;
use toolroom_domain::ClaimChange;

use crate::{
    append::{Append, AppendError, Appended, Appender, CommandRecord, NewEvent, SideRow},
    load::{LoadError, Loader},
};

tokio::task_local! {
    /// Set by the command bus around each commit.
    static COMMAND: Arc<CommandScope>;
}

/// What belongs to one command beside its events, and what became of it.
#[derive(Debug)]
pub(crate) struct CommandScope {
    pub(crate) workspace_id: String,
    pub(crate) aggregate_id: String,
    pub(crate) command_id: String,
    pub(crate) claims: Vec<ClaimChange>,
    pub(crate) record: Option<CommandRecord>,
    pub(crate) side: Vec<SideRow>,
    outcome: Mutex<Option<Appended>>,
}

impl CommandScope {
    pub(crate) fn new(
        workspace_id: String,
        aggregate_id: String,
        command_id: String,
        claims: Vec<ClaimChange>,
        record: Option<CommandRecord>,
        side: Vec<SideRow>,
    ) -> Arc<Self> {
        Arc::new(Self {
            workspace_id,
            aggregate_id,
            command_id,
            claims,
            record,
            side,
            outcome: Mutex::new(None),
        })
    }

    /// Carries `commit` out with this as its context, and says what the append came to.
    pub(crate) async fn enclose<T, E>(
        self: Arc<Self>,
        commit: impl Future<Output = Result<T, E>>,
    ) -> (Result<T, E>, Option<Appended>) {
        let result = COMMAND.scope(Arc::clone(&self), commit).await;
        let outcome = self
            .outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        (result, outcome)
    }

    fn conclude(&self, outcome: Appended) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }
}

/// A [`PersistedEventRepository`] over the log.
#[derive(Clone)]
pub struct LogRepository {
    loader: Loader,
    reads: Arc<PostgresEventRepository>,
    appender: Appender,
}

impl LogRepository {
    /// Reads through `loader`, writes through `appender`; what neither does goes through `pool`.
    pub fn new(pool: PgPool, loader: Loader, appender: Appender) -> Self {
        Self {
            loader,
            reads: Arc::new(PostgresEventRepository::new(pool)),
            appender,
        }
    }
}

fn to_new_event(event: &SerializedEvent) -> Result<NewEvent, PersistenceError> {
    let sequence = i64::try_from(event.sequence)
        .map_err(|error| PersistenceError::UnknownError(Box::new(error)))?;
    Ok(NewEvent {
        sequence,
        event_type: event.event_type.clone(),
        event_version: event.event_version.clone(),
        payload: serde_json::to_string(&event.payload)?,
        metadata: serde_json::to_string(&event.metadata)?,
    })
}

impl PersistedEventRepository for LogRepository {
    async fn get_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.loader
            .load(A::TYPE, aggregate_id)
            .await
            .map_err(|error| match error {
                LoadError::Unavailable => PersistenceError::ConnectionError(Box::new(error)),
                LoadError::Failed(_) => PersistenceError::UnknownError(Box::new(error)),
            })
    }

    async fn get_last_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
        last_sequence: usize,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.reads
            .get_last_events::<A>(aggregate_id, last_sequence)
            .await
    }

    /// There are none: postgres-es 0.5.0 applies events twice when it writes a snapshot.
    async fn get_snapshot<A: Aggregate>(
        &self,
        _: &str,
    ) -> Result<Option<SerializedSnapshot>, PersistenceError> {
        Ok(None)
    }

    async fn persist<A: Aggregate>(
        &self,
        events: &[SerializedEvent],
        _: Option<(String, Value, usize)>,
    ) -> Result<(), PersistenceError> {
        let scope = COMMAND
            .try_with(Arc::clone)
            .map_err(|error| PersistenceError::UnknownError(Box::new(error)))?;
        if events.is_empty() && scope.record.is_none() {
            scope.conclude(Ok(None));
            return Ok(());
        }
        let append = Append {
            workspace_id: scope.workspace_id.clone(),
            aggregate_type: A::TYPE,
            aggregate_id: scope.aggregate_id.clone(),
            command_id: scope.command_id.clone(),
            events: events.iter().map(to_new_event).collect::<Result<_, _>>()?,
            claims: scope.claims.clone(),
            record: scope.record.clone(),
            side: scope.side.clone(),
        };
        let outcome = self.appender.append(append).await;
        let result = match &outcome {
            Ok(_) => Ok(()),
            Err(AppendError::Conflict) => Err(PersistenceError::OptimisticLockError),
            Err(AppendError::Unavailable) => Err(PersistenceError::ConnectionError(Box::new(
                AppendError::Unavailable,
            ))),
            Err(error) => Err(PersistenceError::UnknownError(Box::new(error.clone()))),
        };
        scope.conclude(outcome);
        result
    }

    async fn stream_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<ReplayStream, PersistenceError> {
        self.reads.stream_events::<A>(aggregate_id).await
    }

    async fn stream_all_events<A: Aggregate>(&self) -> Result<ReplayStream, PersistenceError> {
        self.reads.stream_all_events::<A>().await
    }
}
