//! Erased workspaces: what a projection holds of one goes when it comes to the event that tells of
//! it, and nothing of one is taken in afterwards, nor by a rebuild.

use std::{collections::HashSet, sync::Arc};

use sqlx::{PgConnection, PgPool};
use toolroom_domain::workspace::ERASED;
use toolroom_eventlog::RecordedEvent;

use crate::projection::{Projection, Tables};

/// Rows that one transaction deletes of a table: some milliseconds.
const DELETED_AT_ONCE: i64 = 1_000;

/// The workspaces that have been erased by now, as the vault knows them: of those whose event is yet
/// to come, what would go then is not taken in at all.
pub(crate) async fn known(pool: &PgPool) -> Result<HashSet<String>, sqlx::Error> {
    let erased: Vec<String> = sqlx::query_scalar(
        "select workspace_id from vault where kind = 'data-key' and erased_at is not null",
    )
    .fetch_all(pool)
    .await?;
    Ok(erased.into_iter().collect())
}

/// Whether this event tells of an erasure.
pub(crate) fn of(event: &RecordedEvent) -> bool {
    event.event_type == ERASED
}

/// How many events there are before the first that tells of an erasure: it stands alone.
pub(crate) fn before(events: &[Arc<RecordedEvent>]) -> usize {
    let first = events.iter().position(|event| of(event));
    first.unwrap_or(events.len())
}

/// Deletes some rows of a workspace from each table; says whether there may be more.
pub(crate) async fn delete_in_tx(
    tx: &mut PgConnection,
    projection: &dyn Projection,
    tables: &Tables,
    workspace: &str,
) -> Result<bool, sqlx::Error> {
    let mut left = false;
    for table in projection.tables() {
        let table = tables.table(table);
        let kind: String = sqlx::query_scalar(
            "select format_type(atttypid, null) from pg_attribute
             where attrelid = $1::regclass and attname = 'workspace_id'",
        )
        .bind(&table)
        .fetch_one(&mut *tx)
        .await?;
        // An id as text has its prefix before the digits of the UUID.
        let own = match kind.as_str() {
            "uuid" => "substr($1, 4)::uuid",
            _ => "$1",
        };
        let sql = format!(
            "delete from {table} where ctid = any(array(
                 select ctid from {table} where workspace_id = {own} limit $2))"
        );
        let deleted = sqlx::query(&sql)
            .bind(workspace)
            .bind(DELETED_AT_ONCE)
            .execute(&mut *tx)
            .await?
            .rows_affected();
        left |= deleted > 0;
    }
    Ok(left)
}
