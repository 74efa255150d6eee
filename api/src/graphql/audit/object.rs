//! An event of the log, and which events somebody wants.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, OutputType, connection::ConnectionNameType};
use serde::Serialize;
use serde_json::Value;
use toolroom_eventlog::{Metadata, RecordedEvent};
use toolroom_projections::{
    Page,
    audit::{self as read_model, AuditRow},
};

use crate::{
    error::ApiError,
    graphql::{
        app,
        connection::{Listed, Scope},
        scalar::{DateTime, Position},
        tool::object::int,
    },
    service::audit,
};

/// The connection's name in the contract.
pub struct AuditConnectionName;

impl ConnectionNameType for AuditConnectionName {
    fn type_name<T: OutputType>() -> String {
        "AuditConnection".to_owned()
    }
}

/// Which events. What is left out does not restrict.
#[derive(Clone, Debug, Default, Serialize, InputObject)]
pub struct AuditFilter {
    /// Of one of these kinds of aggregate, such as `tool`.
    aggregate_type: Option<Vec<String>>,
    /// Of this aggregate.
    aggregate_id: Option<ID>,
    /// One of these, such as `ToolRegistered`.
    #[graphql(name = "type")]
    event_type: Option<Vec<String>>,
    /// Caused by this actor, such as `user:local`.
    actor: Option<String>,
    /// Of this request.
    correlation_id: Option<ID>,
    /// Logged at or after this moment.
    #[serde(serialize_with = "moment")]
    from: Option<DateTime>,
    /// Logged before this moment.
    #[serde(serialize_with = "moment")]
    to: Option<DateTime>,
}

fn moment<S: serde::Serializer>(time: &Option<DateTime>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.0).serialize(serializer)
}

impl From<AuditFilter> for read_model::AuditFilter {
    fn from(filter: AuditFilter) -> Self {
        Self {
            aggregate_type: filter.aggregate_type.unwrap_or_default(),
            aggregate_id: filter.aggregate_id.map(|id| id.0),
            event_type: filter.event_type.unwrap_or_default(),
            actor: filter.actor,
            correlation_id: filter.correlation_id.map(|id| id.0),
            from: filter.from.map(|time| time.0),
            to: filter.to.map(|time| time.0),
        }
    }
}

/// Something that happened: one link of the hash chain.
pub struct AuditEvent {
    pub(super) event: Arc<RecordedEvent>,
    /// Read only when it is asked for, where the event does not bring it along.
    pub(super) previous_hash: Option<[u8; 32]>,
    pub(super) metadata: Metadata,
}

impl AuditEvent {
    /// The event, and the hash before it if that is known.
    ///
    /// # Errors
    /// When what was recorded beside it cannot be read.
    pub(super) fn try_new(
        event: Arc<RecordedEvent>,
        previous_hash: Option<[u8; 32]>,
    ) -> Result<Self, ApiError> {
        let metadata = event.metadata().map_err(ApiError::internal)?;
        Ok(Self {
            event,
            previous_hash,
            metadata,
        })
    }
}

/// Something that happened: one link of the hash chain.
#[Object]
impl AuditEvent {
    /// Its place in the global log.
    async fn position(&self, ctx: &Context<'_>) -> Result<Position, ApiError> {
        app(ctx).position(self.event.position).await.map(Position)
    }

    /// When it was written.
    async fn recorded_at(&self) -> DateTime {
        self.event.recorded_at.into()
    }

    /// The running maximum of recordedAt by position: what asOf, from and to compare with.
    async fn logged_at(&self) -> DateTime {
        self.event.logged_at.into()
    }

    /// This link of the chain, in hexadecimal digits.
    async fn hash(&self) -> String {
        hex(&self.event.hash)
    }

    /// The link before it.
    async fn previous_hash(&self, ctx: &Context<'_>) -> Result<String, ApiError> {
        if let Some(hash) = &self.previous_hash {
            return Ok(hex(hash));
        }
        let hash = app(ctx).log.feed.hash_before(self.event.position).await?;
        Ok(hash.as_deref().map(hex).unwrap_or_default())
    }

    /// The version of the event's form.
    async fn event_version(&self) -> &str {
        &self.event.event_version
    }

    /// From which address the command came.
    async fn ip(&self) -> Option<&str> {
        self.metadata.ip.as_deref()
    }

    /// With which program.
    async fn user_agent(&self) -> Option<&str> {
        self.metadata.user_agent.as_deref()
    }

    /// What happened, such as `ToolRegistered`.
    #[graphql(name = "type")]
    async fn event_type(&self) -> &str {
        &self.event.event_type
    }

    /// To what kind of thing, such as `tool`.
    async fn aggregate_type(&self) -> &str {
        &self.event.aggregate_type
    }

    /// To which one.
    async fn aggregate_id(&self) -> ID {
        self.event.aggregate_id.clone().into()
    }

    /// Which of that thing's events it is, from 1.
    async fn sequence(&self) -> i32 {
        int(self.event.sequence)
    }

    /// Who caused it: `user:…`, `key:…`, `schedule:…`, `system:…`.
    async fn actor(&self) -> &str {
        &self.metadata.actor
    }

    /// The command that it is an outcome of.
    async fn command_id(&self) -> Option<&str> {
        Some(&self.metadata.command_id)
    }

    /// What all events of one request share.
    async fn correlation_id(&self) -> ID {
        self.metadata.correlation_id.clone().into()
    }

    /// The event or command that led to the command.
    async fn causation_id(&self) -> Option<ID> {
        self.metadata.causation_id.clone().map(ID)
    }

    /// What it says; a value whose key is gone is `erased`.
    async fn payload(&self, ctx: &Context<'_>) -> Result<Value, ApiError> {
        audit::payload(app(ctx), &self.event).await
    }
}

/// The connection of a page of events.
///
/// # Errors
/// When what was recorded beside one of them cannot be read.
pub(in crate::graphql) fn events(
    scope: &Scope,
    page: Page<AuditRow>,
) -> Result<Listed<AuditEvent, AuditConnectionName>, ApiError> {
    let rows = page
        .rows
        .into_iter()
        .map(|row| AuditEvent::try_new(Arc::new(row.event), Some(row.previous_hash)));
    let page = Page {
        rows: rows.collect::<Result<Vec<_>, _>>()?,
        has_next: page.has_next,
        has_previous: page.has_previous,
        total_count: page.total_count,
    };
    Ok(scope.connection(page, |row| row.event.position.to_string(), |row| row))
}

/// Bytes as hexadecimal digits.
pub(in crate::graphql) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
