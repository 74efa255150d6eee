//! From events to rows: a batch is folded in memory first, so that a job which was requested, run
//! and ended within it leaves no trace.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx};
use sqlx::PgConnection;
use toolroom_domain::{JobId, ToolId, job::Event};
use toolroom_eventlog::RecordedEvent;

use crate::{
    projection::{ApplyError, aggregate_id, decode},
    request,
};

#[derive(Clone, Debug, PartialEq)]
struct Row {
    workspace_id: String,
    tool_id: ToolId,
    position: i64,
    priority: i32,
    /// None when it is due at once.
    run_at: Option<Timestamp>,
}

/// What an event later than the request changes. All by the database's clock, on which the workers
/// agree, whatever the clock of the node that wrote the event says.
#[derive(Clone, Debug, PartialEq)]
struct State {
    attempt: i32,
    /// Who runs the attempt; none while it waits.
    runs: Option<Runs>,
    /// When it began to run, or to wait for its next attempt.
    since: Timestamp,
    /// Of a retry: when it is due, and its new place in the line.
    again: Option<(Timestamp, i64)>,
}

#[derive(Clone, Debug, PartialEq)]
struct Runs {
    node: String,
    /// When the attempt's lease ends.
    lease_until: Timestamp,
}

#[derive(Clone, Debug, Default)]
struct Change {
    /// Set when the job was requested in this batch: it has no row yet.
    row: Option<Row>,
    /// The last retry, of a job that was not requested in this batch.
    retried: Option<Arc<RecordedEvent>>,
    /// An attempt has failed that is to be repeated: the job has a row still.
    repeats: bool,
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
            tool,
            priority,
            run_at,
            ..
        } => {
            change.row = Some(Row {
                workspace_id: event.workspace_id.clone(),
                tool_id: tool.id,
                position: event.position,
                priority,
                run_at,
            });
        }
        Event::Started {
            attempt,
            node,
            lease_ms,
            ..
        } => {
            let lease = SignedDuration::from_millis(i64::try_from(lease_ms).unwrap_or(i64::MAX));
            let lease_until = event
                .recorded_at
                .checked_add(lease)
                .map_err(|error| ApplyError::event(event, error))?;
            change.repeats = false;
            change.state = Some(State {
                attempt: i32::try_from(attempt).unwrap_or(i32::MAX),
                runs: Some(Runs { node, lease_until }),
                since: event.recorded_at,
                again: None,
            });
        }
        Event::AttemptFailed { .. } => change.repeats = true,
        Event::RetryScheduled {
            attempt,
            run_at,
            at,
        } => {
            // How long it waits was decided; the moments are of a clock that others need not share.
            let due = event
                .recorded_at
                .checked_add(run_at.duration_since(at))
                .map_err(|error| ApplyError::event(event, error))?;
            change.ended = false;
            change.state = Some(State {
                attempt: i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX),
                runs: None,
                since: event.recorded_at,
                again: Some((due, event.position)),
            });
            match &mut change.row {
                Some(row) => row.position = event.position,
                None if change.repeats => {}
                None => change.retried = Some(Arc::clone(event)),
            }
        }
        Event::Progressed { .. }
        | Event::SecretsUsed { .. }
        | Event::CallRecorded { .. }
        | Event::LinesWritten { .. }
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
            let Some(Event::Requested { tool, priority, .. }) = requests.get(&event.aggregate_id)
            else {
                return Err(ApplyError::event(
                    &event,
                    "the job's request cannot be read",
                ));
            };
            change.row = Some(Row {
                workspace_id: event.workspace_id.clone(),
                tool_id: tool.id,
                position: event.position,
                priority: *priority,
                run_at: None,
            });
        }
        Ok(())
    }

    pub(super) fn makes_wait(&self) -> bool {
        self.0.values().any(|change| {
            !change.ended
                && (change.row.is_some() || change.state.is_some())
                && change
                    .state
                    .as_ref()
                    .is_none_or(|state| state.runs.is_none())
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
    let state = |row: &(JobId, Row, Option<State>)| row.2.clone();
    let run_at = |row: &(JobId, Row, Option<State>)| {
        let again = state(row).and_then(|s| s.again).map(|(due, _)| due);
        again.or(row.1.run_at).map(ToSqlx::to_sqlx)
    };
    let states = States::of(rows.iter().map(|row| row.2.as_ref()));
    sqlx::query(&format!(
        "insert into {table}
             (job_id, workspace_id, position, priority, run_at, attempt, running, lease_until, node,
              since, tool_id)
         select j, w, p, pr, r, a, l is not null, l, n, s, t
         from unnest($1::text[], $2::text[], $3::bigint[], $4::int[], $5::timestamptz[], $6::int[],
                     $7::timestamptz[], $8::text[], $9::timestamptz[], $10::text[])
              as u(j, w, p, pr, r, a, l, n, s, t)
         -- a job that failed and is retried within one batch still has its row
         on conflict (job_id) do update
         set position = excluded.position, run_at = excluded.run_at, attempt = excluded.attempt,
             lease_until = excluded.lease_until, running = excluded.running,
             node = excluded.node, since = excluded.since"
    ))
    .bind(rows.iter().map(|r| r.0.to_string()).collect::<Vec<_>>())
    .bind(
        rows.iter()
            .map(|r| r.1.workspace_id.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(rows.iter().map(|r| r.1.position).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.1.priority).collect::<Vec<_>>())
    .bind(
        rows.iter()
            .map(run_at)
            .collect::<Vec<Option<SqlTimestamp>>>(),
    )
    .bind(states.attempts)
    .bind(states.leases)
    .bind(states.nodes)
    .bind(states.since)
    .bind(
        rows.iter()
            .map(|r| r.1.tool_id.to_string())
            .collect::<Vec<_>>(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Columns of what changes.
struct States {
    attempts: Vec<i32>,
    leases: Vec<Option<SqlTimestamp>>,
    nodes: Vec<Option<String>>,
    since: Vec<Option<SqlTimestamp>>,
}

impl States {
    fn of<'a>(states: impl Iterator<Item = Option<&'a State>> + Clone) -> Self {
        let runs = |state: Option<&'a State>| state?.runs.as_ref();
        Self {
            attempts: states
                .clone()
                .map(|state| state.map_or(0, |state| state.attempt))
                .collect(),
            leases: states
                .clone()
                .map(|state| Some(runs(state)?.lease_until.to_sqlx()))
                .collect(),
            nodes: states
                .clone()
                .map(|state| Some(runs(state)?.node.clone()))
                .collect(),
            since: states.map(|state| Some(state?.since.to_sqlx())).collect(),
        }
    }
}

async fn update(
    tx: &mut PgConnection,
    table: &str,
    rows: Vec<(JobId, State)>,
) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    let states = States::of(rows.iter().map(|row| Some(&row.1)));
    sqlx::query(&format!(
        "update {table} q
         set attempt = u.a, lease_until = u.l, running = u.l is not null, node = u.n,
             since = u.s, run_at = coalesce(u.r, q.run_at), position = coalesce(u.p, q.position)
         from unnest($1::text[], $2::int[], $3::timestamptz[], $4::text[], $5::timestamptz[],
                     $6::timestamptz[], $7::bigint[]) as u(j, a, l, n, s, r, p)
         where q.job_id = u.j"
    ))
    .bind(rows.iter().map(|r| r.0.to_string()).collect::<Vec<_>>())
    .bind(states.attempts)
    .bind(states.leases)
    .bind(states.nodes)
    .bind(states.since)
    .bind(
        rows.iter()
            .map(|r| Some(r.1.again?.0.to_sqlx()))
            .collect::<Vec<Option<SqlTimestamp>>>(),
    )
    .bind(
        rows.iter()
            .map(|r| Some(r.1.again?.1))
            .collect::<Vec<Option<i64>>>(),
    )
    .execute(tx)
    .await?;
    Ok(())
}
