//! `toolroom bench http`: requests a second over HTTP against this very program as a server, and
//! how far its read models fall behind under them.

pub mod behind;
pub mod client;
pub mod load;
pub mod server;

use std::time::Duration;

use serde_json::json;

use self::{
    client::{Client, Target},
    server::{Server, Setup, on_servers},
};
use super::{
    Bench, CLIENTS, SECONDS,
    private::Folder,
    report::{Report, exact, whole},
};
use crate::cli::output;

/// Tools to list, a few more than a page has rows.
const TOOLS: usize = 25;

/// The hot path: a tool that does nothing.
pub const EXECUTE: &str =
    r#"mutation { executeTool(toolName: "echo", input: {a: 1}) { id status output } }"#;

/// A page with four fields a row.
pub const LIST: &str = "{ tools(first: 20) { nodes { id name version description } } }";

#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// How long each kind of request is sent.
    #[arg(long, value_name = "N", default_value_t = Self::default().seconds,
        value_parser = clap::value_parser!(u64).range(SECONDS))]
    pub seconds: u64,
    /// How many connections send requests, each one after the other.
    #[arg(long, value_name = "N", default_value_t = Self::default().clients,
        value_parser = clap::value_parser!(u16).range(CLIENTS))]
    pub clients: u16,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            seconds: 60,
            clients: 32,
        }
    }
}

/// Measures, and reports. However it ends, the server is stopped and its folder removed.
///
/// # Errors
/// When the server does not start, or a connection to it breaks.
pub async fn run(bench: &mut Bench<'_>, arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { seconds, clients } = arguments;
    bench.report.heading(
        "Over HTTP",
        format_args!("http --seconds {seconds} --clients {clients}"),
    );
    bench.report.note(
        "The server is this program in a process of its own, with default settings and the \
         embedded, durable PostgreSQL; the load comes from two threads of another process on the \
         same machine.",
    );
    let folder = Folder::beside(&bench.config.data_dir, 0)?;
    let setup = Setup {
        data: "data",
        settings: Vec::new(),
    };
    let measure = async |_: &Folder, [server]: &[Server; 1], report: &mut Report| {
        measure(server, report, arguments).await
    };
    on_servers(bench, folder, [setup], measure).await
}

async fn measure(
    server: &Server,
    report: &mut Report,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let target = Target::open(server.address()?);
    let mut client = Client::connect(&target).await?;
    register(&mut client, "echo").await?;
    for number in 1..=TOOLS {
        register(&mut client, &format!("tool{number}")).await?;
    }
    let time = Duration::from_secs(arguments.seconds);
    report.table(&[
        "request",
        "clients",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "refused",
        "generator's CPU, s",
        "server's memory, MiB",
    ]);
    let mut behind = Vec::new();
    for (name, query) in [
        ("`executeTool`, a native tool that does nothing", EXECUTE),
        ("`tools(first: 20)`, four fields", LIST),
    ] {
        output::status(format_args!("http: {name}"));
        let load = load::drive(&target, query, arguments.clients, time).await?;
        report.row(&[
            name.to_owned(),
            arguments.clients.to_string(),
            whole(load.rate.per_second),
            exact(load.rate.p50_ms),
            exact(load.rate.p99_ms),
            load.refused.to_string(),
            exact(load.cpu.as_secs_f64()),
            whole(server.resident_mib()?),
        ]);
        if query == EXECUTE {
            output::status("http: waiting for the read models");
            // The first connection lay idle meanwhile, which the server bounds.
            let mut client = Client::connect(&target).await?;
            behind = behind::watch(&mut client, "the-load").await?;
        }
    }
    report.note("At the end of the executions:");
    report.table(&["follower", "events behind", "level after, s"]);
    for follower in behind {
        report.row(&[
            follower.name,
            whole(follower.events as f64),
            exact(follower.level_after.as_secs_f64()),
        ]);
    }
    Ok(())
}

/// Registers a tool that gives its input back; says at which position of the log, if it has its
/// place already.
pub async fn register(client: &mut Client, name: &str) -> anyhow::Result<Option<i64>> {
    let query = "mutation($i: RegisterToolInput!) { registerTool(input: $i) { id } }";
    let input = json!({
        "name": name,
        "description": "gives back what it is given",
        "native": {"functionPath": "echo"},
    });
    let answer = client.ask(query, json!({"i": input})).await?;
    Ok(answer.position)
}
