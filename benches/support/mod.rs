//! What the benchmarks share: a started log on a durable server, and commands to send.

#![allow(dead_code, reason = "each benchmark uses its part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use toolroom_domain::{
    Actor, JobId, Sealed, ToolId, WorkspaceId,
    job::{Command, Request, ToolRef},
    tool::Kind,
};
use toolroom_eventlog::{
    CommandContext, Database, EventLog, ids,
    log::{Options, Tasks},
    testing::TestCluster,
    vault::MasterKey,
};

pub const WORKSPACE: WorkspaceId = WorkspaceId::DEFAULT;

pub fn request(id: JobId) -> Command {
    Command::Request(Box::new(Request {
        id,
        workspace: WORKSPACE,
        tool: ToolRef {
            id: ToolId::from_uuid(uuid::Uuid::from_u128(7)),
            version: 1,
            kind: Kind::Native,
        },
        action: None,
        input: Sealed {
            key: 1,
            data: "c2VhbGVk".repeat(10),
        },
        is_test: false,
        priority: 0,
        run_at: None,
        rerun_of: None,
        at: Timestamp::UNIX_EPOCH,
    }))
}

pub fn context() -> CommandContext {
    CommandContext {
        workspace: WORKSPACE,
        actor: Actor::local_owner(),
        named: None,
        correlation_id: ids::new_uuid().to_string(),
        causation_id: None,
        ip: None,
        user_agent: None,
    }
}

/// Runs `act` in so many loops for so long; returns how often a second it succeeded, and its
/// median and 99th percentile in milliseconds.
pub async fn rate<F, Fut>(clients: usize, time: Duration, act: F) -> (f64, f64, f64)
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    let act = Arc::new(act);
    let done = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let loops: Vec<_> = (0..clients)
        .map(|_| {
            let (act, done) = (Arc::clone(&act), Arc::clone(&done));
            tokio::spawn(async move {
                let mut taken = Vec::new();
                while begun.elapsed() < time {
                    let one = Instant::now();
                    act().await;
                    taken.push(one.elapsed());
                    done.fetch_add(1, Ordering::Relaxed);
                }
                taken
            })
        })
        .collect();
    let mut taken = Vec::new();
    for each in loops {
        taken.extend(each.await.expect("a client does not panic"));
    }
    let seconds = begun.elapsed().as_secs_f64();
    taken.sort_unstable();
    let ms = |q: f64| taken[((taken.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e3;
    (
        done.load(Ordering::Relaxed) as f64 / seconds,
        ms(0.5),
        ms(0.99),
    )
}

/// A durable server with an empty log, and the log started on it.
pub async fn start(options: Options) -> (TestCluster, PgPool, EventLog, Tasks, CancellationToken) {
    let cluster = TestCluster::start().await;
    let owner = PgPool::connect_with(cluster.connect_options())
        .await
        .expect("the server answers");
    toolroom_eventlog::migrate(&owner).await.expect("migrates");
    let shutdown = CancellationToken::new();
    let (log, tasks) = EventLog::start(
        Database::connect_lazy(cluster.connect_options()),
        MasterKey::from_base64(&format!("{}=", "A".repeat(43))).expect("a key"),
        options,
        &shutdown,
    )
    .await
    .expect("starts");
    (cluster, owner, log, tasks, shutdown)
}

/// The value after a flag of the command line.
pub fn argument(name: &str, default: &str) -> String {
    let mut arguments = std::env::args().skip_while(|a| a != name);
    arguments.nth(1).unwrap_or_else(|| default.to_owned())
}
