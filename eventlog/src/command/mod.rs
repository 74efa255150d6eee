//! The way of a command: load, decide, append, remember.
//!
//! A command is refused by its aggregate, or becomes events that are durable when [`CommandBus::execute`]
//! returns. Sent again under the same id it returns the first outcome and appends nothing.

mod context;
pub mod memory;
mod once;
mod outcome;
mod target;

use std::sync::Arc;

use aws_lc_rs::hmac;
use backon::{BackoffBuilder, ExponentialBuilder};
use cqrs_es::{
    Aggregate, AggregateError, EventStore,
    event_sink::EventSink,
    persist::{EventStoreAggregateContext, PersistedEventStore},
};
use sqlx::PgPool;
use toolroom_domain::{EventClaims, Owned, WorkspaceId};

use crate::{
    append::{AppendError, Appender},
    database::Database,
    event::Metadata,
    history, ids,
    load::Loader,
    reads::Reads,
    repository::{CommandScope, LogRepository},
    upcast,
    vault::{self, Vault},
};

pub use context::{CommandContext, NamedCommand};
pub use once::Receipt;
pub use outcome::{CommandError, Executed, Loaded};
pub use target::Target;

/// Tries of a command whose aggregate others change at the same time.
const CONFLICT_TRIES: usize = 8;

/// Carries commands out. Cheap to clone.
#[derive(Clone)]
pub struct CommandBus {
    pool: PgPool,
    reads: Reads,
    repository: LogRepository,
    digest_key: Arc<hmac::Key>,
    vault: Vault,
    in_flight: Arc<memory::InFlight>,
}

/// What an aggregate needs to be commanded.
pub trait Commanded: Aggregate<Services = ()> + Owned + Clone + 'static {}
impl<A: Aggregate<Services = ()> + Owned + Clone + 'static> Commanded for A {}

impl CommandBus {
    /// A bus that reads streams through `loader`, writes through `appender` and keys its request
    /// digests with `digest_key`; which workspaces were erased, the vault knows.
    pub fn new(
        database: &Database,
        loader: Loader,
        appender: Appender,
        digest_key: hmac::Key,
        vault: Vault,
    ) -> Self {
        let pool = database.committer_pool().clone();
        Self {
            repository: LogRepository::new(pool.clone(), loader, appender),
            reads: database.reads().clone(),
            pool,
            digest_key: Arc::new(digest_key),
            vault,
            in_flight: Arc::default(),
        }
    }

    fn store<A: Commanded>(&self) -> PersistedEventStore<LogRepository, A> {
        PersistedEventStore::new_event_store(self.repository.clone()).with_upcasters(upcast::all())
    }

    /// The aggregate as it is now; of a foreign workspace or unknown id, [`CommandError::NotFound`].
    ///
    /// # Errors
    /// When there is none or the database is away.
    pub async fn load<A>(
        &self,
        workspace: WorkspaceId,
        id: &str,
    ) -> Result<Loaded<A>, CommandError<A::Error>>
    where
        A: Commanded,
    {
        let context = self
            .store::<A>()
            .load_aggregate(id)
            .await
            .map_err(from_aggregate_error)?;
        if context.aggregate.owner() != Some(workspace) {
            return Err(CommandError::NotFound);
        }
        Ok(Loaded {
            aggregate: context.aggregate,
            sequence: context.current_sequence,
        })
    }

    /// The aggregate as it was at a position, or none if it did not exist then.
    ///
    /// # Errors
    /// When the database is away or an event cannot be read.
    pub async fn load_at<A>(
        &self,
        workspace: WorkspaceId,
        id: &str,
        position: i64,
    ) -> Result<Option<A>, CommandError<A::Error>>
    where
        A: Commanded,
    {
        let events = history::of_stream(&self.reads, workspace, A::TYPE, id, position)
            .await
            .map_err(from_sqlx)?;
        let mut aggregate = A::default();
        for event in events {
            let event = event
                .decode()
                .map_err(|error| CommandError::Internal(Box::new(error)))?;
            aggregate.apply(event);
        }
        Ok((aggregate.owner() == Some(workspace)).then_some(aggregate))
    }

    /// The id of the aggregate that holds a name; none if the name is free.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn holder_of(
        &self,
        workspace: WorkspaceId,
        scope: &str,
        key: &str,
    ) -> Result<Option<String>, sqlx::Error> {
        sqlx::query_scalar(
            "select aggregate_id from claims
             where workspace_id = $1 and scope = $2 and key = $3",
        )
        .bind(workspace.to_string())
        .bind(scope)
        .bind(key)
        .fetch_optional(&self.pool)
        .await
    }

    /// The outcome of a command that was sent before under this id; none if it is new.
    ///
    /// # Errors
    /// [`CommandError::IdempotencyConflict`] when the id belongs to another request.
    pub async fn recall<A>(
        &self,
        context: &CommandContext,
    ) -> Result<Option<Executed<A>>, CommandError<A::Error>>
    where
        A: Commanded,
    {
        let Some(found) = self.remembered(context, A::TYPE).await? else {
            return Ok(None);
        };
        let after = self.load(context.workspace, &found.aggregate_id).await?;
        Ok(Some(Executed {
            aggregate_id: found.aggregate_id,
            after,
            global_seq: found.global_seq,
            repeated: true,
        }))
    }

    /// Carries a command out. When this returns `Ok`, its events are durable.
    ///
    /// # Errors
    /// See [`CommandError`]; in each case but `Unavailable` nothing was written.
    pub async fn execute<A>(
        &self,
        target: Target<A>,
        command: A::Command,
        context: &CommandContext,
    ) -> Result<Executed<A>, CommandError<A::Error>>
    where
        A: Commanded,
        A::Command: Clone,
        A::Event: EventClaims,
    {
        self.execute_all(target, &[command], context).await
    }

    /// Carries commands on one aggregate out, one after the other, in one append: all or none.
    ///
    /// # Errors
    /// As [`Self::execute`]; the first that is refused refuses all.
    pub async fn execute_all<A>(
        &self,
        target: Target<A>,
        commands: &[A::Command],
        context: &CommandContext,
    ) -> Result<Executed<A>, CommandError<A::Error>>
    where
        A: Commanded,
        A::Command: Clone,
        A::Event: EventClaims,
    {
        let started = std::time::Instant::now();
        self.must_not_be_erased(context).await?;
        let _turn = match &context.named {
            Some(named) => Some(self.in_flight.turn(context, named).await),
            None => None,
        };
        if let Some(first) = self.recall(context).await? {
            return Ok(first);
        }
        let result = match self.try_until_settled(target, commands, context).await {
            Err(CommandError::Internal(error))
                if matches!(error.downcast_ref(), Some(AppendError::Repeated)) =>
            {
                self.recall(context).await?.ok_or(CommandError::Contended)
            }
            other => other,
        };
        metrics::histogram!("toolroom_command_seconds", "aggregate" => A::TYPE)
            .record(started.elapsed());
        result
    }

    /// Parts of Toolroom itself bring to an end what was under way when the workspace was erased. From
    /// memory, and so by and by: what must not outlive an erasure is asked about again where it is
    /// written.
    async fn must_not_be_erased<E: std::error::Error>(
        &self,
        context: &CommandContext,
    ) -> Result<(), CommandError<E>> {
        if context.actor.is_system() {
            return Ok(());
        }
        match self.vault.is_erased(context.workspace).await {
            Ok(false) => Ok(()),
            Ok(true) => Err(CommandError::Erased),
            Err(vault::Error::Database(error)) => Err(from_sqlx(error)),
            Err(error) => Err(CommandError::Internal(Box::new(error))),
        }
    }

    async fn try_until_settled<A>(
        &self,
        mut target: Target<A>,
        commands: &[A::Command],
        context: &CommandContext,
    ) -> Result<Executed<A>, CommandError<A::Error>>
    where
        A: Commanded,
        A::Command: Clone,
        A::Event: EventClaims,
    {
        let id = target.id().to_owned();
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(std::time::Duration::from_millis(1))
            .with_max_delay(std::time::Duration::from_millis(50))
            .with_max_times(CONFLICT_TRIES)
            .with_jitter()
            .build();
        loop {
            match self.try_once(target, commands, context).await {
                Err(CommandError::Contended) => match delays.next() {
                    Some(delay) => tokio::time::sleep(delay).await,
                    None => return Err(CommandError::Contended),
                },
                other => return other,
            }
            metrics::counter!("toolroom_command_conflicts", "aggregate" => A::TYPE).increment(1);
            target = Target::Existing(id.clone());
        }
    }

    async fn try_once<A>(
        &self,
        target: Target<A>,
        commands: &[A::Command],
        context: &CommandContext,
    ) -> Result<Executed<A>, CommandError<A::Error>>
    where
        A: Commanded,
        A::Command: Clone,
        A::Event: EventClaims,
    {
        let store = self.store::<A>();
        let fresh = |id: String, loaded: Loaded<A>| EventStoreAggregateContext {
            aggregate_id: id,
            aggregate: loaded.aggregate,
            current_sequence: loaded.sequence,
            current_snapshot: None,
        };
        let mut loaded = match target {
            Target::Existing(id) => store
                .load_aggregate(&id)
                .await
                .map_err(from_aggregate_error)?,
            Target::New(id) => fresh(
                id,
                Loaded {
                    aggregate: A::default(),
                    sequence: 0,
                },
            ),
            Target::Held(id, held) => fresh(id, held),
        };
        if loaded
            .aggregate
            .owner()
            .is_some_and(|owner| owner != context.workspace)
        {
            return Err(CommandError::NotFound);
        }
        let sink = EventSink::default();
        for command in commands {
            loaded
                .aggregate
                .handle(command.clone(), &(), &sink)
                .await
                .map_err(CommandError::Refused)?;
        }
        let events = sink.collect().await;
        // What a command makes belongs to the workspace that it is sent from: row-level security
        // goes by the one, the rules of the domain by the other.
        if loaded
            .aggregate
            .owner()
            .is_some_and(|owner| owner != context.workspace)
        {
            return Err(CommandError::NotFound);
        }
        let aggregate_id = loaded.aggregate_id.clone();
        let after = Loaded {
            aggregate: loaded.aggregate.clone(),
            sequence: loaded.current_sequence + events.len(),
        };
        let command_id = context
            .named
            .as_ref()
            .map_or_else(|| ids::new_uuid().simple().to_string(), |n| n.id.clone());
        let scope = CommandScope::new(
            context.workspace.to_string(),
            aggregate_id.clone(),
            command_id.clone(),
            events.iter().flat_map(EventClaims::claim_changes).collect(),
            context
                .named
                .as_ref()
                .map(|named| memory::record(&self.digest_key, context, named)),
            context.side.clone(),
        );
        let metadata = Metadata {
            workspace_id: context.workspace,
            actor: context.actor.to_string(),
            command_id,
            correlation_id: context.correlation_id.clone(),
            causation_id: context.causation_id.clone(),
            ip: context.ip.clone(),
            user_agent: context.user_agent.clone(),
        };
        let commit = store.commit(events, loaded, metadata.to_map());
        let (committed, outcome) = scope.enclose(commit).await;
        match outcome {
            Some(Ok(global_seq)) => Ok(Executed {
                aggregate_id,
                after,
                global_seq,
                repeated: false,
            }),
            Some(Err(AppendError::Conflict)) => Err(CommandError::Contended),
            Some(Err(AppendError::NameTaken { scope, key })) => {
                Err(CommandError::NameTaken { scope, key })
            }
            Some(Err(AppendError::Erased)) => Err(CommandError::Erased),
            Some(Err(AppendError::Unavailable)) => Err(CommandError::Unavailable),
            Some(Err(error)) => Err(CommandError::Internal(Box::new(error))),
            None => Err(committed
                .err()
                .map_or(CommandError::Unavailable, from_aggregate_error)),
        }
    }
}

fn from_sqlx<E: std::error::Error>(error: sqlx::Error) -> CommandError<E> {
    match crate::database::classify(&error) {
        crate::database::Fault::Permanent | crate::database::Fault::Constraint => {
            CommandError::Internal(Box::new(error))
        }
        _ => CommandError::Unavailable,
    }
}

fn from_aggregate_error<E: std::error::Error>(error: AggregateError<E>) -> CommandError<E> {
    match error {
        AggregateError::UserError(error) => CommandError::Refused(error),
        AggregateError::AggregateConflict => CommandError::Contended,
        AggregateError::DatabaseConnectionError(_) => CommandError::Unavailable,
        AggregateError::UnexpectedError(error) => match error.downcast::<sqlx::Error>() {
            Ok(error) => from_sqlx(*error),
            Err(error) => CommandError::Internal(error),
        },
        AggregateError::DeserializationError(error) => CommandError::Internal(error),
    }
}
