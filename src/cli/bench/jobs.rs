//! `toolroom bench jobs`: jobs a second in the background, from their submission over HTTP to the
//! count of their end in a read model; beside Graphile Worker and pg-boss on the same PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::json;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::{
    Bench, CLIENTS, SECONDS,
    http::{
        behind,
        client::{self, Client, Target},
        register,
        server::{Server, Setup, on_servers},
    },
    private::Folder,
    report::{Report, whole},
};
use crate::cli::output;

/// Jobs that may have been submitted and not ended: what the rivals' load leaves waiting too.
const OUTSTANDING: u64 = 5_000;

/// Between looks at how many have ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Before a loop that has submitted enough looks again.
const PAUSE: Duration = Duration::from_millis(1);

/// Before the next is measured: the last one's buffers are written out.
const REST: Duration = Duration::from_secs(5);

/// The other queues: a script each, in the folder that `--rivals` names.
const RIVALS: [(&str, &str); 2] = [
    ("Graphile Worker", "graphile-worker.mjs"),
    ("pg-boss", "pg-boss.mjs"),
];

/// How many runs have ended, of all tools and in all hours.
const ENDED: &str = "{ stats(period: MONTH, groupBy: STATUS) { runs } }";

#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// How long each is measured.
    #[arg(long, value_name = "N", default_value_t = Self::default().seconds,
        value_parser = clap::value_parser!(u64).range(SECONDS))]
    pub seconds: u64,
    /// How many connections submit, each one request after the other.
    #[arg(long, value_name = "N", default_value_t = Self::default().clients,
        value_parser = clap::value_parser!(u16).range(CLIENTS))]
    pub clients: u16,
    /// How many jobs a request submits, one number after the other.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = Self::default().batch,
        value_parser = clap::value_parser!(u16).range(1..=500))]
    pub batch: Vec<u16>,
    /// The folder `benches/queues` of the sources, after `npm ci` in it: then Graphile Worker and
    /// pg-boss are measured too.
    #[arg(long, value_name = "FOLDER")]
    pub rivals: Option<PathBuf>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            seconds: 60,
            clients: 32,
            batch: vec![1, 50],
            rivals: None,
        }
    }
}

/// Measures, and reports. However it ends, the server is stopped and its folder removed.
///
/// # Errors
/// When the server does not start, a connection to it breaks, or a rival cannot be run.
pub async fn run(bench: &mut Bench<'_>, arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments {
        seconds, clients, ..
    } = arguments;
    let batches: Vec<_> = arguments.batch.iter().map(u16::to_string).collect();
    bench.report.heading(
        "Jobs in the background",
        format_args!(
            "jobs --seconds {seconds} --clients {clients} --batch {}",
            batches.join(",")
        ),
    );
    bench.report.note(
        "A tool that does nothing is submitted over HTTP to this program in a process of its own, \
         run in the background, and counted when the statistics show its end. The other queues \
         submit and work in one process of Node.js, on databases of the same PostgreSQL, one after \
         the other.",
    );
    let folder = Folder::beside(&bench.config.data_dir, 0)?;
    let setup = Setup {
        data: "data",
        settings: Vec::new(),
    };
    let measure = async |folder: &Folder, [server]: &[Server; 1], report: &mut Report| {
        measure(folder, server, report, arguments).await
    };
    on_servers(bench, folder, [setup], measure).await
}

async fn measure(
    folder: &Folder,
    server: &Server,
    report: &mut Report,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let target = Target::open(server.address()?);
    register(&mut Client::connect(&target).await?, "noop").await?;
    report.table(&[
        "queue",
        "jobs a request",
        "jobs/s",
        "of them",
        "level after, s",
        "slowest follower",
        "memory, MiB",
    ]);
    for &batch in &arguments.batch {
        output::status(format_args!("jobs: toolroom, {batch} a request"));
        let ours = ours(&target, arguments, batch).await?;
        let left = behind::watch(
            &mut Client::connect(&target).await?,
            &format!("jobs-{batch}"),
        )
        .await?;
        let slowest = left.iter().max_by_key(|follower| follower.level_after);
        report.row(&[
            "Toolroom".to_owned(),
            batch.to_string(),
            whole(ours),
            "1.00".to_owned(),
            slowest.map_or_else(String::new, |f| {
                format!("{:.2}", f.level_after.as_secs_f64())
            }),
            slowest.map_or_else(String::new, |f| format!("{} ({})", f.name, f.events)),
            whole(server.resident_mib()?),
        ]);
        let Some(scripts) = &arguments.rivals else {
            continue;
        };
        for (name, script) in RIVALS {
            tokio::time::sleep(REST).await;
            output::status(format_args!("jobs: {name}, {batch} a request"));
            let theirs = rival(folder, scripts, script, arguments, batch).await?;
            report.row(&[
                name.to_owned(),
                batch.to_string(),
                whole(theirs),
                format!("{:.2}", ours / theirs),
                String::new(),
                String::new(),
                String::new(),
            ]);
        }
        tokio::time::sleep(REST).await;
    }
    Ok(())
}

/// Jobs a second of this program: those whose end the statistics showed when the time was over.
async fn ours(target: &Target, arguments: &Arguments, batch: u16) -> anyhow::Result<f64> {
    let mut watching = Client::connect(target).await?;
    let before = ended(&mut watching).await?;
    let counts = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let begun = Instant::now();
    let until = begun + Duration::from_secs(arguments.seconds);
    let mut loops = JoinSet::new();
    for _ in 0..arguments.clients {
        loops.spawn(submit(target.clone(), batch, Arc::clone(&counts), until));
    }
    while Instant::now() < until {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let now = ended(&mut watching).await?;
        counts.1.store(now - before, Ordering::Relaxed);
    }
    let finished = ended(&mut watching).await? - before;
    let elapsed = begun.elapsed().as_secs_f64();
    while let Some(done) = loops.join_next().await {
        done.context("a client died")??;
    }
    Ok(finished as f64 / elapsed)
}

async fn submit(
    target: Target,
    batch: u16,
    counts: Arc<(AtomicU64, AtomicU64)>,
    until: Instant,
) -> anyhow::Result<()> {
    let mut client = Client::connect(&target).await?;
    let body = if batch == 1 {
        client::body(
            "mutation { submitJob(toolName: \"noop\", input: {a: 1}) { id } }",
            json!({}),
        )
    } else {
        let jobs = vec![json!({"toolName": "noop", "input": {"a": 1}}); usize::from(batch)];
        client::body(
            "mutation($jobs: [SubmitJobInput!]!) { submitJobs(jobs: $jobs) { id } }",
            json!({ "jobs": jobs }),
        )
    };
    while Instant::now() < until {
        let (submitted, finished) = (&counts.0, &counts.1);
        let open = submitted
            .load(Ordering::Relaxed)
            .saturating_sub(finished.load(Ordering::Relaxed));
        if open > OUTSTANDING {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        submitted.fetch_add(u64::from(batch), Ordering::Relaxed);
        let response = client.post(body.clone()).await?;
        if client::is_refused(&response) {
            bail!(
                "the server refused a submission: {}",
                String::from_utf8_lossy(response.body())
            );
        }
    }
    Ok(())
}

async fn ended(client: &mut Client) -> anyhow::Result<u64> {
    let answer = client.ask(ENDED, json!({})).await?;
    let buckets = answer.data["stats"].as_array();
    let runs = buckets.into_iter().flatten();
    Ok(runs.filter_map(|bucket| bucket["runs"].as_u64()).sum())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    jobs_per_second: f64,
}

async fn rival(
    folder: &Folder,
    scripts: &Path,
    script: &str,
    arguments: &Arguments,
    batch: u16,
) -> anyhow::Result<f64> {
    let socket = folder.path().join("data").join("run");
    let database = format!(
        "{}_{batch}",
        script.trim_end_matches(".mjs").replace('-', "_")
    );
    let create = Command::new(scripts.join("node_modules/.bin/node"))
        .args(["create.mjs", &database])
        .current_dir(scripts)
        .env("PGHOST", &socket)
        .env("PGUSER", "toolroom")
        .status()
        .await
        .context("node cannot be run; run `npm ci` in the folder that --rivals names")?;
    if !create.success() {
        bail!("the database `{database}` could not be made");
    }
    let told = Command::new(scripts.join("node_modules/.bin/node"))
        .arg(script)
        .args([
            arguments.seconds.to_string(),
            arguments.clients.to_string(),
            batch.to_string(),
        ])
        .current_dir(scripts)
        .env("PGHOST", &socket)
        .env("PGUSER", "toolroom")
        .env("PGDATABASE", &database)
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    let line = String::from_utf8_lossy(&told.stdout);
    let told: Told = serde_json::from_str(line.trim())
        .with_context(|| format!("`{script}` did not tell what it measured: {line}"))?;
    Ok(told.jobs_per_second)
}
