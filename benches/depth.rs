#![allow(
    missing_docs,
    clippy::print_stdout,
    reason = "a program, not a library"
)]

//! Append latency on an empty log and on a deep one, on one durable server in one run; and how
//! fast a backlog is sequenced.
//!
//! ```text
//! cargo bench --bench depth -- [--events 5000000] [--seconds 10]
//! ```

use std::time::{Duration, Instant};

use toolroom_domain::{JobId, job::Job};
use toolroom_eventlog::{EventLog, command::Target, ids, log::Options, sequencer};

mod support;
use support::{argument, context, rate, request, start};

async fn measure(log: &EventLog, depth: i64, time: Duration) {
    for clients in [1, 16] {
        let bus = log.bus.clone();
        let (rate, p50, p99) = rate(clients, time, move || {
            let bus = bus.clone();
            async move {
                let id = JobId::from_uuid(ids::new_uuid());
                bus.execute(
                    Target::<Job>::Existing(id.to_string()),
                    request(id),
                    &context(),
                )
                .await
                .expect("appends");
            }
        })
        .await;
        println!("| {depth} | {clients} | {rate:.0} | {p50:.2} | {p99:.2} |");
    }
}

#[tokio::main]
async fn main() {
    let events: i64 = argument("--events", "5000000").parse().expect("a number");
    let time = Duration::from_secs(argument("--seconds", "10").parse().expect("seconds"));
    let (_cluster, owner, log, tasks, shutdown) = start(Options {
        sequence: false,
        other_nodes: false,
    })
    .await;
    println!("| events in the log | clients | commands/s | p50 ms | p99 ms |");
    println!("|---|---|---|---|---|");
    measure(&log, 0, time).await;
    let batch = 250_000;
    for from in (0..events).step_by(batch) {
        sqlx::query(
            "insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
             select 'job', 'job_' || lpad(to_hex(i / 4), 12, '0') || md5(i::text), 1 + i % 4, 'JobRequested', '1.0', s.payload, s.metadata
             from generate_series($1::bigint, $2::bigint) i,
                  (select payload, metadata from events limit 1) s",
        )
        .bind(from)
        .bind(from + batch as i64 - 1)
        .execute(&owner)
        .await
        .expect("fills");
    }
    for statement in ["vacuum analyze events", "checkpoint"] {
        sqlx::query(statement)
            .execute(&owner)
            .await
            .expect("settles");
    }
    measure(&log, events, time).await;
    let begun = Instant::now();
    let mut sequenced = 0;
    while begun.elapsed() < time {
        let step = sequencer::step(log.database.derived_pool(), 2_000)
            .await
            .expect("steps");
        sequenced += step.events.len();
    }
    println!(
        "\nsequenced {:.0} events/s of the backlog",
        sequenced as f64 / begun.elapsed().as_secs_f64()
    );
    shutdown.cancel();
    tasks.finish().await;
}
