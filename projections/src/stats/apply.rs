//! How runs are counted.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use toolroom_domain::{ToolId, WorkspaceId, job::Event, tool::Kind};
use toolroom_eventlog::RecordedEvent;

use super::latency;
use crate::{
    projection::{ApplyError, Projection, Tables, decode},
    request,
};

/// Nobody waits for statistics: longer pauses save work.
const INTERVAL: Duration = Duration::from_millis(50);

/// What stands for the latency of a run that has none: it never began, or nobody saw it end.
const UNMEASURED: i16 = -1;

/// The table `runs_by_hour`: counts of runs that ended alike in one hour.
#[derive(Clone, Copy, Debug)]
pub struct Stats;

/// What runs are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    workspace: WorkspaceId,
    hour: Timestamp,
    tool: ToolId,
    action: String,
    outcome: &'static str,
    latency: i16,
    kind: &'static str,
}

/// What of a job's request its counting needs.
#[derive(Clone, Debug)]
struct Run {
    workspace: WorkspaceId,
    tool: ToolId,
    kind: Kind,
    action: Option<String>,
    is_test: bool,
}

impl Run {
    fn of(request: Event) -> Option<Self> {
        match request {
            Event::Requested {
                workspace,
                tool,
                action,
                is_test,
                ..
            } => Some(Self {
                workspace,
                tool: tool.id,
                kind: tool.kind,
                action,
                is_test,
            }),
            _ => None,
        }
    }
}

/// How a run ended: its name, its latency's bucket and when.
type Ended = (&'static str, i16, Timestamp);

/// How a run ended; none if the event ends no run.
fn outcome(change: &Event) -> Option<Ended> {
    match change {
        Event::Succeeded {
            duration_us, at, ..
        } => Some(("SUCCEEDED", latency::bucket(*duration_us), *at)),
        Event::Failed {
            duration_us: 0, at, ..
        } => Some(("FAILED", UNMEASURED, *at)),
        Event::Failed {
            duration_us, at, ..
        } => Some(("FAILED", latency::bucket(*duration_us), *at)),
        Event::Cancelled { at, .. } => Some(("CANCELLED", UNMEASURED, *at)),
        _ => None,
    }
}

fn hour(at: Timestamp) -> Timestamp {
    const HOUR_S: i64 = 3_600;
    let second = at.as_second().div_euclid(HOUR_S) * HOUR_S;
    Timestamp::from_second(second).unwrap_or(at)
}

#[async_trait]
impl Projection for Stats {
    fn name(&self) -> &'static str {
        "stats"
    }

    fn version(&self) -> i32 {
        1
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &["job"]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["runs_by_hour"]
    }

    fn interval(&self) -> Duration {
        INTERVAL
    }

    fn create(&self, tables: &Tables) -> Vec<String> {
        vec![format!(
            "create table {} (
                 workspace_id uuid not null,
                 hour         timestamptz not null,
                 tool_id      uuid not null,
                 -- empty for none, as a key may not be null
                 action       text not null,
                 outcome      text not null,
                 -- the bucket of the logarithmic histogram; {UNMEASURED} for not measured
                 latency      smallint not null,
                 tool_kind    text not null,
                 runs         bigint not null,
                 primary key (workspace_id, hour, tool_id, action, outcome, latency, tool_kind)
             ) with (fillfactor = 80)",
            tables.table("runs_by_hour")
        )]
    }

    async fn apply(
        &self,
        tx: &mut PgConnection,
        tables: &Tables,
        events: &[Arc<RecordedEvent>],
    ) -> Result<(), ApplyError> {
        let mut ended = Vec::new();
        for event in events {
            if matches!(
                event.event_type.as_str(),
                "JobSucceeded" | "JobFailed" | "JobCancelled"
            ) && let Some(outcome) = outcome(&decode(event)?)
            {
                ended.push((event, outcome));
            }
        }
        let mut runs = in_batch(events, &ended)?;
        let elsewhere = ended
            .iter()
            .map(|(event, _)| event.aggregate_id.as_str())
            .filter(|job| !runs.contains_key(*job))
            .collect();
        for (job, request) in request::find_in_tx(tx, elsewhere).await? {
            if let Some(run) = Run::of(request) {
                runs.insert(job, run);
            }
        }
        let mut counts: BTreeMap<Key, i64> = BTreeMap::new();
        for (event, (outcome, latency, at)) in ended {
            let Some(run) = runs.get(&event.aggregate_id) else {
                return Err(ApplyError::event(event, "the job's request cannot be read"));
            };
            if run.is_test {
                continue;
            }
            let key = Key {
                workspace: run.workspace,
                hour: hour(at),
                tool: run.tool,
                action: run.action.clone().unwrap_or_default(),
                outcome,
                latency,
                kind: run.kind.as_str(),
            };
            *counts.entry(key).or_default() += 1;
        }
        write(tx, tables, &counts).await
    }
}

/// The requests that came in the batch itself, of jobs that ended in it: most of a busy log's.
fn in_batch(
    events: &[Arc<RecordedEvent>],
    ended: &[(&Arc<RecordedEvent>, Ended)],
) -> Result<HashMap<String, Run>, ApplyError> {
    let jobs: HashSet<&str> = ended
        .iter()
        .map(|(event, _)| event.aggregate_id.as_str())
        .collect();
    let requests = events.iter().filter(|event| {
        event.event_type == "JobRequested" && jobs.contains(event.aggregate_id.as_str())
    });
    let mut runs = HashMap::new();
    for event in requests {
        if let Some(run) = Run::of(decode(event)?) {
            runs.insert(event.aggregate_id.clone(), run);
        }
    }
    Ok(runs)
}

async fn write(
    tx: &mut PgConnection,
    tables: &Tables,
    counts: &BTreeMap<Key, i64>,
) -> Result<(), ApplyError> {
    if counts.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        ($key:ident => $value:expr) => {
            counts.keys().map(|$key| $value).collect::<Vec<_>>()
        };
    }
    let sql = format!(
        "insert into {} as r
             (workspace_id, hour, tool_id, action, outcome, latency, tool_kind, runs)
         select * from unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::text[], $5::text[],
                              $6::smallint[], $7::text[], $8::bigint[])
         on conflict (workspace_id, hour, tool_id, action, outcome, latency, tool_kind) do update
         set runs = r.runs + excluded.runs",
        tables.table("runs_by_hour")
    );
    sqlx::query(&sql)
        .bind(column!(k => k.workspace.uuid()))
        .bind(column!(k => k.hour.to_sqlx()))
        .bind(column!(k => k.tool.uuid()))
        .bind(column!(k => k.action.as_str()))
        .bind(column!(k => k.outcome))
        .bind(column!(k => k.latency))
        .bind(column!(k => k.kind))
        .bind(counts.values().copied().collect::<Vec<_>>())
        .execute(tx)
        .await?;
    Ok(())
}
