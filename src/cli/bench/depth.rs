//! `toolroom bench depth`: how long an append takes on a deep log against an empty one, on one
//! durable server in one run; and how fast a backlog is put into order.

use std::time::{Duration, Instant};

use sqlx::PgPool;
use toolroom_eventlog::{embedded::Server, sequencer};

use super::{
    Bench, SECONDS,
    load::rate,
    log::{self, Log},
    report::{Report, exact, whole},
};
use crate::cli::output;

/// Nobody else, and enough to fill the append's batches.
const CLIENTS: [u16; 2] = [1, 16];

/// Events that one statement inserts.
const BATCH: u64 = 100_000;

/// Events that are put into order in one step, as a server does.
const STEP_EVENTS: i64 = 2_000;

/// Bytes that an event takes on the disk, with its indexes and its place in the log.
const EVENT_BYTES: u64 = 1_500;

#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// How many events to lay into the log.
    #[arg(long, value_name = "N", default_value_t = Self::default().events,
        value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub events: u64,
    /// How long each measurement takes.
    #[arg(long, value_name = "N", default_value_t = Self::default().seconds,
        value_parser = clap::value_parser!(u64).range(SECONDS))]
    pub seconds: u64,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            events: 5_000_000,
            seconds: 10,
        }
    }
}

/// Measures, and reports.
///
/// # Errors
/// When a command is refused or the server does not answer.
pub async fn run(bench: &mut Bench<'_>, arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { events, seconds } = *arguments;
    bench.report.heading(
        "A deep log",
        format_args!("depth --events {events} --seconds {seconds}"),
    );
    let time = Duration::from_secs(seconds);
    let measure =
        async |server: &Server, report: &mut Report| measure(server, report, events, time).await;
    bench
        .on_private_server(events.saturating_mul(EVENT_BYTES), Vec::new(), measure)
        .await
}

async fn measure(
    server: &Server,
    report: &mut Report,
    events: u64,
    time: Duration,
) -> anyhow::Result<()> {
    let log = Log::start(server, false).await?;
    report.table(&[
        "events in the log",
        "clients",
        "commands/s",
        "p50 ms",
        "p99 ms",
    ]);
    appends(&log, report, 0, time).await?;
    fill(&log.owner, events).await?;
    appends(&log, report, events, time).await?;
    output::status("depth: putting the backlog into order");
    let begun = Instant::now();
    let mut sequenced = 0;
    while begun.elapsed() < time {
        let step = sequencer::step(log.log.database.sequencer_pool(), STEP_EVENTS).await?;
        sequenced += step.events.len();
        if !step.more {
            break;
        }
    }
    report.note(format_args!(
        "A backlog is put into order at {} events/s.",
        whole(sequenced as f64 / begun.elapsed().as_secs_f64())
    ));
    log.finish().await;
    Ok(())
}

async fn appends(
    log: &Log,
    report: &mut Report,
    events: u64,
    time: Duration,
) -> anyhow::Result<()> {
    for clients in CLIENTS {
        output::status(format_args!("depth: {clients} clients on {events} events"));
        let bus = log.log.bus.clone();
        let rate = rate(clients, time, move || {
            let bus = bus.clone();
            async move { log::append(&bus).await }
        })
        .await?;
        report.row(&[
            whole(events as f64),
            clients.to_string(),
            whole(rate.per_second),
            exact(rate.p50_ms),
            exact(rate.p99_ms),
        ]);
    }
    Ok(())
}

/// Lays copies of one event into the log, four to each job.
async fn fill(owner: &PgPool, events: u64) -> anyhow::Result<()> {
    let mut progress = output::progress("depth: laid events");
    let events = i64::try_from(events)?;
    let batch = i64::try_from(BATCH)?;
    let mut from = 0;
    while from < events {
        let to = events.min(from + batch);
        sqlx::query(
            "insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version,
                                 payload, metadata)
             select 'job', 'job_' || lpad(to_hex(i / 4), 12, '0') || md5((i / 4)::text), 1 + i % 4,
                    'JobRequested', '1.0', s.payload, s.metadata
             from generate_series($1::bigint, $2::bigint - 1) i,
                  (select payload, metadata from events limit 1) s",
        )
        .bind(from)
        .bind(to)
        .execute(owner)
        .await?;
        from = to;
        progress(from);
    }
    output::status("depth: settling");
    for statement in ["vacuum analyze events", "checkpoint"] {
        sqlx::query(statement).execute(owner).await?;
    }
    Ok(())
}
