//! `toolroom bench run`: the hot path without HTTP and without read models. A native tool that does
//! nothing is requested, started, run and ended, both appends durable.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use toolroom_domain::{
    Actor, JobId, ToolId,
    port::{RunRequest, Runner as _},
    tool::{Definition, NativeConfig, PolicyOverrides, ToolConfig},
};
use toolroom_eventlog::{EventLog, SystemClock, embedded::Server, ids};
use toolroom_projections::queue::Queue;
use toolroom_worker::{
    Config, NodeRunner, Worker,
    connector::Connectors,
    executor::{self, EgressOptions, Executor},
};

use super::{
    Bench, CLIENTS, SECONDS,
    load::rate,
    log::{Log, WORKSPACE},
    report::{Report, exact, whole},
};
use crate::cli::output;

/// Far longer than doing nothing takes.
const WAIT: Duration = Duration::from_secs(30);

#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// How long it is measured with each number of clients.
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
            clients: vec![1, 32, 64],
        }
    }
}

/// Measures, and reports.
///
/// # Errors
/// When a run is refused or the server does not answer.
pub async fn run(bench: &mut Bench<'_>, arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { seconds, clients } = arguments;
    let numbers: Vec<_> = clients.iter().map(u16::to_string).collect();
    bench.report.heading(
        "Running a tool that does nothing, without HTTP and read models",
        format_args!("run --seconds {seconds} --clients {}", numbers.join(",")),
    );
    let measure =
        async |server: &Server, report: &mut Report| measure(server, report, arguments).await;
    bench.on_private_server(0, Vec::new(), measure).await
}

async fn measure(
    server: &Server,
    report: &mut Report,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let log = Log::start(server, true).await?;
    let runner = runner(&log.log)?;
    let definition = Arc::new(Definition {
        config: ToolConfig::Native(NativeConfig {
            function_path: "echo".to_owned(),
        }),
        input_schema: json!({"type": "object"}),
        output_schema: None,
        policy: PolicyOverrides::default(),
        requires_approval: false,
    });
    let tool = ToolId::from_uuid(ids::new_uuid());
    report.table(&["clients", "runs/s", "p50 ms", "p99 ms"]);
    for &clients in &arguments.clients {
        output::status(format_args!("run: {clients} clients"));
        let (runner, definition) = (runner.clone(), Arc::clone(&definition));
        let rate = rate(clients, Duration::from_secs(arguments.seconds), move || {
            let (runner, definition) = (runner.clone(), Arc::clone(&definition));
            async move {
                let run = runner.run(request(tool, definition), WAIT).await;
                run.context("a run was refused")?;
                Ok(())
            }
        })
        .await?;
        report.row(&[
            clients.to_string(),
            whole(rate.per_second),
            exact(rate.p50_ms),
            exact(rate.p99_ms),
        ]);
    }
    log.finish().await;
    Ok(())
}

fn runner(log: &EventLog) -> anyhow::Result<NodeRunner> {
    let clock = Arc::new(SystemClock);
    let executor = Executor::try_new(executor::Options {
        egress: EgressOptions::default(),
        env_secrets: Vec::new(),
        env: Arc::new(|_: &str| None),
        secrets: Arc::new(executor::NoSecrets),
        connectors: Arc::new(Connectors::built_in()?),
        clock: clock.clone(),
    })
    .context("the executor cannot be started")?;
    let config = Config {
        node: "bench".to_owned(),
        background: 1,
        foreground: usize::try_from(*CLIENTS.end())?,
        grace: WAIT,
    };
    let worker = Worker::new(log, Queue::default(), Arc::new(executor), clock, config);
    Ok(worker.runner(&CancellationToken::new()))
}

fn request(tool: ToolId, definition: Arc<Definition>) -> RunRequest {
    RunRequest {
        job: JobId::from_uuid(ids::new_uuid()),
        workspace: WORKSPACE,
        tool,
        version: 1,
        definition,
        action: None,
        input: json!({"a": 1}),
        is_test: false,
        priority: 0,
        actor: Actor::local_owner(),
        named: None,
        correlation_id: ids::new_uuid().to_string(),
        ip: None,
        user_agent: None,
    }
}
