//! The one statement that appends a batch.

use std::collections::HashMap;

use sqlx::{Connection as _, PgConnection, Row, postgres::PgRow};
use toolroom_domain::ClaimChange;

use super::{
    Append, AppendError,
    side::{self, SideError},
};
use crate::database::{Fault, classify};

/// A batch's outcome: `global_seq` of the last event of each aggregate that got any.
pub(super) type Written = HashMap<String, i64>;

/// Why a batch was not written.
#[derive(Debug)]
pub(super) enum Failure {
    /// Rolled back, and known to be. Of a batch of one, the error is its own.
    RolledBack(AppendError),
    /// Rolled back; the same again may work at once.
    Contended,
    /// Whether it was committed is not known.
    Unknown,
}

/// Writes all of a batch or nothing of it, in one statement and so one transaction, unless rows
/// stand beside the events. No two commands of the batch are of the same aggregate.
pub(super) async fn write(
    connection: &mut PgConnection,
    batch: &[&Append],
) -> Result<Written, Failure> {
    let plain = batch
        .iter()
        .all(|a| a.record.is_none() && a.claims.is_empty());
    let rows = if batch.iter().any(|append| !append.side.is_empty()) {
        match insert_all_with_side_rows(connection, batch).await {
            Ok(rows) => Ok(rows),
            Err(SideError::Database(error)) => Err(error),
            Err(SideError::Erased) => return Err(Failure::RolledBack(AppendError::Erased)),
        }
    } else if plain {
        insert_events(connection, batch).await
    } else {
        insert_all(connection, batch).await
    };
    match rows {
        Ok(rows) => Ok(last_of_each(&rows)),
        Err(error) => Err(failure(batch, &error)),
    }
}

#[derive(Default)]
struct EventColumns {
    types: Vec<&'static str>,
    ids: Vec<String>,
    sequences: Vec<i64>,
    event_types: Vec<String>,
    event_versions: Vec<String>,
    payloads: Vec<String>,
    metadata: Vec<String>,
}

impl EventColumns {
    fn of(batch: &[&Append]) -> Self {
        let mut columns = Self::default();
        for append in batch {
            for event in &append.events {
                columns.types.push(append.aggregate_type);
                columns.ids.push(append.aggregate_id.clone());
                columns.sequences.push(event.sequence);
                columns.event_types.push(event.event_type.clone());
                columns.event_versions.push(event.event_version.clone());
                columns.payloads.push(event.payload.clone());
                columns.metadata.push(event.metadata.clone());
            }
        }
        columns
    }
}

async fn insert_events(
    connection: &mut PgConnection,
    batch: &[&Append],
) -> Result<Vec<PgRow>, sqlx::Error> {
    let events = EventColumns::of(batch);
    sqlx::query(
        "insert into events
             (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
         select t, i, s, et, ev, p::json, m::json
         from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[])
              with ordinality as u(t, i, s, et, ev, p, m, n)
         order by n
         returning aggregate_id, global_seq",
    )
    .bind(events.types)
    .bind(events.ids)
    .bind(events.sequences)
    .bind(events.event_types)
    .bind(events.event_versions)
    .bind(events.payloads)
    .bind(events.metadata)
    .fetch_all(connection)
    .await
}

async fn insert_all(
    connection: &mut PgConnection,
    batch: &[&Append],
) -> Result<Vec<PgRow>, sqlx::Error> {
    let events = EventColumns::of(batch);
    let taken = ClaimColumns::of(batch, |claim| match claim {
        ClaimChange::Take { scope, key } => Some((scope, key)),
        ClaimChange::Release { .. } => None,
    });
    let released = ClaimColumns::of(batch, |claim| match claim {
        ClaimChange::Release { scope, key } => Some((scope, key)),
        ClaimChange::Take { .. } => None,
    });
    let recorded: Vec<_> = batch
        .iter()
        .filter_map(|a| Some((*a, a.record.as_ref()?)))
        .collect();
    sqlx::query(
        "with written as (
             insert into events
                 (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
             select t, i, s, et, ev, p::json, m::json
             from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[])
                  with ordinality as u(t, i, s, et, ev, p, m, n)
             order by n
             returning aggregate_type, aggregate_id, global_seq
         ), released as (
             delete from claims c
             using unnest($8::text[], $9::text[], $10::text[], $11::text[]) as r(w, s, k, i)
             where c.workspace_id = r.w and c.scope = r.s and c.key = r.k and c.aggregate_id = r.i
         ), taken as (
             insert into claims (workspace_id, scope, key, aggregate_id)
             select * from unnest($12::text[], $13::text[], $14::text[], $15::text[])
         ), recorded as (
             insert into command_log
                 (workspace_id, actor, command_id, digest, aggregate_type, aggregate_id, global_seq)
             select w, a, c, d, t, i,
                    (select max(global_seq) from written x where x.aggregate_type = t and x.aggregate_id = i)
             from unnest($16::text[], $17::text[], $18::text[], $19::bytea[], $20::text[], $21::text[])
                  as u(w, a, c, d, t, i)
         )
         select aggregate_id, global_seq from written",
    )
    .bind(events.types)
    .bind(events.ids)
    .bind(events.sequences)
    .bind(events.event_types)
    .bind(events.event_versions)
    .bind(events.payloads)
    .bind(events.metadata)
    .bind(released.workspaces)
    .bind(released.scopes)
    .bind(released.keys)
    .bind(released.aggregates)
    .bind(taken.workspaces)
    .bind(taken.scopes)
    .bind(taken.keys)
    .bind(taken.aggregates)
    .bind(recorded.iter().map(|(a, _)| a.workspace_id.as_str()).collect::<Vec<_>>())
    .bind(recorded.iter().map(|(_, r)| r.actor.as_str()).collect::<Vec<_>>())
    .bind(recorded.iter().map(|(_, r)| r.command_id.as_str()).collect::<Vec<_>>())
    .bind(recorded.iter().map(|(_, r)| r.digest.as_slice()).collect::<Vec<_>>())
    .bind(recorded.iter().map(|(a, _)| a.aggregate_type).collect::<Vec<_>>())
    .bind(recorded.iter().map(|(a, _)| a.aggregate_id.as_str()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await
}

async fn insert_all_with_side_rows(
    connection: &mut PgConnection,
    batch: &[&Append],
) -> Result<Vec<PgRow>, SideError> {
    let mut tx = connection.begin().await?;
    let written = insert_all(&mut tx, batch).await?;
    for append in batch {
        for row in &append.side {
            side::write_in_tx(&mut tx, &append.workspace_id, row).await?;
        }
    }
    tx.commit().await?;
    Ok(written)
}

#[derive(Default)]
struct ClaimColumns<'a> {
    workspaces: Vec<&'a str>,
    scopes: Vec<&'static str>,
    keys: Vec<&'a str>,
    aggregates: Vec<&'a str>,
}

impl<'a> ClaimColumns<'a> {
    fn of(
        batch: &[&'a Append],
        pick: impl Fn(&'a ClaimChange) -> Option<(&'a &'static str, &'a String)>,
    ) -> Self {
        let mut columns = Self::default();
        for append in batch {
            for (scope, key) in append.claims.iter().filter_map(&pick) {
                columns.workspaces.push(&append.workspace_id);
                columns.scopes.push(scope);
                columns.keys.push(key);
                columns.aggregates.push(&append.aggregate_id);
            }
        }
        columns
    }
}

fn last_of_each(rows: &[PgRow]) -> Written {
    let mut written = Written::with_capacity(rows.len());
    for row in rows {
        let global_seq: i64 = row.get("global_seq");
        written
            .entry(row.get("aggregate_id"))
            .and_modify(|last| *last = global_seq.max(*last))
            .or_insert(global_seq);
    }
    written
}

fn failure(batch: &[&Append], error: &sqlx::Error) -> Failure {
    match classify(error) {
        Fault::Unavailable => Failure::Unknown,
        Fault::Contended => Failure::Contended,
        Fault::Constraint => Failure::RolledBack(violated(batch, error)),
        Fault::Permanent => Failure::RolledBack(AppendError::Refused(error.to_string())),
    }
}

fn violated(batch: &[&Append], error: &sqlx::Error) -> AppendError {
    let constraint = error.as_database_error().and_then(|e| e.constraint());
    match constraint {
        Some("events_pkey") => AppendError::Conflict,
        Some("command_log_pkey") => AppendError::Repeated,
        Some("claims_pkey") => batch
            .iter()
            .flat_map(|a| &a.claims)
            .find_map(|claim| match claim {
                ClaimChange::Take { scope, key } => Some(AppendError::NameTaken {
                    scope,
                    key: key.clone(),
                }),
                ClaimChange::Release { .. } => None,
            })
            .unwrap_or(AppendError::Conflict),
        _ => AppendError::Refused(error.to_string()),
    }
}
