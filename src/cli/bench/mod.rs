//! `toolroom bench`: measure this machine and this disk, with the binary that shall run on them.
//!
//! Every benchmark works on a private, durable PostgreSQL in a folder beside the data folder, which
//! goes with it; see `docs/decisions/0055-benchmarks-in-the-binary.md`.

mod append;
mod auth;
mod calls;
mod depth;
mod http;
mod jobs;
mod load;
mod log;
mod machine;
mod private;
mod read_models;
mod report;
mod run;

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use toolroom_eventlog::embedded::{self, Server};

use self::{private::Folder, report::Report};
use super::output;
use crate::{config::Config, lifecycle::signals::Signals};

/// The clients that a benchmark may have: beyond, it measures the scheduler.
const CLIENTS: std::ops::RangeInclusive<i64> = 1..=500;

/// The seconds that one measurement may take: up to a day.
const SECONDS: std::ops::RangeInclusive<u64> = 1..=86_400;

#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    which: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// Durable commands a second, beside pgbench inserting the same rows and stock postgres-es.
    Append(append::Arguments),
    /// How long an append takes on a deep log, against an empty one.
    Depth(depth::Arguments),
    /// Runs a second of a tool that does nothing, without HTTP and read models.
    Run(run::Arguments),
    /// Requests a second over HTTP, and how far the read models fall behind.
    Http(http::Arguments),
    /// What the executor adds to a call to the outside, and what slow calls take.
    Calls(calls::Arguments),
    /// Jobs a second in the background, beside Graphile Worker and pg-boss.
    Jobs(jobs::Arguments),
    /// What credentials and row-level security cost, beside local mode.
    Auth(auth::Arguments),
    /// How fast a read model is rebuilt, and how soon it shows a command's effect.
    ReadModels(read_models::Arguments),
    /// All of them with their defaults, one after the other: about twenty-five minutes.
    All,
}

/// What a benchmark works with.
struct Bench<'a> {
    config: &'a Config,
    signals: Signals,
    report: Report,
}

/// Prints what was measured as Markdown, each benchmark's part when it has ended.
///
/// # Errors
/// When a benchmark cannot be carried out, or was stopped by a signal; what it measured until then
/// is printed.
pub async fn run(config: &Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    if config.database_url.is_some() {
        output::say(
            "`database_url` is set and left alone: benchmarks use a PostgreSQL of their own",
        );
    }
    let mut bench = Bench {
        config,
        signals: Signals::install()?,
        report: Report::default(),
    };
    bench.report.note(machine::describe(config)?);
    match arguments.which {
        Benchmark::All => {
            for each in all() {
                bench.carry_out(each).await?;
            }
        }
        one => bench.carry_out(one).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn all() -> [Benchmark; 8] {
    [
        Benchmark::Append(append::Arguments::default()),
        Benchmark::Depth(depth::Arguments::default()),
        Benchmark::Run(run::Arguments::default()),
        Benchmark::Http(http::Arguments::default()),
        Benchmark::Calls(calls::Arguments::default()),
        Benchmark::Jobs(jobs::Arguments::default()),
        Benchmark::Auth(auth::Arguments::default()),
        Benchmark::ReadModels(read_models::Arguments::default()),
    ]
}

impl Bench<'_> {
    async fn carry_out(&mut self, benchmark: Benchmark) -> anyhow::Result<()> {
        let done = match benchmark {
            Benchmark::Append(arguments) => append::run(self, &arguments).await,
            Benchmark::Depth(arguments) => depth::run(self, &arguments).await,
            Benchmark::Run(arguments) => run::run(self, &arguments).await,
            Benchmark::Http(arguments) => http::run(self, &arguments).await,
            Benchmark::Calls(arguments) => calls::run(self, &arguments).await,
            Benchmark::Jobs(arguments) => jobs::run(self, &arguments).await,
            Benchmark::Auth(arguments) => auth::run(self, &arguments).await,
            Benchmark::ReadModels(arguments) => read_models::run(self, &arguments).await,
            Benchmark::All => bail!("`all` is none of the benchmarks that it stands for"),
        };
        output::progress_done();
        self.report.print()?;
        done
    }

    /// Measures on a private server, where `disk_bytes` are free for what the measurement lays into
    /// the log beforehand, with `settings` of PostgreSQL beyond those that the embedded server
    /// always has. However it ends, the server is stopped and its folder removed.
    async fn on_private_server(
        &mut self,
        disk_bytes: u64,
        settings: Vec<(String, String)>,
        measure: impl AsyncFnOnce(&Server, &mut Report) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let folder = Folder::beside(&self.config.data_dir, disk_bytes)?;
        // Not interrupted, since a server that is half started cannot be stopped in order; a
        // signal is kept until it runs.
        let server = embedded::start(embedded::Options {
            data_dir: folder.data(),
            bin_dir: self.config.pg_bin.clone(),
            settings,
        })
        .await?;
        folder.announce();
        let measured = tokio::select! {
            measured = measure(&server, &mut self.report) => measured,
            signal = self.signals.stop() => Err(stopped_by(signal)),
            error = folder.fills_disk() => Err(error),
        };
        let stopped = server.stop().await;
        let removed = folder.remove();
        measured?;
        stopped?;
        removed
    }
}

fn stopped_by(signal: &str) -> anyhow::Error {
    anyhow::anyhow!("stopped by {signal}")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        which: Benchmark,
    }

    fn parse(line: &str) -> Result<Benchmark, clap::Error> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.which)
    }

    #[test]
    fn what_is_left_out_is_what_all_measures() {
        for each in all() {
            let name = match &each {
                Benchmark::Append(_) => "append",
                Benchmark::Depth(_) => "depth",
                Benchmark::Run(_) => "run",
                Benchmark::Http(_) => "http",
                Benchmark::Calls(_) => "calls",
                Benchmark::Jobs(_) => "jobs",
                Benchmark::Auth(_) => "auth",
                Benchmark::ReadModels(_) => "read-models",
                Benchmark::All => unreachable!("not one of its own parts"),
            };
            let parsed = parse(name).unwrap();
            assert_eq!(format!("{parsed:?}"), format!("{each:?}"));
        }
        assert!(matches!(parse("all"), Ok(Benchmark::All)));
    }

    #[test]
    fn clients_are_a_list_and_times_are_seconds() {
        let Ok(Benchmark::Append(append)) = parse("append --clients 1,8,200 --seconds 3") else {
            panic!("is understood");
        };
        assert_eq!((append.clients, append.seconds), (vec![1, 8, 200], 3));
        let Ok(Benchmark::Http(http)) = parse("http --clients 64 --seconds 1") else {
            panic!("is understood");
        };
        assert_eq!((http.clients, http.seconds), (64, 1));
        let Ok(Benchmark::Auth(auth)) = parse("auth --rounds 3 --jobs 50") else {
            panic!("is understood");
        };
        assert_eq!((auth.rounds, auth.jobs, auth.clients), (3, 50, 32));
        let Ok(Benchmark::Depth(depth)) = parse("depth --events 1000") else {
            panic!("is understood");
        };
        assert_eq!(depth.events, 1_000);
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        for line in [
            "",
            "append --seconds 0",
            "append --clients 0",
            "append --clients 1,501",
            "append --clients 1,,2",
            "http --clients 1,2",
            "auth --rounds 0",
            "depth --events 0",
            "read-models --events 999",
            "all --seconds 1",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
