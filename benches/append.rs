#![allow(
    missing_docs,
    clippy::print_stdout,
    reason = "a program, not a library"
)]

//! Commands a second through the whole command path, beside pgbench inserting the same rows and
//! stock postgres-es, on one durable server in one run.
//!
//! ```text
//! cargo bench --bench append -- [--seconds 10] [--clients 1,16,32,64]
//! ```

use std::process::Command as Process;
use std::sync::Arc;
use std::time::Duration;

use cqrs_es::{CqrsFramework, persist::PersistedEventStore};
use postgres_es::PostgresEventRepository;
use sqlx::{PgPool, Row, postgres::PgPoolOptions};
use toolroom_domain::{JobId, job::Job};
use toolroom_eventlog::{command::Target, ids, log::Options, testing::TestCluster};

mod support;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
use support::{WORKSPACE, argument, context, rate, request, start};

fn pgbench(cluster: &TestCluster, clients: usize, time: Duration, row: &str) -> f64 {
    let script = cluster.data_dir().join("insert.sql");
    std::fs::write(&script, row).expect("the script can be written");
    let options = cluster.connect_options();
    let output = Process::new(cluster.server().bin_dir().join("pgbench"))
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
        .args(["--client", &clients.to_string()])
        .args(["--time", &time.as_secs().to_string()])
        .arg("--file")
        .arg(&script)
        .args([
            "--host",
            options
                .get_socket()
                .and_then(|s| s.to_str())
                .expect("a socket"),
        ])
        .args(["--username", options.get_username()])
        .arg(options.get_database().expect("a database"))
        .output()
        .expect("pgbench runs");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| {
            panic!(
                "pgbench gave no rate: {text}{}",
                String::from_utf8_lossy(&output.stderr)
            )
        })
}

/// The row of an event as it lies in the table, as an insert with a random id.
async fn sample_row(pool: &PgPool) -> String {
    let row = sqlx::query("select payload::text as p, metadata::text as m from events limit 1")
        .fetch_one(pool)
        .await
        .expect("an event was appended");
    let (payload, metadata): (String, String) = (row.get("p"), row.get("m"));
    format!(
        "\\set a random(1, 9000000000000000000)\n\\set b random(1, 9000000000000000000)\n\
         insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)\n\
         values ('job', 'job_' || :a::text || '_' || :b::text, 1, 'JobRequested', '1.0', '{payload}'::json, '{metadata}'::json);\n"
    )
    // pgbench would take it for a variable
    .replace("\":", "\": ")
    .replace(":00:00Z", "-00-00Z")
    .replace("user:local", "user-local")
}

#[tokio::main]
async fn main() {
    let time = Duration::from_secs(argument("--seconds", "10").parse().expect("seconds"));
    let clients: Vec<usize> = argument("--clients", "1,16,32,64")
        .split(',')
        .map(|n| n.parse().expect("a number of clients"))
        .collect();
    let (cluster, owner, log, tasks, shutdown) = start(Options {
        sequence: false,
        other_nodes: false,
    })
    .await;
    sqlx::raw_sql(
        "create table stock_events (
             aggregate_type text not null, aggregate_id text not null,
             sequence bigint check (sequence >= 0) not null,
             event_type text not null, event_version text not null,
             payload json not null, metadata json not null,
             primary key (aggregate_type, aggregate_id, sequence))",
    )
    .execute(&owner)
    .await
    .expect("creates");
    let stock_pool = PgPoolOptions::new()
        .max_connections(10)
        .connect_with(cluster.connect_options())
        .await
        .expect("connects");

    println!(
        "| clients | toolroom | p50 ms | p99 ms | pgbench | stock postgres-es | of pgbench | of stock |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for clients in clients {
        let bus = log.bus.clone();
        let (ours, p50, p99) = rate(clients, time, move || {
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
        let script = sample_row(&owner).await;
        let floor = pgbench(&cluster, clients, time, &script);
        let repository = PostgresEventRepository::new(stock_pool.clone())
            .with_tables("stock_events", "stock_snapshots");
        let store =
            PersistedEventStore::<PostgresEventRepository, Job>::new_event_store(repository);
        let framework = Arc::new(CqrsFramework::new(store, Vec::new(), ()));
        let (stock, ..) = rate(clients, time, move || {
            let framework = Arc::clone(&framework);
            async move {
                let id = JobId::from_uuid(ids::new_uuid());
                let metadata = [
                    ("workspace_id", WORKSPACE.to_string()),
                    ("actor", "user:local".to_owned()),
                    ("command_id", ids::new_uuid().simple().to_string()),
                    ("correlation_id", ids::new_uuid().to_string()),
                ]
                .map(|(k, v)| (k.to_owned(), v));
                framework
                    .execute_with_metadata(&id.to_string(), request(id), metadata.into())
                    .await
                    .expect("appends");
            }
        })
        .await;
        println!(
            "| {clients} | {ours:.0} | {p50:.2} | {p99:.2} | {floor:.0} | {stock:.0} | {:.2} | {:.2} |",
            ours / floor,
            ours / stock
        );
    }
    shutdown.cancel();
    tasks.finish().await;
}
