//! Nodes on one database, each in a runtime of its own so that it can be killed, and a tool that
//! does what the test says.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use toolroom_domain::{
    Actor, Clock, ErrorCategory, JobId, ToolId, WorkspaceId,
    job::{self, Job, Request, ToolRef, seal_context},
    port::{RunOutcome, RunRequest, Runner as _},
    tool::{self, Definition, Details, NativeConfig, PolicyOverrides, Tool, ToolConfig},
};
use toolroom_eventlog::{
    CommandContext, Database, EventLog, SystemClock, command::Target, history, ids, log::Options,
    testing::TestDatabase, vault::MasterKey,
};
use toolroom_projections::{Projection, queue::Queue};
use toolroom_worker::{
    Config, NodeRunner, Worker,
    connector::Connectors,
    executor::{
        self, CallError, EgressOptions, Executor, NoSecrets,
        native::{Context, Registry},
    },
    worker::Handle,
};

/// Far more than anything here takes, so that a failure is told and not hung on.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const WORKSPACE: WorkspaceId = WorkspaceId::DEFAULT;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// What the tool does, by which call of it this is, from 1.
pub type Behaviour =
    Arc<dyn Fn(Context, u32) -> BoxFuture<'static, Result<Value, CallError>> + Send + Sync>;

/// A behaviour from an async function.
pub fn behaves<F, Fut>(act: F) -> Behaviour
where
    F: Fn(Context, u32) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, CallError>> + Send + 'static,
{
    Arc::new(move |context, call| Box::pin(act(context, call)))
}

/// What comes and goes, such as a server that is overloaded.
pub fn for_now() -> CallError {
    CallError::failed(ErrorCategory::RateLimit, "too many requests at once")
}

/// A clock that is wrong by so much, and may be set anew.
pub struct WrongClock(pub Mutex<SignedDuration>);

impl WrongClock {
    pub fn by(offset: SignedDuration) -> Arc<Self> {
        Arc::new(Self(Mutex::new(offset)))
    }
}

impl Clock for WrongClock {
    fn now(&self) -> Timestamp {
        SystemClock.now() + *self.0.lock().unwrap()
    }
}

/// A database, and a tool.
pub struct World {
    pub log: EventLog,
    pub owner: PgPool,
    pub tool: ToolId,
    pub definition: Arc<Definition>,
    pub calls: Arc<AtomicU32>,
    pub called: Arc<tokio::sync::Notify>,
    behaviour: Behaviour,
    database: Arc<TestDatabase>,
    _shutdown: CancellationToken,
}

/// A node at work.
pub struct Node {
    pub log: EventLog,
    runner: NodeRunner,
    _handle: Handle,
    shutdown: CancellationToken,
    runtime: Option<Runtime>,
}

fn executor(world: &World, clock: Arc<dyn Clock>) -> Executor {
    let mut natives = Registry::built_in().unwrap();
    let (behaviour, calls) = (Arc::clone(&world.behaviour), Arc::clone(&world.calls));
    let called = Arc::clone(&world.called);
    let act = move |context, _: Value| {
        let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
        called.notify_waiters();
        behaviour(context, call)
    };
    natives.add(&["test"], act.clone()).unwrap();
    natives.add_pure(&["pure"], act).unwrap();
    let options = executor::Options {
        egress: EgressOptions {
            allow: vec!["127.0.0.1".parse().unwrap()],
            ..EgressOptions::default()
        },
        env_secrets: Vec::new(),
        env: Arc::new(|_: &str| None),
        secrets: Arc::new(NoSecrets),
        connectors: Arc::new(Connectors::built_in().unwrap()),
        clock,
    };
    Executor::with_natives(options, natives).unwrap()
}

async fn log(database: &TestDatabase, sequence: bool, shutdown: &CancellationToken) -> EventLog {
    let connections = Database::connect_lazy(database.connect_options());
    let options = Options {
        sequence,
        other_nodes: true,
    };
    let key = MasterKey::from_base64(KEY).unwrap();
    let (log, tasks) = EventLog::start(connections, key, options, shutdown)
        .await
        .unwrap();
    // They go on until the runtime ends.
    std::mem::forget(tasks);
    log
}

pub fn native(path: &str) -> ToolConfig {
    ToolConfig::Native(NativeConfig {
        function_path: path.to_owned(),
    })
}

fn quick() -> PolicyOverrides {
    PolicyOverrides {
        initial_delay_ms: Some(20),
        max_delay_ms: Some(200),
        ..PolicyOverrides::default()
    }
}

impl World {
    /// A tool of this behaviour, with pauses of some milliseconds.
    pub async fn with(behaviour: Behaviour) -> Self {
        Self::of(native("test"), quick(), behaviour).await
    }

    /// As [`Self::with`], of a tool that changes nothing.
    pub async fn pure(behaviour: Behaviour) -> Self {
        Self::of(native("pure"), quick(), behaviour).await
    }

    pub async fn of(config: ToolConfig, policy: PolicyOverrides, behaviour: Behaviour) -> Self {
        let database = Arc::new(TestDatabase::create().await);
        let shutdown = CancellationToken::new();
        let log = log(&database, true, &shutdown).await;
        let definition = Definition {
            config,
            input_schema: json!({"type": "object"}),
            output_schema: None,
            policy,
            requires_approval: false,
        };
        let tool = ToolId::from_uuid(ids::new_uuid());
        let command = tool::Command::Register {
            id: tool,
            workspace: WORKSPACE,
            number: 1,
            details: Details {
                name: "test".to_owned(),
                title: None,
                description: "does as it is told".to_owned(),
                category: None,
                tags: Vec::new(),
            },
            definition: Box::new(definition.clone()),
            at: SystemClock.now(),
        };
        let target = Target::<Tool>::New(tool.to_string());
        log.bus.execute(target, command, &context()).await.unwrap();
        Self {
            owner: database.pool().await,
            log,
            tool,
            definition: Arc::new(definition),
            calls: Arc::default(),
            called: Arc::default(),
            behaviour,
            database,
            _shutdown: shutdown,
        }
    }

    /// Starts a node.
    pub async fn node(&self, name: &str) -> Node {
        self.node_at(name, Arc::new(SystemClock)).await
    }

    /// Starts a node whose clock this is.
    pub async fn node_at(&self, name: &str, clock: Arc<dyn Clock>) -> Node {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let executor = Arc::new(executor(self, Arc::clone(&clock)));
        let (database, node) = (Arc::clone(&self.database), name.to_owned());
        let started = runtime.spawn(async move {
            let shutdown = CancellationToken::new();
            let log = log(&database, false, &shutdown).await;
            let queue = Queue::default();
            let config = toolroom_projections::Config {
                projections: vec![Arc::new(queue.clone()) as Arc<dyn Projection>],
                node: node.clone(),
            };
            let (reader, followers) = toolroom_projections::start(&log, config, &shutdown);
            std::mem::forget(followers);
            reader.prepare().await.unwrap();
            let config = Config {
                node,
                background: 4,
                foreground: 4,
                grace: Duration::from_millis(500),
            };
            let worker = Worker::new(&log, queue, executor, clock, config);
            let runner = worker.runner(&shutdown);
            let handle = worker.start(&log, &reader, &shutdown);
            (log, runner, handle, shutdown)
        });
        let (log, runner, handle, shutdown) = started.await.unwrap();
        Node {
            log,
            runner,
            _handle: handle,
            shutdown,
            runtime: Some(runtime),
        }
    }

    /// Submits a job for the background.
    pub async fn submit(&self) -> JobId {
        self.submit_with(json!({})).await
    }

    /// Submits a job of this input for the background.
    pub async fn submit_with(&self, input: Value) -> JobId {
        self.submit_sealed_as("input", input).await
    }

    /// Submits a job whose input is sealed as one of its fields: of any but `input`, none can open it.
    pub async fn submit_sealed_as(&self, field: &str, input: Value) -> JobId {
        let id = JobId::from_uuid(ids::new_uuid());
        let sealed = self
            .log
            .vault
            .seal(WORKSPACE, &seal_context(id, field), &input)
            .await
            .unwrap();
        let command = job::Command::Request(Box::new(Request {
            id,
            workspace: WORKSPACE,
            tool: ToolRef {
                id: self.tool,
                version: 1,
                kind: self.definition.config.kind(),
                connector: None,
            },
            action: None,
            input: sealed,
            is_test: false,
            priority: 0,
            run_at: None,
            rerun_of: None,
            recorded: false,
            at: SystemClock.now(),
        }));
        let target = Target::<Job>::New(id.to_string());
        self.log
            .bus
            .execute(target, command, &context())
            .await
            .unwrap();
        id
    }

    /// What a caller asks for that waits.
    pub fn request(&self) -> RunRequest {
        RunRequest {
            job: JobId::from_uuid(ids::new_uuid()),
            workspace: WORKSPACE,
            tool: self.tool,
            version: 1,
            definition: Arc::clone(&self.definition),
            action: None,
            input: json!({}),
            is_test: false,
            priority: 0,
            actor: Actor::system("test"),
            named: None,
            correlation_id: "test".to_owned(),
            ip: None,
            user_agent: None,
        }
    }

    pub async fn cancel(&self, job: JobId) {
        let command = job::Command::Cancel {
            reason: None,
            at: SystemClock.now(),
        };
        let target = Target::<Job>::Existing(job.to_string());
        self.log
            .bus
            .execute(target, command, &context())
            .await
            .unwrap();
    }

    pub async fn job(&self, id: JobId) -> Job {
        let loaded = self.log.bus.load::<Job>(WORKSPACE, &id.to_string()).await;
        loaded.unwrap().aggregate
    }

    /// Waits, along the log, until something holds of a job.
    pub async fn until(&self, id: JobId, holds: impl Fn(&Job) -> bool) -> Job {
        let mut head = self.log.feed.watch();
        let waiting = async {
            loop {
                let job = self.job(id).await;
                if holds(&job) {
                    return job;
                }
                head.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(job) => job,
            Err(_) => panic!("it does not come to that: {:?}", self.job(id).await),
        }
    }

    pub async fn ended(&self, id: JobId) -> Job {
        self.until(id, |job| job.status().is_final()).await
    }

    /// The names of a job's events, in order, without `Job` before each.
    pub async fn events(&self, id: JobId) -> Vec<String> {
        let last: i64 = sqlx::query_scalar("select max(global_seq) from events")
            .fetch_one(&self.owner)
            .await
            .unwrap();
        self.log.feed.position_of(last, PATIENCE).await.unwrap();
        let reads = self.log.database.reads();
        let events = history::of_stream(reads, WORKSPACE, "job", &id.to_string(), i64::MAX)
            .await
            .unwrap();
        events
            .iter()
            .map(|e| e.event_type["Job".len()..].to_owned())
            .collect()
    }

    /// In how many appends a job's events were written.
    pub async fn appends(&self, id: JobId) -> i64 {
        sqlx::query_scalar("select count(distinct tx_id) from events where aggregate_id = $1")
            .bind(id.to_string())
            .fetch_one(&self.owner)
            .await
            .unwrap()
    }

    /// Waits until the tool has been called so often.
    pub async fn called(&self, times: u32) {
        let waiting = async {
            loop {
                let called = self.called.notified();
                if self.calls.load(Ordering::SeqCst) >= times {
                    return;
                }
                called.await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("the tool is called");
    }

    /// Waits until the queue tells this of some job.
    pub async fn queue_has(&self, condition: &str) {
        let sql = format!("select exists (select from projections.queue where {condition})");
        let waiting = async {
            while !sqlx::query_scalar::<_, bool>(&sql)
                .fetch_one(&self.owner)
                .await
                .unwrap()
            {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("the queue comes to that");
    }
}

impl Node {
    /// Runs the tool for a caller that waits.
    pub async fn run(&self, request: RunRequest, wait: Duration) -> RunOutcome {
        let runner = self.runner.clone();
        let runtime = self.runtime.as_ref().expect("the node runs");
        let run = runtime.spawn(async move { runner.run(request, wait).await });
        run.await.unwrap().unwrap()
    }

    /// Ends as a process does that is killed.
    pub fn kill(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Begins to end as a server does that is told to.
    pub fn begin_to_stop(&self) {
        self.shutdown.cancel();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub fn context() -> CommandContext {
    CommandContext::system(WORKSPACE, "test", ids::new_uuid().to_string())
}
