//! `toolroom bench append`: commands a second through the whole command path, beside pgbench
//! inserting the same rows and stock postgres-es, on one durable server in one run.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use cqrs_es::{CqrsFramework, persist::PersistedEventStore};
use postgres_es::PostgresEventRepository;
use sqlx::{PgPool, Row, postgres::PgPoolOptions};
use tokio::process::Command;
use toolroom_domain::{Actor, JobId, job::Job};
use toolroom_eventlog::{embedded::Server, ids};

use super::{
    Bench, CLIENTS, SECONDS,
    load::{Rate, rate},
    log::{self, Log, WORKSPACE},
    report::{Report, exact, whole},
};
use crate::cli::output;

/// As many as a server has for requests; more make a small machine slower.
const STOCK_CONNECTIONS: u32 = 10;

/// Connections beside pgbench's: three pools and whoever looks on.
const OTHER_CONNECTIONS: u16 = 40;

/// The embedded server's own `max_connections`.
const SERVER_CONNECTIONS: u16 = 100;

#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// How long each of the three is measured with each number of clients.
    #[arg(long, value_name = "N", default_value_t = Self::default().seconds,
        value_parser = clap::value_parser!(u64).range(SECONDS))]
    pub seconds: u64,
    /// How many clients at once, one number after the other.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = Self::default().clients,
        value_parser = clap::value_parser!(u16).range(CLIENTS))]
    pub clients: Vec<u16>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            seconds: 10,
            clients: vec![1, 16, 32, 64],
        }
    }
}

/// Measures, and reports.
///
/// # Errors
/// When one of the three cannot be measured.
pub async fn run(bench: &mut Bench<'_>, arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { seconds, clients } = arguments;
    let numbers: Vec<_> = clients.iter().map(u16::to_string).collect();
    bench.report.heading(
        "Appending, through the whole command path",
        format_args!("append --seconds {seconds} --clients {}", numbers.join(",")),
    );
    bench.report.note(
        "A command is loaded, handled, appended and durable; pgbench inserts the same event row \
         into the same table, prepared, one row a transaction; \"stock\" is `CqrsFramework` over \
         postgres-es with its own table.",
    );
    let most = clients.iter().max().copied().unwrap_or(1) + OTHER_CONNECTIONS;
    let settings = match most > SERVER_CONNECTIONS {
        true => vec![("max_connections".to_owned(), most.to_string())],
        false => Vec::new(),
    };
    let measure =
        async |server: &Server, report: &mut Report| measure(server, report, arguments).await;
    bench.on_private_server(0, settings, measure).await
}

async fn measure(
    server: &Server,
    report: &mut Report,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let time = Duration::from_secs(arguments.seconds);
    let log = Log::start(server, false).await?;
    let stock = Stock::prepare(server, &log.owner).await?;
    let pgbench = Pgbench::find(server);
    report.table(&[
        "clients",
        "toolroom/s",
        "p50 ms",
        "p99 ms",
        "pgbench/s",
        "stock/s",
        "of pgbench",
        "of stock",
    ]);
    for &clients in &arguments.clients {
        output::status(format_args!("append: {clients} clients, toolroom"));
        let bus = log.log.bus.clone();
        let ours = rate(clients, time, move || {
            let bus = bus.clone();
            async move { log::append(&bus).await }
        })
        .await?;
        output::status(format_args!("append: {clients} clients, pgbench"));
        let floor = match &pgbench {
            Some(pgbench) => Some(pgbench.rate(clients, time, &log.owner).await?),
            None => None,
        };
        output::status(format_args!("append: {clients} clients, stock postgres-es"));
        let stock = stock.rate(clients, time).await?;
        report.row(&[
            clients.to_string(),
            whole(ours.per_second),
            exact(ours.p50_ms),
            exact(ours.p99_ms),
            floor.map_or("no pgbench".to_owned(), whole),
            whole(stock.per_second),
            floor.map_or("–".to_owned(), |floor| exact(ours.per_second / floor)),
            exact(ours.per_second / stock.per_second),
        ]);
    }
    if pgbench.is_none() {
        report.note(format_args!(
            "There is no pgbench in {}: it comes with PostgreSQL's server or its `contrib` package.",
            server.bin_dir().display()
        ));
    }
    stock.pool.close().await;
    log.finish().await;
    Ok(())
}

/// PostgreSQL's own load generator: what its disk and processor can do at all.
struct Pgbench<'a> {
    server: &'a Server,
}

impl<'a> Pgbench<'a> {
    /// None where the server's programs come without it.
    fn find(server: &'a Server) -> Option<Self> {
        let program = server.bin_dir().join("pgbench");
        program.is_file().then_some(Self { server })
    }

    /// Rows inserted a second, each in a transaction of its own.
    async fn rate(&self, clients: u16, time: Duration, owner: &PgPool) -> anyhow::Result<f64> {
        let script = self.server.data_dir().join("insert.sql");
        std::fs::write(&script, insert(owner).await?)
            .with_context(|| format!("{} cannot be written", script.display()))?;
        let options = self.server.connect_options();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let output = Command::new(self.server.bin_dir().join("pgbench"))
            .args(["--no-vacuum", "--protocol=prepared"])
            .arg(format!("--jobs={threads}"))
            .arg(format!("--client={clients}"))
            .arg(format!("--time={}", time.as_secs()))
            .arg("--file")
            .arg(&script)
            .arg("--host")
            .arg(options.get_socket().context("the server has a socket")?)
            .arg(format!("--port={}", options.get_port()))
            .args(["--username", options.get_username()])
            .arg(options.get_database().unwrap_or_default())
            .stdin(Stdio::null())
            // A terminal's interrupt is for us, who end it then.
            .process_group(0)
            .kill_on_drop(true)
            .output()
            .await
            .context("pgbench cannot be run")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let rate = text
            .lines()
            .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        match rate {
            Some(rate) if output.status.success() => Ok(rate),
            _ => bail!(
                "pgbench failed with {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            ),
        }
    }
}

/// The insert of an event as it lies in the table, with a random id.
async fn insert(owner: &PgPool) -> anyhow::Result<String> {
    let row = sqlx::query("select payload::text as p, metadata::text as m from events limit 1")
        .fetch_one(owner)
        .await?;
    // A colon before a letter or a digit would name a variable of pgbench.
    let literal = |json: String| json.replace(':', ": ").replace('\'', "''");
    Ok(format!(
        "\\set a random(1, 9000000000000000000)\n\\set b random(1, 9000000000000000000)\n\
         insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)\n\
         values ('job', 'job_' || :a::text || '_' || :b::text, 1, 'JobRequested', '1.0', '{}'::json, '{}'::json);\n",
        literal(row.try_get("p")?),
        literal(row.try_get("m")?)
    ))
}

/// postgres-es as it comes, with its own table.
struct Stock {
    pool: PgPool,
}

impl Stock {
    async fn prepare(server: &Server, owner: &PgPool) -> anyhow::Result<Self> {
        sqlx::raw_sql(
            "create table stock_events (
                 aggregate_type text not null, aggregate_id text not null,
                 sequence bigint check (sequence >= 0) not null,
                 event_type text not null, event_version text not null,
                 payload json not null, metadata json not null,
                 primary key (aggregate_type, aggregate_id, sequence))",
        )
        .execute(owner)
        .await?;
        let pool = PgPoolOptions::new()
            .max_connections(STOCK_CONNECTIONS)
            .connect_with(server.connect_options())
            .await?;
        Ok(Self { pool })
    }

    async fn rate(&self, clients: u16, time: Duration) -> anyhow::Result<Rate> {
        let repository = PostgresEventRepository::new(self.pool.clone())
            .with_tables("stock_events", "stock_snapshots");
        let store =
            PersistedEventStore::<PostgresEventRepository, Job>::new_event_store(repository);
        let framework = Arc::new(CqrsFramework::new(store, Vec::new(), ()));
        rate(clients, time, move || {
            let framework = Arc::clone(&framework);
            async move {
                let id = JobId::from_uuid(ids::new_uuid());
                let metadata = [
                    ("workspace_id", WORKSPACE.to_string()),
                    ("actor", Actor::local_owner().to_string()),
                    ("command_id", ids::new_uuid().simple().to_string()),
                    ("correlation_id", ids::new_uuid().to_string()),
                ]
                .map(|(key, value)| (key.to_owned(), value));
                framework
                    .execute_with_metadata(&id.to_string(), log::request(id), metadata.into())
                    .await
                    .context("stock postgres-es refused a command")
            }
        })
        .await
    }
}
