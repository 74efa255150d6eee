//! `toolroom bench calls`: what the executor adds to a call to the outside, and how much memory a
//! thousand slow calls take.

mod echo;

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::echo::Echo;
use super::{
    Bench, CLIENTS, SECONDS,
    http::{
        client::{self, Client, Target},
        register,
        server::{Server, Setup, on_servers},
    },
    load::Rate,
    private::Folder,
    report::{Report, exact, whole},
};
use crate::cli::output;

/// How long each of the slow calls takes.
const SLOW: Duration = Duration::from_secs(5);

/// Within which all slow calls must have ended: they are all under way at once, or they would take
/// many times as long.
const SLOW_LIMIT: Duration = Duration::from_secs(60);

/// Between looks at the server's memory.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// How long each kind of call is made.
    #[arg(long, value_name = "N", default_value_t = Self::default().seconds,
        value_parser = clap::value_parser!(u64).range(SECONDS))]
    pub seconds: u64,
    /// How many connections make calls, each one after the other.
    #[arg(long, value_name = "N", default_value_t = Self::default().clients,
        value_parser = clap::value_parser!(u16).range(CLIENTS))]
    pub clients: u16,
    /// How many calls of five seconds are made at once; none with 0.
    #[arg(long, value_name = "N", default_value_t = Self::default().slow,
        value_parser = clap::value_parser!(u16).range(0..=5_000))]
    pub slow: u16,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            seconds: 20,
            clients: 16,
            slow: 1_000,
        }
    }
}

/// Measures, and reports. However it ends, the server is stopped and its folder removed.
///
/// # Errors
/// When the server does not start, or a connection to it breaks.
pub async fn run(bench: &mut Bench<'_>, arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments {
        seconds,
        clients,
        slow,
    } = arguments;
    bench.report.heading(
        "Calls to the outside",
        format_args!("calls --seconds {seconds} --clients {clients} --slow {slow}"),
    );
    bench.report.note(
        "An endpoint of this process gives back what is POSTed to it: called without Toolroom, and \
         as an external tool by `executeTool`, beside a tool that calls nothing. \"In the tool\" is \
         the job's `executionTimeMs`: it begins when the job has started and ends before its \
         outcome is appended.",
    );
    let folder = Folder::beside(&bench.config.data_dir, 0)?;
    let setup = Setup {
        data: "data",
        settings: vec![("TOOLROOM_EGRESS_ALLOW", "127.0.0.0/8".to_owned())],
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
    let echo = Echo::start(SLOW).await?;
    let mut client = Client::connect(&target).await?;
    register(&mut client, "inside").await?;
    for (name, path, key_header) in [
        ("outside", "/echo", None),
        ("keyed", "/echo", Some("Idempotency-Key")),
        ("slow", "/slow", None),
    ] {
        register_external(&mut client, name, &echo.url(path), key_header).await?;
    }
    overhead(&target, &echo, report, arguments).await?;
    if arguments.slow > 0 {
        slow(&target, server, report, arguments.slow).await?;
    }
    Ok(())
}

async fn overhead(
    target: &Target,
    echo: &Echo,
    report: &mut Report,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    report.table(&[
        "call",
        "calls/s",
        "p50 ms",
        "p99 ms",
        "in the tool p50 ms",
        "in the tool p99 ms",
    ]);
    let bare = Target::open(echo.address());
    let mut in_tool = Vec::new();
    for (name, target, body) in [
        (
            "the endpoint itself",
            &bare,
            Bytes::from_static(b"{\"a\":1}"),
        ),
        ("a tool that calls nothing", target, execute("inside")),
        ("the endpoint as a tool", target, execute("outside")),
        (
            "the same, where it takes an idempotency key",
            target,
            execute("keyed"),
        ),
    ] {
        output::status(format_args!("calls: {name}"));
        let seen = drive(target, &body, arguments).await?;
        let told = seen.in_tool.map(|rate| rate.p50_ms);
        let cell = |ms: Option<f64>| ms.map_or_else(String::new, exact);
        report.row(&[
            name.to_owned(),
            whole(seen.whole.per_second),
            exact(seen.whole.p50_ms),
            exact(seen.whole.p99_ms),
            cell(told),
            cell(seen.in_tool.map(|rate| rate.p99_ms)),
        ]);
        in_tool.push(told.unwrap_or(seen.whole.p50_ms));
    }
    if let [bare, _, called, keyed] = in_tool[..] {
        report.note(format_args!(
            "The executor adds {} ms to the endpoint's own p50; {} ms where the endpoint takes an \
             idempotency key, so that a call may leave before the log knows of it.",
            exact(called - bare),
            exact(keyed - bare)
        ));
    }
    Ok(())
}

fn execute(tool: &str) -> Bytes {
    let query = format!(
        "mutation {{ executeTool(toolName: \"{tool}\", input: {{a: 1}}) {{ status executionTimeMs }} }}"
    );
    client::body(&query, json!({}))
}

struct Seen {
    whole: Rate,
    in_tool: Option<Rate>,
}

async fn drive(target: &Target, body: &Bytes, arguments: &Arguments) -> anyhow::Result<Seen> {
    let begun = Instant::now();
    let until = begun + Duration::from_secs(arguments.seconds);
    let mut loops = JoinSet::new();
    for _ in 0..arguments.clients {
        let (target, body) = (target.clone(), body.clone());
        loops.spawn(async move {
            let mut client = Client::connect(&target).await?;
            let (mut taken, mut in_tool) = (Vec::new(), Vec::new());
            while Instant::now() < until {
                let sent = Instant::now();
                let response = client.post(body.clone()).await?;
                taken.push(sent.elapsed());
                let answer: Value = serde_json::from_slice(response.body())?;
                let job = &answer["data"]["executeTool"];
                if let Some(ms) = job["executionTimeMs"].as_f64() {
                    in_tool.push(Duration::from_secs_f64(ms / 1e3));
                    if job["status"] != "COMPLETED" {
                        bail!("a call did not succeed: {answer}");
                    }
                }
            }
            anyhow::Ok((taken, in_tool))
        });
    }
    let (mut taken, mut in_tool) = (Vec::new(), Vec::new());
    while let Some(ended) = loops.join_next().await {
        let (more, told) = ended.context("a client died")??;
        taken.extend(more);
        in_tool.extend(told);
    }
    let elapsed = begun.elapsed();
    Ok(Seen {
        whole: Rate::of(taken, elapsed)?,
        in_tool: Rate::of(in_tool, elapsed).ok(),
    })
}

/// All calls at once; the server's memory is looked at meanwhile.
async fn slow(
    target: &Target,
    server: &Server,
    report: &mut Report,
    calls: u16,
) -> anyhow::Result<()> {
    output::status(format_args!("calls: {calls} slow ones at once"));
    let before = server.resident_mib()?;
    let begun = Instant::now();
    let mut made = JoinSet::new();
    for _ in 0..calls {
        let target = target.clone();
        made.spawn(async move {
            let mut client = Client::connect(&target).await?;
            let response = client.post(execute("slow")).await?;
            let answer: Value = serde_json::from_slice(response.body())?;
            anyhow::Ok(answer["data"]["executeTool"]["status"] == "COMPLETED")
        });
    }
    let (mut succeeded, mut highest) = (0, before);
    loop {
        tokio::select! {
            ended = made.join_next() => match ended {
                Some(ended) => succeeded += u32::from(ended.context("a client died")??),
                None => break,
            },
            () = tokio::time::sleep(LOOK_INTERVAL) => {
                highest = highest.max(server.resident_mib()?);
                if begun.elapsed() > SLOW_LIMIT {
                    bail!("{} slow calls have not ended after {} s", made.len(), SLOW_LIMIT.as_secs());
                }
            }
        }
    }
    report.table(&[
        "calls of 5 s at once",
        "succeeded",
        "all ended after, s",
        "memory before, MiB",
        "memory at its peak, MiB",
    ]);
    report.row(&[
        calls.to_string(),
        succeeded.to_string(),
        exact(begun.elapsed().as_secs_f64()),
        whole(before),
        whole(highest),
    ]);
    Ok(())
}

async fn register_external(
    client: &mut Client,
    name: &str,
    url: &str,
    key_header: Option<&str>,
) -> anyhow::Result<()> {
    let query = "mutation($i: RegisterToolInput!) { registerTool(input: $i) { id } }";
    let input = json!({
        "name": name,
        "description": "gives back what it is given",
        "external": {
            "endpointUrl": url,
            "inputSchema": {"type": "object"},
            "idempotencyHeader": key_header,
        },
    });
    client.ask(query, json!({"i": input})).await?;
    Ok(())
}
