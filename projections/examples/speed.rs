//! How fast the catalogue is rebuilt, and how soon a command's effect is seen in it, on a durable
//! server of its own.
//!
//! ```text
//! cargo run --release -p toolroom-projections --example speed -- [events]
//! ```

#![allow(
    clippy::print_stdout,
    reason = "a program that prints what it measured"
)]

use std::{
    error::Error,
    time::{Duration, Instant},
};

use serde_json::json;
use sqlx::PgPool;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use toolroom_domain::{
    Actor, Clock, ToolId, WorkspaceId,
    tool::{Command, Definition, Details, NativeConfig, PolicyOverrides, Tool, ToolConfig},
};
use toolroom_eventlog::{
    CommandContext, Database, EventLog, SystemClock, command::Target, ids, log::Options, sequencer,
    testing::TestCluster, vault::MasterKey,
};
use toolroom_projections::{Config, PageRequest, catalog, rebuild_blocking};

/// Events of each tool: registered, then changed in turns with the others of its hundred.
const EVENTS_PER_TOOL: i64 = 10;
/// Together as large as one gigabyte.
const LARGE_JOBS: i32 = 1_000;
/// Of how many hashes of 89 characters a large input is made.
const LARGE_INPUT_HASHES: i32 = 1_000_000 / 89;
const LIVE_COMMANDS: u32 = 10_000;
const LIVE_INTERVAL: Duration = Duration::from_millis(2);

fn context() -> CommandContext {
    CommandContext {
        workspace: WorkspaceId::DEFAULT,
        actor: Actor::local_owner(),
        named: None,
        correlation_id: ids::new_uuid().to_string(),
        causation_id: None,
        ip: None,
        user_agent: None,
    }
}

async fn register(
    log: &EventLog,
    number: i32,
) -> Result<(ToolId, i64), Box<dyn Error + Send + Sync>> {
    let id = ToolId::from_uuid(ids::new_uuid());
    let schema = json!({
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "the city to look up"},
            "days": {"type": "integer", "minimum": 1, "maximum": 14},
        },
        "required": ["city"],
    });
    let command = Command::Register {
        id,
        workspace: WorkspaceId::DEFAULT,
        number,
        details: Details {
            name: format!("tool_{number}"),
            title: Some("Get weather".to_owned()),
            description: "tells what the weather of the next days will be in a city".to_owned(),
            category: Some("weather".to_owned()),
            tags: vec!["weather".to_owned(), "forecast".to_owned()],
        },
        definition: Box::new(Definition {
            config: ToolConfig::Native(NativeConfig {
                function_path: "echo".to_owned(),
            }),
            input_schema: schema,
            output_schema: None,
            policy: PolicyOverrides::default(),
            requires_approval: false,
        }),
        at: SystemClock.now(),
    };
    let target = Target::<Tool>::New(id.to_string());
    let executed = log.bus.execute(target, command, &context()).await?;
    Ok((id, executed.global_seq.unwrap_or(0)))
}

/// Copies one tool's registration and its changes over and over, a hundred tools at a time.
async fn fill(owner: &PgPool, sample: ToolId, events: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version,
                             payload, metadata)
         select 'tool', i.id, s.sequence,
                case when s.sequence = 1 then e.event_type
                     when s.sequence % 2 = 0 then 'ToolDeactivated' else 'ToolActivated' end,
                '1.0',
                case when s.sequence = 1 then replace(e.payload::text, $1, i.id)::json
                     when s.sequence % 2 = 0
                         then '{\"type\":\"ToolDeactivated\",\"at\":\"2026-01-01T00:00:00Z\"}'::json
                     else '{\"type\":\"ToolActivated\",\"at\":\"2026-01-01T00:00:00Z\"}'::json end,
                e.metadata
         from events e,
              generate_series(0, $2 / ($3 * 100) - 1) h,
              generate_series(1, $3) s (sequence),
              generate_series(1, 100) t,
              lateral (select 'tool_' || md5((h * 100 + t)::text) as id) i
         where e.aggregate_id = $1
         order by h, s.sequence, t",
    )
    .bind(sample.to_string())
    .bind(events)
    .bind(EVENTS_PER_TOOL)
    .execute(owner)
    .await?;
    Ok(())
}

/// Appends jobs whose inputs are as large as an event may hold.
async fn fill_with_large_jobs(owner: &PgPool, jobs: i32) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version,
                             payload, metadata)
         select 'job', i.id, 1, 'JobRequested', '1.0',
                json_build_object(
                    'type', 'JobRequested', 'id', i.id, 'workspace', e.metadata ->> 'workspace_id',
                    'tool', json_build_object('id', e.aggregate_id, 'version', 1, 'kind', 'NATIVE'),
                    'input', json_build_object('key', 1, 'data', n || r.data),
                    'is_test', false, 'priority', 0, 'at', '2026-01-01T00:00:00Z'),
                e.metadata
         from (select * from events limit 1) e,
              -- like what is sealed, it does not compress
              (select string_agg(encode(sha512(k::text::bytea), 'base64'), '') as data
               from generate_series(1, $2) k) r,
              generate_series(1, $1) n,
              lateral (select 'job_' || md5(n::text) as id) i",
    )
    .bind(jobs)
    .bind(LARGE_INPUT_HASHES)
    .execute(owner)
    .await?;
    Ok(())
}

async fn sequence(database: &Database, step: i64) -> Result<(), sqlx::Error> {
    while !sequencer::step(database.derived_pool(), step)
        .await?
        .events
        .is_empty()
    {}
    Ok(())
}

fn peak_memory_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = peak.and_then(|text| text.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kb.unwrap_or(f64::NAN) / 1024.0
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let events: i64 = match std::env::args().nth(1) {
        Some(events) => events.parse()?,
        None => 1_000_000,
    };
    let cluster = TestCluster::start().await;
    let database = Database::connect_lazy(cluster.connect_options());
    let owner = database.owner_pool().await?;
    toolroom_eventlog::migrate(&owner).await?;
    let shutdown = CancellationToken::new();
    let master = MasterKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")?;
    let options = Options {
        sequence: true,
        other_nodes: false,
    };
    let quiet = Options {
        sequence: false,
        ..options
    };
    let (log, tasks) = EventLog::start(database.clone(), master, quiet, &shutdown).await?;
    let (sample, _) = register(&log, 1).await?;
    let began = Instant::now();
    fill(&owner, sample, events).await?;
    println!(
        "{events} events inserted in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    let began = Instant::now();
    sequence(&database, 5_000).await?;
    println!("sequenced in {:.1} s", began.elapsed().as_secs_f64());
    sqlx::query("vacuum analyze").execute(&owner).await?;

    println!("peak memory before {:.0} MB", peak_memory_mb());
    let projections = toolroom_projections::all();
    for name in ["catalog", "audit"] {
        let began = Instant::now();
        rebuild_blocking(&log, &projections, name, &shutdown, |_| {}).await?;
        let seconds = began.elapsed().as_secs_f64();
        println!(
            "{name}: {:.0} events/s ({seconds:.1} s), peak memory {:.0} MB",
            events as f64 / seconds,
            peak_memory_mb()
        );
    }
    fill_with_large_jobs(&owner, LARGE_JOBS).await?;
    // A step returns its events whole.
    sequence(&database, 10).await?;
    rebuild_blocking(&log, &projections, "jobs", &shutdown, |_| {}).await?;
    println!(
        "jobs with {LARGE_JOBS} inputs of 1 MB: peak memory {:.0} MB",
        peak_memory_mb()
    );
    shutdown.cancel();
    tasks.finish().await;

    live(&database, options).await?;
    Ok(())
}

/// Commands at a steady rate, each waiting until the catalogue shows it.
async fn live(database: &Database, options: Options) -> Result<(), Box<dyn Error + Send + Sync>> {
    let shutdown = CancellationToken::new();
    let master = MasterKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")?;
    let (log, tasks) = EventLog::start(database.clone(), master, options, &shutdown).await?;
    let config = Config {
        projections: toolroom_projections::all(),
        node: "speed".to_owned(),
    };
    let (reader, mut runners) = toolroom_projections::start(&log, config, &shutdown);
    let patience = Duration::from_secs(600);
    let head = log.feed.head().await?.position;
    for status in reader.status().await? {
        reader.wait_for(status.name, head, patience).await?;
    }
    let mut ticks = tokio::time::interval(LIVE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut waits = tokio::task::JoinSet::new();
    for number in 2..LIVE_COMMANDS + 2 {
        ticks.tick().await;
        let (log, reader) = (log.clone(), reader.clone());
        waits.spawn(async move {
            let (id, global_seq) = register(&log, i32::try_from(number)?).await?;
            let committed = Instant::now();
            let position = log.feed.position_of(global_seq, patience).await?;
            let position = position.ok_or("not sequenced")?;
            reader.wait_for("catalog", position, patience).await?;
            let took = committed.elapsed();
            if number.is_multiple_of(1_000) {
                let pool = reader.pool();
                let found = catalog::query::by_id(pool, WorkspaceId::DEFAULT, id).await?;
                found.ok_or("waited for, and not visible")?;
            }
            Ok::<_, Box<dyn Error + Send + Sync>>(took)
        });
    }
    let mut took = Vec::new();
    while let Some(wait) = waits.join_next().await {
        took.push(wait??);
    }
    took.sort();
    let at = |share: f64| took[(took.len() as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "commit to visible at {:.0} commands/s: p50 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms",
        1.0 / LIVE_INTERVAL.as_secs_f64(),
        at(0.50),
        at(0.95),
        at(0.99)
    );
    let letters = reader
        .dead_letters(WorkspaceId::DEFAULT, &PageRequest::first(1))
        .await?;
    println!(
        "dead letters: {}, peak memory {:.0} MB",
        letters.rows.len(),
        peak_memory_mb()
    );
    shutdown.cancel();
    while runners.join_next().await.is_some() {}
    tasks.finish().await;
    Ok(())
}
