//! From events to rows: a batch is folded in memory first, so that a job which was requested, run
//! and ended within it leaves no trace.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx};
use sqlx::PgConnection;
use toolroom_domain::{JobId, job::Event};
use toolroom_eventlog::RecordedEvent;

use crate::{
    projection::{ApplyError, aggregate_id, decode},
    request,
};

#[derive(Clone, Debug, PartialEq)]
struct Row {
    workspace_id: String,
    position: i64,
    priority: i32,
    run_at: Timestamp,
}

/// What an event later than the request changes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    attempt: i32,
    /// When the lease of a running attempt ends.
    lease_until: Option<Timestamp>,
    /// A new due time, of a retry.
    run_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Default)]
struct Change {
    /// Set when the job was requested in this batch: it has no row yet.
    row: Option<Row>,
    /// The last retry, of a job that was not requested in this batch.
    retried: Option<Arc<RecordedEvent>>,
    state: Option<State>,
    ended: bool,
}

/// What a batch changes, by job.
#[derive(Debug, Default)]
pub(super) struct Changes(HashMap<JobId, Change>);

pub(super) fn fold(events: &[Arc<RecordedEvent>]) -> Result<Changes, ApplyError> {
    let mut changes = Changes::default();
    for event in events {
        // Most of a busy log: nothing to decode in them.
        let ended = matches!(
            event.event_type.as_str(),
            "JobSucceeded" | "JobFailed" | "JobCancelled"
        );
        let change = changes.0.entry(aggregate_id(event)?).or_default();
        if ended {
            change.ended = true;
            change.state = None;
        } else {
            remember(change, event)?;
        }
    }
    Ok(changes)
}

fn remember(change: &mut Change, event: &Arc<RecordedEvent>) -> Result<(), ApplyError> {
    match decode::<Event>(event)? {
        Event::Requested {
            priority,
            run_at,
            at,
            ..
        } => {
            change.row = Some(Row {
                workspace_id: event.workspace_id.clone(),
                position: event.position,
                priority,
                run_at: run_at.unwrap_or(at),
            });
        }
        Event::Started {
            attempt, lease_ms, ..
        } => {
            // By the database's clock, on which the workers agree.
            let lease = SignedDuration::from_millis(i64::try_from(lease_ms).unwrap_or(i64::MAX));
            let until = event
                .recorded_at
                .checked_add(lease)
                .map_err(|error| ApplyError::event(event, error))?;
            change.state = Some(State {
                attempt: i32::try_from(attempt).unwrap_or(i32::MAX),
                lease_until: Some(until),
                run_at: None,
            });
        }
        Event::RetryScheduled {
            attempt, run_at, ..
        } => {
            change.ended = false;
            change.state = Some(State {
                attempt: i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX),
                lease_until: None,
                run_at: Some(run_at),
            });
            match &mut change.row {
                Some(row) => row.position = event.position,
                None => change.retried = Some(Arc::clone(event)),
            }
        }
        Event::Progressed { .. }
        | Event::SecretsUsed { .. }
        | Event::CallRecorded { .. }
        | Event::LinesWritten { .. }
        | Event::AttemptFailed { .. }
        | Event::Succeeded { .. }
        | Event::Failed { .. }
        | Event::Cancelled { .. } => {}
    }
    Ok(())
}

impl Changes {
    /// Gives the jobs that are retried a row again, with the priority that they were requested
    /// with: it went with their first end.
    pub(super) async fn recall(&mut self, tx: &mut PgConnection) -> Result<(), ApplyError> {
        let retried = |change: &Change| {
            let event = change.retried.as_ref().filter(|_| !change.ended)?;
            Some(Arc::clone(event))
        };
        let events: Vec<_> = self.0.values().filter_map(retried).collect();
        let jobs = events.iter().map(|e| e.aggregate_id.as_str()).collect();
        let requests = request::find_in_tx(tx, jobs).await?;
        for change in self.0.values_mut() {
            let Some(event) = retried(change) else {
                continue;
            };
            let Some(Event::Requested { priority, at, .. }) = requests.get(&event.aggregate_id)
            else {
                return Err(ApplyError::event(
                    &event,
                    "the job's request cannot be read",
                ));
            };
            change.row = Some(Row {
                workspace_id: event.workspace_id.clone(),
                position: event.position,
                priority: *priority,
                run_at: *at,
            });
        }
        Ok(())
    }

    pub(super) fn makes_wait(&self) -> bool {
        self.0.values().any(|change| {
            !change.ended
                && change.row.is_some()
                && change.state.is_none_or(|state| state.lease_until.is_none())
        })
    }

    pub(super) async fn write(self, tx: &mut PgConnection, table: &str) -> Result<(), ApplyError> {
        let mut ended = Vec::new();
        let mut new = Vec::new();
        let mut changed = Vec::new();
        for (job, change) in self.0 {
            match change {
                // Requested and ended within the batch: there is no row to delete.
                Change {
                    ended: true,
                    row: Some(_),
                    ..
                } => {}
                Change { ended: true, .. } => ended.push(job.to_string()),
                Change {
                    row: Some(row),
                    state,
                    ..
                } => new.push((job, row, state)),
                Change {
                    state: Some(state), ..
                } => changed.push((job, state)),
                Change { .. } => {}
            }
        }
        delete(tx, table, ended).await?;
        insert(tx, table, new).await?;
        update(tx, table, changed).await
    }
}

async fn delete(tx: &mut PgConnection, table: &str, jobs: Vec<String>) -> Result<(), ApplyError> {
    if jobs.is_empty() {
        return Ok(());
    }
    sqlx::query(&format!("delete from {table} where job_id = any($1)"))
        .bind(jobs)
        .execute(tx)
        .await?;
    Ok(())
}

async fn insert(
    tx: &mut PgConnection,
    table: &str,
    rows: Vec<(JobId, Row, Option<State>)>,
) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    let state = |row: &(JobId, Row, Option<State>)| row.2;
    let run_at = |row: &(JobId, Row, Option<State>)| {
        state(row)
            .and_then(|s| s.run_at)
            .unwrap_or(row.1.run_at)
            .to_sqlx()
    };
    sqlx::query(&format!(
        "insert into {table}
             (job_id, workspace_id, position, priority, run_at, attempt, lease_until, running)
         select j, w, p, pr, r, a, l, l is not null
         from unnest($1::text[], $2::text[], $3::bigint[], $4::int[], $5::timestamptz[], $6::int[],
                     $7::timestamptz[]) as u(j, w, p, pr, r, a, l)
         -- a job that failed and is retried within one batch still has its row
         on conflict (job_id) do update
         set position = excluded.position, run_at = excluded.run_at, attempt = excluded.attempt,
             lease_until = excluded.lease_until, running = excluded.running"
    ))
    .bind(rows.iter().map(|r| r.0.to_string()).collect::<Vec<_>>())
    .bind(
        rows.iter()
            .map(|r| r.1.workspace_id.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(rows.iter().map(|r| r.1.position).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.1.priority).collect::<Vec<_>>())
    .bind(rows.iter().map(run_at).collect::<Vec<SqlTimestamp>>())
    .bind(
        rows.iter()
            .map(|r| state(r).map_or(0, |s| s.attempt))
            .collect::<Vec<_>>(),
    )
    .bind(
        rows.iter()
            .map(|r| state(r)?.lease_until.map(ToSqlx::to_sqlx))
            .collect::<Vec<Option<SqlTimestamp>>>(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn update(
    tx: &mut PgConnection,
    table: &str,
    rows: Vec<(JobId, State)>,
) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(&format!(
        "update {table} q set attempt = u.a, lease_until = u.l, running = u.l is not null
         from unnest($1::text[], $2::int[], $3::timestamptz[]) as u(j, a, l)
         where q.job_id = u.j"
    ))
    .bind(rows.iter().map(|r| r.0.to_string()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.1.attempt).collect::<Vec<_>>())
    .bind(
        rows.iter()
            .map(|r| r.1.lease_until.map(ToSqlx::to_sqlx))
            .collect::<Vec<Option<SqlTimestamp>>>(),
    )
    .execute(tx)
    .await?;
    Ok(())
}
