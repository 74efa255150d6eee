//! A log without a server, and rows in its queue.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use toolroom_domain::{
    Clock, ErrorCategory, ErrorCode, JobId, ToolId, WorkspaceId,
    tool::{Command, Definition, Details, NativeConfig, PolicyOverrides, Tool, ToolConfig},
};
use toolroom_eventlog::{
    CommandContext, Database, EventLog, SystemClock,
    command::Target,
    log::{Options, Tasks},
    testing::TestDatabase,
    vault::MasterKey,
};
use toolroom_projections::queue::Queue;
use toolroom_worker::gate::{Ask, Denied, Gate, Options as GateOptions, Pass, Rate, Settled};
use uuid::Uuid;

/// A clock that stands still until it is told otherwise.
#[derive(Clone)]
pub struct HandClock(Arc<Mutex<Timestamp>>);

impl HandClock {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(
            "2026-11-21T10:00:00Z".parse().unwrap(),
        )))
    }

    pub fn pass(&self, time: Duration) {
        let mut now = self.0.lock().unwrap();
        *now = now.checked_add(time).unwrap();
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// A node's gate, and what it told the jobs.
pub struct Node {
    /// Since when the jobs that it asks for wait.
    pub since: Option<Timestamp>,
    /// Whether it asks for calls by which somebody tries the tool.
    pub is_trial: bool,
    pub gate: Gate,
    pub told: Mutex<Vec<String>>,
}

impl Node {
    /// Asks for a call of a tool that may wait for so long.
    pub async fn ask(&self, n: u128, tool_type: &str, patience: Duration) -> Result<Pass, Denied> {
        let tell = |line| self.told.lock().unwrap().push(line);
        let ask = Ask {
            workspace: workspace(1),
            tool: tool(n),
            tool_type,
            since: self.since,
            is_trial: self.is_trial,
            timeout: Duration::from_secs(30),
            deadline: Instant::now() + patience,
            tell: &tell,
        };
        self.gate.admit(&ask).await
    }

    /// Asks for a call that may not wait.
    pub async fn ask_now(&self, n: u128) -> Result<Pass, Denied> {
        self.ask(n, "REST", Duration::ZERO).await
    }

    /// Makes a call that succeeds.
    pub async fn succeed(&self, n: u128) {
        let pass = self.ask_now(n).await.unwrap();
        pass.settle(Settled::default()).await;
    }

    /// Makes a call that fails by the fault of the other side.
    pub async fn fail(&self, n: u128) {
        let pass = self.ask_now(n).await.unwrap();
        pass.settle(failed(ErrorCategory::ServerError)).await;
    }

    pub fn lines(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

pub fn failed(category: ErrorCategory) -> Settled {
    Settled {
        failed: Some((ErrorCode::ToolFailed, category)),
        ..Settled::default()
    }
}

/// Rates that a test can wait for.
fn rate(tool_type: &str) -> Option<Rate> {
    (tool_type == "QUICK").then_some(Rate {
        requests: 5,
        window_ms: 400,
    })
}

/// A log, and a queue that nothing is written to but by the test.
pub struct Bench {
    pub log: EventLog,
    pub owner: PgPool,
    _tasks: Tasks,
    _followers: JoinSet<()>,
    _shutdown: CancellationToken,
    _database: TestDatabase,
}

impl Bench {
    pub async fn start() -> Self {
        let database = TestDatabase::create().await;
        let key = MasterKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
        let shutdown = CancellationToken::new();
        let connections = Database::connect_lazy(database.connect_options());
        let (log, tasks) = EventLog::start(connections, key, Options::default(), &shutdown)
            .await
            .unwrap();
        let config = toolroom_projections::Config {
            projections: vec![std::sync::Arc::new(Queue::default())],
            node: "test".to_owned(),
        };
        let (reader, followers) = toolroom_projections::start(&log, config, &shutdown);
        reader.prepare().await.unwrap();
        Self {
            log,
            owner: database.pool().await,
            _tasks: tasks,
            _followers: followers,
            _shutdown: shutdown,
            _database: database,
        }
    }

    /// A node of the same database, whose time is that of the database or of a clock in its place.
    pub fn node(&self, clock: Option<&HandClock>) -> Node {
        let options = GateOptions {
            foreground: 8,
            background: 8,
            rate: Arc::new(rate),
            clock: clock.map(|clock| Arc::new(clock.clone()) as Arc<dyn Clock>),
        };
        let pool = self.log.database.gate_pool().clone();
        let gate = Gate::new(self.log.bus.clone(), pool, Arc::new(SystemClock), options);
        Node {
            since: None,
            is_trial: false,
            gate,
            told: Mutex::default(),
        }
    }

    /// Registers a tool.
    pub async fn register(&self, n: u128) {
        let command = Command::Register {
            id: tool(n),
            workspace: workspace(1),
            number: 1,
            details: Details {
                name: format!("tool-{n}"),
                title: None,
                description: "fails".to_owned(),
                category: None,
                tags: Vec::new(),
            },
            definition: Box::new(Definition {
                config: ToolConfig::Native(NativeConfig {
                    function_path: "echo".to_owned(),
                }),
                input_schema: json!({"type": "object"}),
                output_schema: None,
                policy: PolicyOverrides::default(),
                requires_approval: false,
            }),
            at: SystemClock.now(),
        };
        let context = CommandContext::system(workspace(1), "test", "test".to_owned());
        let target = Target::<Tool>::New(tool(n).to_string());
        self.log
            .bus
            .execute(target, command, &context)
            .await
            .unwrap();
    }

    /// The events of a tool's circuit, once there are so many.
    pub async fn circuit_events(&self, n: u128, count: usize) -> Vec<String> {
        let patience = Instant::now() + Duration::from_secs(20);
        loop {
            let events: Vec<String> = sqlx::query_scalar(
                "select event_type from events
                 where aggregate_id = $1 and event_type like 'ToolCircuit%' order by sequence",
            )
            .bind(tool(n).to_string())
            .fetch_all(&self.owner)
            .await
            .unwrap();
            let untold: bool =
                sqlx::query_scalar("select exists (select from operational.gates where not told)")
                    .fetch_one(&self.owner)
                    .await
                    .unwrap();
            if events.len() >= count && !untold {
                return events;
            }
            assert!(Instant::now() < patience, "{events:?}");
            tokio::task::yield_now().await;
        }
    }

    /// Lays so many jobs into the queue, which are due.
    pub async fn queue(&self, workspace: u128, tool: u128, priority: i32, jobs: i64) {
        sqlx::query(
            "insert into projections.queue
                 (job_id, workspace_id, tool_id, position, priority, attempt, running)
             select 'job_' || md5(random()::text || i), $1, $2,
                    coalesce((select max(position) from projections.queue), 0) + i, $3, 0, false
             from generate_series(1, $4) i",
        )
        .bind(self::workspace(workspace).to_string())
        .bind(self::tool(tool).to_string())
        .bind(priority)
        .bind(jobs)
        .execute(&self.owner)
        .await
        .unwrap();
    }
}

pub fn workspace(n: u128) -> WorkspaceId {
    WorkspaceId::from_uuid(Uuid::from_u128(n))
}

pub fn tool(n: u128) -> ToolId {
    ToolId::from_uuid(Uuid::from_u128(n))
}

pub fn job(n: u128) -> JobId {
    JobId::from_uuid(Uuid::from_u128(n))
}
