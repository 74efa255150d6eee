#![allow(
    missing_docs,
    clippy::print_stdout,
    reason = "a program, not a library"
)]

//! The hot path without HTTP: a native tool that does nothing, requested, started, run and ended,
//! both appends durable.
//!
//! ```text
//! cargo bench --bench run -- [--seconds 10] [--clients 1,32,64]
//! ```

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use toolroom_domain::{
    Actor, JobId, ToolId,
    port::{RunRequest, Runner as _},
    tool::{Definition, NativeConfig, PolicyOverrides, ToolConfig},
};
use toolroom_eventlog::{SystemClock, ids, log::Options};
use toolroom_projections::queue::Queue;
use toolroom_worker::{
    Config, Worker,
    executor::{self, EgressOptions, Executor},
};

mod support;
use support::{WORKSPACE, argument, rate, start};

#[tokio::main]
async fn main() {
    let time = Duration::from_secs(argument("--seconds", "10").parse().expect("seconds"));
    let (_cluster, _owner, log, tasks, shutdown) = start(Options::default()).await;
    let clock = Arc::new(SystemClock);
    let executor = Executor::try_new(executor::Options {
        egress: EgressOptions::default(),
        env_secrets: Vec::new(),
        env: Arc::new(|_: &str| None),
        clock: clock.clone(),
    })
    .expect("an executor");
    let config = Config {
        node: "bench".to_owned(),
        background: 64,
        foreground: 1_000,
        grace: Duration::from_secs(1),
    };
    let worker = Worker::new(&log, Queue::default(), Arc::new(executor), clock, config);
    let runner = worker.runner();
    let definition = Arc::new(Definition {
        config: ToolConfig::Native(NativeConfig {
            function_path: "echo".to_owned(),
        }),
        input_schema: json!({"type": "object"}),
        output_schema: None,
        policy: PolicyOverrides::default(),
        requires_approval: false,
    });
    println!("| clients | runs/s | p50 ms | p99 ms |");
    println!("|---|---|---|---|");
    for clients in argument("--clients", "1,32,64").split(',') {
        let clients = clients.parse().expect("a number of clients");
        let (runner, definition) = (runner.clone(), Arc::clone(&definition));
        let (rate, p50, p99) = rate(clients, time, move || {
            let (runner, definition) = (runner.clone(), Arc::clone(&definition));
            async move {
                let request = RunRequest {
                    job: JobId::from_uuid(ids::new_uuid()),
                    workspace: WORKSPACE,
                    tool: ToolId::from_uuid(uuid::Uuid::from_u128(7)),
                    version: 1,
                    definition,
                    action: None,
                    input: json!({"a": 1}),
                    is_test: false,
                    actor: Actor::local_owner(),
                    named: None,
                    correlation_id: ids::new_uuid().to_string(),
                    ip: None,
                    user_agent: None,
                };
                runner
                    .run(request, Duration::from_secs(30))
                    .await
                    .expect("runs");
            }
        })
        .await;
        println!("| {clients} | {rate:.0} | {p50:.2} | {p99:.2} |");
    }
    shutdown.cancel();
    tasks.finish().await;
}
