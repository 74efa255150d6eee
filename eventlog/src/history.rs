//! What the log tells of one workspace: what views of the past are folded from.
//!
//! Read as requests read, so that of a foreign workspace there is nothing to find.

use sqlx::postgres::PgRow;
use toolroom_domain::WorkspaceId;

use crate::{event::RecordedEvent, reads::Reads};

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

fn decoded(rows: &[PgRow]) -> Result<Vec<RecordedEvent>, sqlx::Error> {
    rows.iter().map(RecordedEvent::from_row).collect()
}
