//! What the log tells of one workspace: what views of the past are folded from.
//!
//! Read as requests read, so that of a foreign workspace there is nothing to find.

use serde::de::DeserializeOwned;
use sqlx::{Row as _, postgres::PgRow};
use toolroom_domain::WorkspaceId;

use crate::{
    event::{Metadata, RecordedEvent},
    reads::Reads,
    upcast,
};

/// The events of one kind of aggregate in one workspace up to `to`, in order.
///
/// # Errors
/// When the database does not answer.
pub async fn of_kind(
    reads: &Reads,
    workspace: WorkspaceId,
    aggregate_type: &str,
    to: i64,
) -> Result<Vec<RecordedEvent>, sqlx::Error> {
    let mut scoped = reads.acquire(workspace).await?;
    let rows = sqlx::query(
        "select l.position, l.global_seq, l.workspace_id, l.aggregate_type, l.aggregate_id,
                l.sequence, l.time, l.hash, e.event_type, e.event_version,
                e.payload::text as payload, e.metadata::text as metadata, e.recorded_at
         from events e
         join event_log l using (global_seq)
         where e.aggregate_type = $1 and e.workspace_id = $2 and l.position <= $3
         order by l.position",
    )
    .bind(aggregate_type)
    .bind(workspace.to_string())
    .bind(to)
    .fetch_all(scoped.connection())
    .await?;
    scoped.give_back();
    decoded(&rows)
}

/// The events of one aggregate of a workspace up to `to`, in order.
///
/// # Errors
/// When the database does not answer.
pub async fn of_stream(
    reads: &Reads,
    workspace: WorkspaceId,
    aggregate_type: &str,
    aggregate_id: &str,
    to: i64,
) -> Result<Vec<RecordedEvent>, sqlx::Error> {
    let mut scoped = reads.acquire(workspace).await?;
    let rows = sqlx::query(
        "select l.position, l.global_seq, l.workspace_id, l.aggregate_type, l.aggregate_id,
                l.sequence, l.time, l.hash, e.event_type, e.event_version,
                e.payload::text as payload, e.metadata::text as metadata, e.recorded_at
         from events e
         join event_log l using (global_seq)
         where e.aggregate_type = $1 and e.aggregate_id = $2 and e.workspace_id = $3
           and l.position <= $4
         order by e.sequence",
    )
    .bind(aggregate_type)
    .bind(aggregate_id)
    .bind(workspace.to_string())
    .bind(to)
    .fetch_all(scoped.connection())
    .await?;
    scoped.give_back();
    decoded(&rows)
}

/// An event of one aggregate, as it was written: its place in the log need not be known yet.
#[derive(Clone, Debug)]
pub struct Written {
    /// From 1.
    pub sequence: i64,
    /// The frozen name.
    pub event_type: String,
    /// The payload's version.
    pub event_version: String,
    /// The stored text, before upcasting.
    pub payload: String,
    /// The stored text of the metadata.
    pub metadata: String,
}

impl Written {
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
}

/// The events of one aggregate of a workspace from a sequence on, in order; those of one command
/// all or none.
///
/// # Errors
/// When the database does not answer.
pub async fn as_written(
    reads: &Reads,
    workspace: WorkspaceId,
    aggregate_type: &str,
    aggregate_id: &str,
    from: i64,
) -> Result<Vec<Written>, sqlx::Error> {
    let mut scoped = reads.acquire(workspace).await?;
    let rows = sqlx::query(
        "select sequence, event_type, event_version, payload::text as payload,
                metadata::text as metadata
         from events
         where aggregate_type = $1 and aggregate_id = $2 and workspace_id = $3 and sequence >= $4
         order by sequence",
    )
    .bind(aggregate_type)
    .bind(aggregate_id)
    .bind(workspace.to_string())
    .bind(from)
    .fetch_all(scoped.connection())
    .await?;
    scoped.give_back();
    let written = |row: &PgRow| {
        Ok(Written {
            sequence: row.try_get("sequence")?,
            event_type: row.try_get("event_type")?,
            event_version: row.try_get("event_version")?,
            payload: row.try_get("payload")?,
            metadata: row.try_get("metadata")?,
        })
    };
    rows.iter().map(written).collect()
}

fn decoded(rows: &[PgRow]) -> Result<Vec<RecordedEvent>, sqlx::Error> {
    rows.iter().map(RecordedEvent::from_row).collect()
}
