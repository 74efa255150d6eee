//! Reads of the audit. The events come from the log itself; the read model only finds them.

use jiff_sqlx::ToSqlx;
use sqlx::{Row, postgres::PgRow};
use toolroom_domain::WorkspaceId;
use toolroom_eventlog::{Reads, RecordedEvent, verify};

use super::filter::AuditFilter;
use crate::{
    page::{Page, PageRequest},
    read::{self, Statement},
};

/// In which direction to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The oldest first.
    #[default]
    Ascending,
    /// The newest first.
    Descending,
}

/// A list of events by their position.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditQuery {
    /// Which events.
    pub filter: AuditFilter,
    /// In which direction.
    pub order: Order,
    /// Which part, by position.
    pub page: PageRequest<i64>,
}

/// An event with the link of the chain before it.
#[derive(Clone, Debug)]
pub struct AuditRow {
    /// The event.
    pub event: RecordedEvent,
    /// The hash before it, from which its own follows.
    pub previous_hash: [u8; 32],
}

impl AuditRow {
    pub(crate) fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let previous: Option<Vec<u8>> = row.try_get("previous_hash")?;
        Ok(Self {
            event: RecordedEvent::from_row(row)?,
            previous_hash: previous
                .and_then(|hash| hash.try_into().ok())
                .unwrap_or_else(verify::seed),
        })
    }
}

/// Events of the log, found in whatever `from` names as `l`.
const COLUMNS: &str = "
    select l.position, l.global_seq, l.workspace_id, l.aggregate_type, l.aggregate_id, l.sequence,
           l.time, l.hash, p.hash as previous_hash, e.event_type, e.event_version,
           e.payload::text as payload, e.metadata::text as metadata, e.recorded_at
    from event_log l
    join events e using (aggregate_type, aggregate_id, sequence)
    left join hashes_before(";

/// Where the rest of the statement begins, after the positions of the events that it gives.
const EACH_WITH_ITS_OWN: &str = ") p on p.position = l.position ";

fn push_filter(sql: &mut Statement, workspace: WorkspaceId, filter: &AuditFilter) {
    sql.push(" a.workspace_id = ").push_bind(workspace.uuid());
    if !filter.aggregate_type.is_empty() {
        sql.push(" and a.aggregate_type = any(");
        sql.push_bind(filter.aggregate_type.clone()).push(")");
    }
    if let Some(id) = &filter.aggregate_id {
        sql.push(" and a.aggregate_id = ").push_bind(id.clone());
    }
    if !filter.event_type.is_empty() {
        sql.push(" and a.event_type = any(");
        sql.push_bind(filter.event_type.clone()).push(")");
    }
    if let Some(actor) = &filter.actor {
        sql.push(" and a.actor = ").push_bind(actor.clone());
    }
    if let Some(id) = &filter.correlation_id {
        sql.push(" and a.correlation_id = ").push_bind(id.clone());
    }
    // Times grow with positions, so a moment is a position, which every index of the audit has.
    if let Some(from) = filter.from {
        sql.push(" and a.position > position_before(")
            .push_bind(from.to_sqlx())
            .push(")");
    }
    if let Some(to) = filter.to {
        sql.push(" and a.position <= position_before(")
            .push_bind(to.to_sqlx())
            .push(")");
    }
}

/// After the common table expression `found`, whose column `position` says which: these events, by
/// position in the direction that is given as ` desc` or nothing.
pub(crate) fn push_found(sql: &mut Statement, direction: &'static str) {
    sql.push(COLUMNS)
        .push("array(select position from found)")
        .push(EACH_WITH_ITS_OWN);
    sql.push("where l.position in (select position from found) order by l.position");
    sql.push(direction);
}

/// The events of a workspace by position.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    reads: &Reads,
    workspace: WorkspaceId,
    query: &AuditQuery,
) -> Result<Page<AuditRow>, sqlx::Error> {
    let (beyond, direction) = match query.order {
        Order::Ascending => (" and a.position > ", ""),
        Order::Descending => (" and a.position < ", " desc"),
    };
    let rows = || {
        let mut sql = Statement::new(
            "with found as materialized (select a.position from projections.audit a where",
        );
        push_filter(&mut sql, workspace, &query.filter);
        if let Some(after) = query.page.after {
            sql.push(beyond).push_bind(after);
        }
        sql.push(" order by a.position")
            .push(direction)
            .push(" limit ");
        sql.push_bind(query.page.limit() + 1).push(")");
        push_found(&mut sql, direction);
        sql
    };
    let count = || {
        let mut sql = Statement::new("select count(*) from projections.audit a where");
        push_filter(&mut sql, workspace, &query.filter);
        sql
    };
    read::page(reads, workspace, &query.page, AuditRow::read, rows, count).await
}

/// One event by its position, from the log itself.
///
/// # Errors
/// When the database does not answer.
pub async fn event(
    reads: &Reads,
    workspace: WorkspaceId,
    position: i64,
) -> Result<Option<AuditRow>, sqlx::Error> {
    read::first(reads, workspace, AuditRow::read, || {
        let mut sql = Statement::new(COLUMNS);
        sql.push("array[").push_bind(position).push("]");
        sql.push(EACH_WITH_ITS_OWN);
        sql.push("where l.position = ").push_bind(position);
        sql.push(" and l.workspace_id = ")
            .push_bind(workspace.to_string());
        sql
    })
    .await
}
