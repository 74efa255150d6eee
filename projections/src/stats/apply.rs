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
use toolroom_domain::{ToolId, WorkspaceId, job::Event};
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
    tool_type: String,
}

/// How many runs there were, and how long they took together.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    runs: i64,
    duration_us: i64,
}

/// What of a job's request its counting needs.
#[derive(Clone, Debug)]
struct Run {
    workspace: WorkspaceId,
    tool: ToolId,
    tool_type: String,
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
                tool_type: tool.type_name().to_owned(),
                action,
                is_test,
            }),
            _ => None,
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug)]
struct Ended {
    outcome: &'static str,
    /// How long the call took, if that was measured.
    duration_us: Option<u64>,
    at: Timestamp,
}

/// How a run ended; none if the event ends no run.
fn ended(change: &Event) -> Option<Ended> {
    let (outcome, duration_us, at) = match change {
        Event::Succeeded {
            duration_us, at, ..
        } => ("SUCCEEDED", Some(*duration_us), *at),
        // What never began took no time.
        Event::Failed {
            duration_us, at, ..
        }
        | Event::AttemptFailed {
            duration_us, at, ..
        } => ("FAILED", Some(*duration_us).filter(|us| *us > 0), *at),
        Event::Cancelled { at, .. } => ("CANCELLED", None, *at),
        _ => return None,
    };
    Some(Ended {
        outcome,
        duration_us,
        at,
    })
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
        2
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
                 -- the kind, or the connector's type
                 tool_type    text not null,
                 runs         bigint not null,
                 -- of all measured ones together
                 duration_us  bigint not null,
                 primary key (workspace_id, hour, tool_id, action, outcome, latency, tool_type)
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
        let mut ends = Vec::new();
        for event in events {
            if matches!(
                event.event_type.as_str(),
                "JobSucceeded" | "JobFailed" | "JobAttemptFailed" | "JobCancelled"
            ) && let Some(ended) = ended(&decode(event)?)
            {
                ends.push((event, ended));
            }
        }
        let mut runs = in_batch(events, &ends)?;
        let elsewhere = ends
            .iter()
            .map(|(event, _)| event.aggregate_id.as_str())
            .filter(|job| !runs.contains_key(*job))
            .collect();
        for (job, request) in request::find_in_tx(tx, elsewhere).await? {
            if let Some(run) = Run::of(request) {
                runs.insert(job, run);
            }
        }
        let mut counts: BTreeMap<Key, Count> = BTreeMap::new();
        for (event, ended) in ends {
            let Some(run) = runs.get(&event.aggregate_id) else {
                return Err(ApplyError::event(event, "the job's request cannot be read"));
            };
            if run.is_test {
                continue;
            }
            let key = Key {
                workspace: run.workspace,
                hour: hour(ended.at),
                tool: run.tool,
                action: run.action.clone().unwrap_or_default(),
                outcome: ended.outcome,
                latency: ended.duration_us.map_or(UNMEASURED, latency::bucket),
                tool_type: run.tool_type.clone(),
            };
            let count = counts.entry(key).or_default();
            let duration_us = ended.duration_us.unwrap_or(0);
            count.runs += 1;
            count.duration_us += i64::try_from(duration_us.min(latency::MAX_US)).unwrap_or(0);
        }
        write(tx, tables, &counts).await
    }
}

/// The requests that came in the batch itself, of jobs that ended in it: most of a busy log's.
fn in_batch(
    events: &[Arc<RecordedEvent>],
    ends: &[(&Arc<RecordedEvent>, Ended)],
) -> Result<HashMap<String, Run>, ApplyError> {
    let jobs: HashSet<&str> = ends
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
    counts: &BTreeMap<Key, Count>,
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
             (workspace_id, hour, tool_id, action, outcome, latency, tool_type, runs, duration_us)
         select * from unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::text[], $5::text[],
                              $6::smallint[], $7::text[], $8::bigint[], $9::bigint[])
         on conflict (workspace_id, hour, tool_id, action, outcome, latency, tool_type) do update
         set runs = r.runs + excluded.runs, duration_us = r.duration_us + excluded.duration_us",
        tables.table("runs_by_hour")
    );
    sqlx::query(&sql)
        .bind(column!(k => k.workspace.uuid()))
        .bind(column!(k => k.hour.to_sqlx()))
        .bind(column!(k => k.tool.uuid()))
        .bind(column!(k => k.action.as_str()))
        .bind(column!(k => k.outcome))
        .bind(column!(k => k.latency))
        .bind(column!(k => k.tool_type.as_str()))
        .bind(counts.values().map(|count| count.runs).collect::<Vec<_>>())
        .bind(
            counts
                .values()
                .map(|count| count.duration_us)
                .collect::<Vec<_>>(),
        )
        .execute(tx)
        .await?;
    Ok(())
}
