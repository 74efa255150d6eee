//! An event as it lies in the log.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sqlx::{Row, postgres::PgRow};
use toolroom_domain::WorkspaceId;

use crate::upcast;

/// Where an event came from: what is written beside its payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// To whom it belongs.
    pub workspace_id: WorkspaceId,
    /// Who caused it, such as `key:…`.
    pub actor: String,
    /// The command that it is an outcome of.
    pub command_id: String,
    /// What all events of one request share.
    pub correlation_id: String,
    /// The event or command that led to the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// From which address the command came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// With which program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

impl Metadata {
    /// The form in which cqrs-es carries metadata.
    pub(crate) fn to_map(&self) -> HashMap<String, String> {
        let optional = [
            ("causation_id", &self.causation_id),
            ("ip", &self.ip),
            ("user_agent", &self.user_agent),
        ];
        [
            ("workspace_id", self.workspace_id.to_string()),
            ("actor", self.actor.clone()),
            ("command_id", self.command_id.clone()),
            ("correlation_id", self.correlation_id.clone()),
        ]
        .into_iter()
        .chain(
            optional
                .into_iter()
                .filter_map(|(key, value)| Some((key, value.clone()?))),
        )
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }
}

/// An event with its place in the log.
#[derive(Clone, Debug)]
pub struct RecordedEvent {
    /// Dense from 1.
    pub position: i64,
    /// The running maximum of `recorded_at` by position: what `asOf`, `from` and `to` compare with.
    pub logged_at: Timestamp,
    /// This link of the chain.
    pub hash: [u8; 32],
    /// Which kind of aggregate it belongs to.
    pub aggregate_type: String,
    /// Which one.
    pub aggregate_id: String,
    /// Which of that aggregate's events, from 1.
    pub sequence: i64,
    /// The frozen name, such as `ToolRegistered`.
    pub event_type: String,
    /// The payload's version.
    pub event_version: String,
    /// The stored text, before upcasting.
    pub payload: String,
    /// The stored text of the metadata.
    pub metadata: String,
    /// The order of writing, which is not the order of committing.
    pub global_seq: i64,
    /// When the row was written.
    pub recorded_at: Timestamp,
    /// To whom it belongs.
    pub workspace_id: String,
}

impl RecordedEvent {
    /// Reads a row that has a column for each field, `time` being `logged_at`.
    ///
    /// # Errors
    /// When a column is missing or of another type.
    pub fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let hash: Vec<u8> = row.try_get("hash")?;
        Ok(Self {
            position: row.try_get("position")?,
            logged_at: row.try_get::<SqlTimestamp, _>("time")?.to_jiff(),
            hash: hash.try_into().unwrap_or_default(),
            aggregate_type: row.try_get("aggregate_type")?,
            aggregate_id: row.try_get("aggregate_id")?,
            sequence: row.try_get("sequence")?,
            event_type: row.try_get("event_type")?,
            event_version: row.try_get("event_version")?,
            payload: row.try_get("payload")?,
            metadata: row.try_get("metadata")?,
            global_seq: row.try_get("global_seq")?,
            recorded_at: row.try_get::<SqlTimestamp, _>("recorded_at")?.to_jiff(),
            workspace_id: row.try_get("workspace_id")?,
        })
    }

    /// The payload as today's type, upcast if it was written as an older one.
    ///
    /// # Errors
    /// When the stored text does not fit the type.
    pub fn decode<E: DeserializeOwned>(&self) -> Result<E, serde_json::Error> {
        upcast::decode(&self.event_type, &self.event_version, &self.payload)
    }

    /// The metadata, parsed.
    ///
    /// # Errors
    /// When the stored text is not what this version writes.
    pub fn metadata(&self) -> Result<Metadata, serde_json::Error> {
        serde_json::from_str(&self.metadata)
    }

    /// About how much memory it takes, in bytes.
    pub fn size(&self) -> usize {
        const ROW_OVERHEAD: usize = 400;
        ROW_OVERHEAD + self.payload.len() + self.metadata.len()
    }
}
