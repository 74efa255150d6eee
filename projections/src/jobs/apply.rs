//! How the table of jobs is made and kept.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx};
use serde::Serialize;
use sqlx::{PgConnection, Row, postgres::PgRow};
use toolroom_domain::{
    JobId, ToolId, WorkspaceId,
    job::{Event, Status},
};
use toolroom_eventlog::RecordedEvent;

use super::{
    counts::{self, Changes, Group},
    fold::{self, Entry, Request},
    query::status_text,
    row::time,
};
use crate::{
    projection::{ApplyError, Projection, Tables, aggregate_id, decode},
    read,
};

/// The tables `jobs` and `job_counts`.
#[derive(Clone, Copy, Debug)]
pub struct Jobs;

#[async_trait]
impl Projection for Jobs {
    fn name(&self) -> &'static str {
        "jobs"
    }

    fn version(&self) -> i32 {
        2
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &["job"]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["jobs", counts::TABLE]
    }

    fn create(&self, tables: &Tables) -> Vec<String> {
        let jobs = tables.table("jobs");
        let (newest, by_tool) = (tables.index("jobs_newest"), tables.index("jobs_tool"));
        let unfinished = tables.index("jobs_unfinished");
        let (by_type, failed) = (tables.index("jobs_type"), tables.index("jobs_failed"));
        vec![
            format!(
                "create table {jobs} (
                     id           uuid primary key,
                     workspace_id uuid not null,
                     status       text not null,
                     tool_id      uuid not null,
                     tool_version bigint not null,
                     tool_kind    text not null,
                     -- the kind, or the connector's type
                     tool_type    text not null,
                     action       text,
                     -- sealed, as in the log
                     input        json not null,
                     output       json,
                     error        json,
                     is_test      boolean not null,
                     attempts     json not null,
                     progress     json not null,
                     priority     integer not null,
                     run_at       timestamptz,
                     rerun_of     uuid,
                     created_by   text not null,
                     created_at   timestamptz not null,
                     updated_at   timestamptz not null,
                     started_at   timestamptz,
                     finished_at  timestamptz,
                     duration_us  bigint,
                     last_event   bigint not null
                 ) with (fillfactor = 70)"
            ),
            format!("create index {newest} on {jobs} (workspace_id, created_at desc, id desc)"),
            format!("create index {by_tool} on {jobs} (tool_id, created_at desc, id desc)"),
            format!(
                "create index {unfinished} on {jobs} (workspace_id, status, created_at desc, id desc)
                 where status in ('PENDING', 'RUNNING')"
            ),
            format!(
                "create index {by_type} on {jobs} (workspace_id, tool_type, created_at desc, id desc)"
            ),
            // Few jobs fail, and they are what is looked for.
            format!(
                "create index {failed} on {jobs} (workspace_id, created_at desc, id desc)
                 include (tool_type)
                 where status in ('FAILED', 'CANCELLED')"
            ),
            counts::create(tables),
        ]
    }

    async fn apply(
        &self,
        tx: &mut PgConnection,
        tables: &Tables,
        events: &[Arc<RecordedEvent>],
    ) -> Result<(), ApplyError> {
        let mut requested: BTreeMap<JobId, (Entry, Request)> = BTreeMap::new();
        let mut later = Vec::new();
        for event in events {
            let id: JobId = aggregate_id(event)?;
            let change: Event = decode(event)?;
            if matches!(change, Event::Requested { .. }) {
                requested.insert(id, fold::request(event, change)?);
            } else if let Some((entry, _)) = requested.get_mut(&id) {
                entry.apply(event, change)?;
            } else {
                later.push((id, event, change));
            }
        }
        let mut known = load(tx, tables, later.iter().map(|(id, ..)| *id)).await?;
        for (id, event, change) in later {
            let Some(known) = known.get_mut(&id) else {
                return Err(ApplyError::event(event, "the job was never requested"));
            };
            known.entry.apply(event, change)?;
        }
        let mut changes = Changes::default();
        for (entry, request) in requested.values() {
            changes.note(&group(request), None, entry.status);
        }
        for known in known.values() {
            changes.note(&known.group, Some(known.status), known.entry.status);
        }
        insert(tx, tables, requested.values().collect()).await?;
        update(
            tx,
            tables,
            known.values().map(|known| &known.entry).collect(),
        )
        .await?;
        changes.write(tx, tables).await
    }
}

/// A job that was there before the batch.
struct Known {
    entry: Entry,
    group: Group,
    /// Where it stood then.
    status: Status,
}

fn group(request: &Request) -> Group {
    Group {
        workspace: request.workspace,
        tool: request.tool.id,
        tool_type: request.tool.type_name().to_owned(),
    }
}

async fn load(
    tx: &mut PgConnection,
    tables: &Tables,
    ids: impl Iterator<Item = JobId>,
) -> Result<BTreeMap<JobId, Known>, sqlx::Error> {
    let ids: Vec<_> = ids.map(JobId::uuid).collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sql = format!(
        "select id, status, error::text as error, attempts::text as attempts,
                progress::text as progress, run_at, updated_at, started_at, finished_at,
                duration_us, last_event, workspace_id, tool_id, tool_type
         from {} where id = any($1)",
        tables.table("jobs")
    );
    let rows = sqlx::query(&sql).bind(ids).fetch_all(tx).await?;
    rows.iter()
        .map(|row| known(row).map(|known| (known.entry.id, known)))
        .collect()
}

fn known(row: &PgRow) -> Result<Known, sqlx::Error> {
    let entry = entry(row)?;
    Ok(Known {
        group: Group {
            workspace: WorkspaceId::from_uuid(row.try_get("workspace_id")?),
            tool: ToolId::from_uuid(row.try_get("tool_id")?),
            tool_type: row.try_get("tool_type")?,
        },
        status: entry.status,
        entry,
    })
}

fn entry(row: &PgRow) -> Result<Entry, sqlx::Error> {
    let duration_us: Option<i64> = row.try_get("duration_us")?;
    Ok(Entry {
        id: JobId::from_uuid(row.try_get("id")?),
        status: read::variant(row, "status")?,
        output: None,
        error: read::json_opt(row, "error")?,
        attempts: read::json(row, "attempts")?,
        progress: read::json(row, "progress")?,
        run_at: time(row, "run_at")?,
        updated_at: row.try_get::<SqlTimestamp, _>("updated_at")?.to_jiff(),
        started_at: time(row, "started_at")?,
        finished_at: time(row, "finished_at")?,
        duration_us: duration_us.and_then(|duration| u64::try_from(duration).ok()),
        last_event: row.try_get("last_event")?,
    })
}

fn text<T: Serialize>(entry: &Entry, value: &T) -> Result<String, ApplyError> {
    serde_json::to_string(value).map_err(|error| ApplyError::Event {
        position: entry.last_event,
        reason: error.to_string(),
    })
}

/// The columns that change, as JSON text, for `insert` and `update` alike.
struct Texts {
    outputs: Vec<Option<String>>,
    errors: Vec<Option<String>>,
    attempts: Vec<String>,
    progress: Vec<String>,
}

impl Texts {
    fn of(entries: &[&Entry]) -> Result<Self, ApplyError> {
        let each = entries.iter();
        Ok(Self {
            outputs: each
                .clone()
                .map(|e| e.output.as_ref().map(|output| text(e, output)).transpose())
                .collect::<Result<_, _>>()?,
            errors: each
                .clone()
                .map(|e| e.error.as_ref().map(|error| text(e, error)).transpose())
                .collect::<Result<_, _>>()?,
            attempts: each
                .clone()
                .map(|e| text(e, &e.attempts))
                .collect::<Result<_, _>>()?,
            progress: each
                .map(|e| text(e, &e.progress))
                .collect::<Result<_, _>>()?,
        })
    }
}

fn duration(entry: &Entry) -> Option<i64> {
    entry
        .duration_us
        .map(|duration| i64::try_from(duration).unwrap_or(i64::MAX))
}

async fn insert(
    tx: &mut PgConnection,
    tables: &Tables,
    jobs: Vec<&(Entry, Request)>,
) -> Result<(), ApplyError> {
    if jobs.is_empty() {
        return Ok(());
    }
    let entries: Vec<&Entry> = jobs.iter().map(|(entry, _)| entry).collect();
    let texts = Texts::of(&entries)?;
    let inputs = jobs
        .iter()
        .map(|(entry, request)| text(entry, &request.input))
        .collect::<Result<Vec<_>, _>>()?;
    macro_rules! column {
        ($entry:ident, $request:ident => $value:expr) => {
            jobs.iter()
                .map(|($entry, $request)| $value)
                .collect::<Vec<_>>()
        };
    }
    let sql = format!(
        "insert into {}
             (id, workspace_id, status, tool_id, tool_version, tool_kind, action, input, output,
              error, is_test, attempts, progress, priority, run_at, rerun_of, created_by,
              created_at, updated_at, started_at, finished_at, duration_us, last_event, tool_type)
         select u.id, u.workspace_id, u.status, u.tool_id, u.tool_version, u.tool_kind, u.action,
                u.input::json, u.output::json, u.error::json, u.is_test, u.attempts::json,
                u.progress::json, u.priority, u.run_at, u.rerun_of, u.created_by, u.created_at,
                u.updated_at, u.started_at, u.finished_at, u.duration_us, u.last_event, u.tool_type
         from unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::bigint[], $6::text[],
                     $7::text[], $8::text[], $9::text[], $10::text[], $11::boolean[], $12::text[],
                     $13::text[], $14::integer[], $15::timestamptz[], $16::uuid[], $17::text[],
                     $18::timestamptz[], $19::timestamptz[], $20::timestamptz[],
                     $21::timestamptz[], $22::bigint[], $23::bigint[], $24::text[])
              as u (id, workspace_id, status, tool_id, tool_version, tool_kind, action, input,
                    output, error, is_test, attempts, progress, priority, run_at, rerun_of,
                    created_by, created_at, updated_at, started_at, finished_at, duration_us,
                    last_event, tool_type)",
        tables.table("jobs")
    );
    sqlx::query(&sql)
        .bind(column!(e, _r => e.id.uuid()))
        .bind(column!(_e, r => r.workspace.uuid()))
        .bind(column!(e, _r => status_text(e.status)))
        .bind(column!(_e, r => r.tool.id.uuid()))
        .bind(column!(_e, r => i64::from(r.tool.version)))
        .bind(column!(_e, r => r.tool.kind.as_str()))
        .bind(column!(_e, r => r.action.as_deref()))
        .bind(inputs)
        .bind(texts.outputs)
        .bind(texts.errors)
        .bind(column!(_e, r => r.is_test))
        .bind(texts.attempts)
        .bind(texts.progress)
        .bind(column!(_e, r => r.priority))
        .bind(column!(e, _r => e.run_at.map(ToSqlx::to_sqlx)))
        .bind(column!(_e, r => r.rerun_of.map(JobId::uuid)))
        .bind(column!(_e, r => r.created_by.as_str()))
        .bind(column!(_e, r => r.created_at.to_sqlx()))
        .bind(column!(e, _r => e.updated_at.to_sqlx()))
        .bind(column!(e, _r => e.started_at.map(ToSqlx::to_sqlx)))
        .bind(column!(e, _r => e.finished_at.map(ToSqlx::to_sqlx)))
        .bind(column!(e, _r => duration(e)))
        .bind(column!(e, _r => e.last_event))
        .bind(column!(_e, r => r.tool.type_name()))
        .execute(tx)
        .await?;
    Ok(())
}

async fn update(
    tx: &mut PgConnection,
    tables: &Tables,
    entries: Vec<&Entry>,
) -> Result<(), ApplyError> {
    if entries.is_empty() {
        return Ok(());
    }
    let texts = Texts::of(&entries)?;
    macro_rules! column {
        ($entry:ident => $value:expr) => {
            entries.iter().map(|$entry| $value).collect::<Vec<_>>()
        };
    }
    let sql = format!(
        "update {} j
         -- an output comes once and stays; not to touch a large value is not to copy it
         set status = u.status, output = coalesce(u.output::json, j.output),
             error = u.error::json, attempts = u.attempts::json, progress = u.progress::json,
             run_at = u.run_at, updated_at = u.updated_at, started_at = u.started_at,
             finished_at = u.finished_at, duration_us = u.duration_us, last_event = u.last_event
         from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                     $7::timestamptz[], $8::timestamptz[], $9::timestamptz[], $10::timestamptz[],
                     $11::bigint[], $12::bigint[])
              as u (id, status, output, error, attempts, progress, run_at, updated_at, started_at,
                    finished_at, duration_us, last_event)
         where j.id = u.id",
        tables.table("jobs")
    );
    sqlx::query(&sql)
        .bind(column!(e => e.id.uuid()))
        .bind(column!(e => status_text(e.status)))
        .bind(texts.outputs)
        .bind(texts.errors)
        .bind(texts.attempts)
        .bind(texts.progress)
        .bind(column!(e => e.run_at.map(ToSqlx::to_sqlx)))
        .bind(column!(e => e.updated_at.to_sqlx()))
        .bind(column!(e => e.started_at.map(ToSqlx::to_sqlx)))
        .bind(column!(e => e.finished_at.map(ToSqlx::to_sqlx)))
        .bind(column!(e => duration(e)))
        .bind(column!(e => e.last_event))
        .execute(tx)
        .await?;
    Ok(())
}
