//! `toolroom bench read-models`: how fast a read model is rebuilt from the log, and how soon a
//! command's effect is seen in it while commands come in steadily.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::json;
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use toolroom_domain::{
    Clock as _, ToolId,
    tool::{Command, Definition, Details, NativeConfig, PolicyOverrides, Tool, ToolConfig},
};
use toolroom_eventlog::{EventLog, SystemClock, command::Target, embedded::Server, ids, sequencer};
use toolroom_projections::{
    Config, PageRequest, Projection, Reader, queue::Queue, rebuild_blocking,
};

use super::{
    Bench, SECONDS,
    load::Rate,
    log::{Log, WORKSPACE, context},
    machine::memory_mib,
    report::{Report, exact, whole},
};
use crate::{cli::output, read_models};

/// Those that are rebuilt: one that folds the log's events, and one that keeps them all.
const REBUILT: [&str; 2] = ["catalog", "audit"];

/// Events of each tool: registered, then changed in turns with the others of its hundred.
const EVENTS_PER_TOOL: u64 = 10;

/// What events are laid into the log by: a hundred tools.
const HUNDRED: u64 = 100 * EVENTS_PER_TOOL;

/// Hundreds that one statement inserts.
const BATCH: u64 = 50;

/// Events that are put into order in one step: each returns its events whole.
const STEP_EVENTS: i64 = 5_000;

/// Bytes that an event takes on the disk: in the log, and in what is rebuilt beside what serves.
const EVENT_BYTES: u64 = 2_000;

/// 500 commands a second.
const LIVE_INTERVAL: Duration = Duration::from_millis(2);

/// For how long a follower may be behind before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// How many events to rebuild from, rounded down to thousands.
    #[arg(long, value_name = "N", default_value_t = Self::default().events,
        value_parser = clap::value_parser!(u64).range(HUNDRED..=1_000_000_000))]
    pub events: u64,
    /// For how long commands come in.
    #[arg(long, value_name = "N", default_value_t = Self::default().seconds,
        value_parser = clap::value_parser!(u64).range(SECONDS))]
    pub seconds: u64,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            events: 1_000_000,
            seconds: 20,
        }
    }
}

/// Measures, and reports.
///
/// # Errors
/// When a command is refused, an event cannot be applied or the server does not answer.
pub async fn run(bench: &mut Bench<'_>, arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { events, seconds } = *arguments;
    bench.report.heading(
        "Read models",
        format_args!("read-models --events {events} --seconds {seconds}"),
    );
    let measure = async |server: &Server, report: &mut Report| {
        rebuild(server, report, events / HUNDRED).await?;
        live(server, report, seconds).await
    };
    bench
        .on_private_server(events.saturating_mul(EVENT_BYTES), Vec::new(), measure)
        .await
}

/// Rebuilds from the events of so many hundreds of tools.
async fn rebuild(server: &Server, report: &mut Report, hundreds: u64) -> anyhow::Result<()> {
    let log = Log::start(server, false).await?;
    let (sample, _) = register(&log.log, 1).await?;
    fill(&log.owner, sample, hundreds).await?;
    let sequenced = sequence(&log.log).await?;
    output::status("read-models: settling");
    sqlx::query("vacuum analyze").execute(&log.owner).await?;

    let events = hundreds * HUNDRED;
    report.table(&[
        "rebuilt",
        "events",
        "events/s",
        "this process's memory at its peak so far, MiB",
    ]);
    for name in REBUILT {
        let begun = Instant::now();
        let mut progress = output::progress("read-models: rebuilt up to position");
        rebuild_blocking(&log.log, &projections(), name, &log.shutdown, |rebuilt| {
            progress(rebuilt.position);
        })
        .await?;
        report.row(&[
            name.to_owned(),
            whole(events as f64),
            whole(events as f64 / begun.elapsed().as_secs_f64()),
            whole(memory_mib(std::process::id(), "VmHWM")?),
        ]);
    }
    report.note(format_args!(
        "The log was put into order at {} events/s.",
        whole(sequenced)
    ));
    log.finish().await;
    Ok(())
}

/// Commands at a steady rate, and when the catalogue shows each.
async fn live(server: &Server, report: &mut Report, seconds: u64) -> anyhow::Result<()> {
    let log = Log::start(server, true).await?;
    let config = Config {
        projections: projections(),
        node: "bench".to_owned(),
    };
    let (reader, mut followers) = toolroom_projections::start(&log.log, config, &log.shutdown);
    output::status("read-models: catching up");
    let head = log.log.feed.head().await?.position;
    for status in reader.status().await? {
        if !reader.wait_for(status.name, head, PATIENCE).await? {
            bail!("`{}` does not catch up with the log", status.name);
        }
    }
    output::status("read-models: commands come in");
    let commands =
        i32::try_from(Duration::from_secs(seconds).as_millis() / LIVE_INTERVAL.as_millis())?;
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(LIVE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut waits = JoinSet::new();
    // The first tool is the one that was copied.
    for number in 2..commands + 2 {
        ticks.tick().await;
        let (log, reader) = (log.log.clone(), reader.clone());
        waits.spawn(async move { visible(&log, &reader, number).await });
    }
    let sent = f64::from(commands) / begun.elapsed().as_secs_f64();
    let mut taken = Vec::new();
    while let Some(ended) = waits.join_next().await {
        taken.push(ended.context("a command died")??);
    }
    let seen = Rate::of(taken, begun.elapsed())?;
    let letters = reader
        .dead_letters(WORKSPACE, &PageRequest::first(1))
        .await?;
    if !letters.rows.is_empty() {
        bail!("a read model could not apply an event, so its speed means nothing");
    }
    report.table(&["commands/s", "commit → visible p50 ms", "p99 ms"]);
    report.row(&[whole(sent), exact(seen.p50_ms), exact(seen.p99_ms)]);
    log.shutdown.cancel();
    while followers.join_next().await.is_some() {}
    log.finish().await;
    Ok(())
}

fn projections() -> Vec<Arc<dyn Projection>> {
    read_models::all(&Queue::default())
}

/// Registers a tool; how long after its commit the catalogue had it.
async fn visible(log: &EventLog, reader: &Reader, number: i32) -> anyhow::Result<Duration> {
    let (_, global_seq) = register(log, number).await?;
    let committed = Instant::now();
    let position = log.feed.position_of(global_seq, PATIENCE).await?;
    let position = position.context("an event got no place in the log")?;
    if !reader.wait_for("catalog", position, PATIENCE).await? {
        bail!("the catalogue does not keep up");
    }
    Ok(committed.elapsed())
}

/// Registers a tool of a common size; its id, and where its event is.
async fn register(log: &EventLog, number: i32) -> anyhow::Result<(ToolId, i64)> {
    let id = ToolId::from_uuid(ids::new_uuid());
    let command = Command::Register {
        id,
        workspace: WORKSPACE,
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
            input_schema: json!({
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "the city to look up"},
                    "days": {"type": "integer", "minimum": 1, "maximum": 14},
                },
                "required": ["city"],
            }),
            output_schema: None,
            policy: PolicyOverrides::default(),
            requires_approval: false,
        }),
        at: SystemClock.now(),
    };
    let target = Target::<Tool>::New(id.to_string());
    let executed = log.bus.execute(target, command, &context()).await;
    let executed = executed.context("a command was refused")?;
    let global_seq = executed.global_seq.context("a registration is an event")?;
    Ok((id, global_seq))
}

/// Copies one tool's registration and changes of it over and over, a hundred tools at a time.
async fn fill(owner: &PgPool, sample: ToolId, hundreds: u64) -> anyhow::Result<()> {
    let mut progress = output::progress("read-models: laid events");
    let hundreds = i64::try_from(hundreds)?;
    let mut from = 0;
    while from < hundreds {
        let to = hundreds.min(from + i64::try_from(BATCH)?);
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
                  generate_series($2::bigint, $3::bigint - 1) h,
                  generate_series(1, $4::bigint) s (sequence),
                  generate_series(1, 100) t,
                  lateral (select 'tool_' || md5((h * 100 + t)::text) as id) i
             where e.aggregate_id = $1
             order by h, s.sequence, t",
        )
        .bind(sample.to_string())
        .bind(from)
        .bind(to)
        .bind(i64::try_from(EVENTS_PER_TOOL)?)
        .execute(owner)
        .await?;
        from = to;
        progress(from * i64::try_from(HUNDRED)?);
    }
    Ok(())
}

/// Gives all events their places; how many a second.
async fn sequence(log: &EventLog) -> anyhow::Result<f64> {
    let mut progress = output::progress("read-models: put into order up to position");
    let begun = Instant::now();
    loop {
        let step = sequencer::step(log.database.sequencer_pool(), STEP_EVENTS).await?;
        progress(step.position);
        if step.events.is_empty() {
            return Ok(step.position as f64 / begun.elapsed().as_secs_f64());
        }
    }
}
