//! An API on a database of its own, with a runner and a checker that do the least that a test needs.
#![allow(dead_code, reason = "each test uses its part")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_graphql::{Executor as _, Request, Response, Variables};
use async_trait::async_trait;
use futures::{StreamExt as _, stream::BoxStream};
use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use toolroom_api::{
    ApiError, ApiOptions, AppState, Parts, RequestContext,
    auth::{AuthOptions, Authenticator},
    graphql,
    limit::Plans,
};
use toolroom_domain::{
    Clock, ToolId, Violation, WorkspaceId,
    connector::ConnectorSpec,
    job::{Command, Failure, Job, Line, Lines, Request as JobRequest, Told, ToolRef, seal_context},
    port::{
        DefinitionChecker, Mailer, Offered, OutputMapping, PortError, Presenter, RunOutcome,
        RunRequest, Runner,
    },
    tool::{Definition, ToolConfig},
    workspace::Plan,
};
use toolroom_eventlog::{
    CommandContext, Database, EventLog, SystemClock,
    command::{NamedCommand, Target},
    log::{Options, Tasks},
    testing::TestDatabase,
    vault::MasterKey,
};
use toolroom_projections::Config;

/// Far more than anything here takes, so that a failure is told and not hung on.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct App {
    pub state: AppState,
    pub schema: graphql::Schema,
    pub shutdown: CancellationToken,
    followers: JoinSet<()>,
    tasks: Tasks,
    _database: TestDatabase,
}

/// What a test has of its own beside the database.
pub struct Outside {
    pub clock: Arc<dyn Clock>,
    pub mailer: Option<Arc<dyn Mailer>>,
}

impl Default for Outside {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            mailer: None,
        }
    }
}

impl App {
    /// An API in local mode.
    pub async fn start() -> Self {
        Self::start_in(Outside::default()).await
    }

    pub async fn start_in(outside: Outside) -> Self {
        let options = AuthOptions {
            local: true,
            ..AuthOptions::default()
        };
        Self::start_as(options, outside).await
    }

    /// An API that recognises callers as these options say.
    pub async fn start_with(options: AuthOptions, clock: Arc<dyn Clock>) -> Self {
        let outside = Outside {
            clock,
            ..Outside::default()
        };
        Self::start_as(options, outside).await
    }

    async fn start_as(options: AuthOptions, outside: Outside) -> Self {
        let database = TestDatabase::create().await;
        let key = MasterKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
        let shutdown = CancellationToken::new();
        let connections = Database::connect_lazy(database.connect_options());
        let (log, tasks) = EventLog::start(connections, key, Options::default(), &shutdown)
            .await
            .unwrap();
        let config = Config {
            projections: toolroom_projections::all(),
            node: "test".to_owned(),
        };
        let (reader, followers) = toolroom_projections::start(&log, config, &shutdown);
        reader.prepare().await.unwrap();
        let Outside { clock, mailer } = outside;
        let auth = Authenticator::init(&log, options, Arc::clone(&clock)).await;
        let state = AppState::new(Parts {
            auth: Arc::new(auth.unwrap()),
            runner: Arc::new(Echo { log: log.clone() }),
            checker: Arc::new(Lenient),
            presenter: Arc::new(Lenient),
            mailer,
            clock,
            options: ApiOptions {
                public_url: "http://localhost:8000".to_owned(),
                version: "test".to_owned(),
                started_at: SystemClock.now(),
                data_dir: std::env::temp_dir(),
                plan_limits: true,
            },
            projections: reader,
            log,
        });
        Self {
            schema: graphql::schema(state.clone()),
            state,
            shutdown,
            followers,
            tasks,
            _database: database,
        }
    }

    pub async fn stop(mut self) {
        self.shutdown.cancel();
        while self.followers.join_next().await.is_some() {}
        self.tasks.finish().await;
    }

    /// Connections that may see and do everything.
    pub async fn owner(&self) -> PgPool {
        self.state.log.database.owner_pool().await.unwrap()
    }

    /// Waits until all that was appended is in the read models.
    pub async fn settled(&self) {
        let last: i64 = sqlx::query_scalar("select max(global_seq) from events")
            .fetch_one(&self.owner().await)
            .await
            .unwrap();
        let feed = &self.state.log.feed;
        let head = feed.position_of(last, PATIENCE).await.unwrap().unwrap();
        for projection in self.state.projections.status().await.unwrap() {
            let there = self
                .state
                .projections
                .wait_for(projection.name, head, PATIENCE);
            assert!(there.await.unwrap(), "{} does not follow", projection.name);
        }
    }

    /// Waits for something that only the database tells.
    pub async fn until(&self, is_so: impl AsyncFn() -> bool) {
        let waiting = async {
            let mut looks = tokio::time::interval(Duration::from_millis(10));
            while !is_so().await {
                looks.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("it becomes so in time");
    }

    /// The response to a document with variables.
    pub async fn send(&self, query: &str, variables: Value) -> Response {
        let sender = RequestContext::local("request-1");
        self.send_as(&sender, query, variables).await
    }

    /// As [`Self::send`], of this sender.
    pub async fn send_as(
        &self,
        sender: &RequestContext,
        query: &str,
        variables: Value,
    ) -> Response {
        let request = Request::new(query)
            .variables(Variables::from_json(variables))
            .data(sender.clone());
        self.schema.execute(request).await
    }

    /// What a document gives that is carried out without errors.
    pub async fn ask(&self, query: &str, variables: Value) -> Value {
        let response = self.send(query, variables).await;
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        response.data.into_json().unwrap()
    }

    /// The extensions of the first error of a document that is refused, with its message.
    pub async fn refusal(&self, query: &str, variables: Value) -> Value {
        refused(&self.send(query, variables).await)
    }

    /// As [`Self::ask`], of this sender.
    pub async fn ask_as(&self, sender: &RequestContext, query: &str, variables: Value) -> Value {
        let response = self.send_as(sender, query, variables).await;
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        response.data.into_json().unwrap()
    }

    /// As [`Self::refusal`], of this sender.
    pub async fn refusal_as(
        &self,
        sender: &RequestContext,
        query: &str,
        variables: Value,
    ) -> Value {
        refused(&self.send_as(sender, query, variables).await)
    }

    pub fn subscribe(&self, query: &str) -> Events {
        let request = Request::new(query).data(RequestContext::local("request-2"));
        Events(self.schema.execute_stream(request, None))
    }

    pub async fn register(&self, name: &str) -> Value {
        let input = json!({
            "name": name,
            "description": "gives back what it is given",
            "native": { "functionPath": "echo" },
        });
        let query = "mutation ($input: RegisterToolInput!) {
            registerTool(input: $input) { id number name version kind isActive }
        }";
        self.ask(query, json!({ "input": input })).await["registerTool"].take()
    }

    pub async fn run(&self, tool: &str, input: Value) -> Value {
        let query = "mutation ($tool: String!, $input: JSON!) {
            executeTool(toolName: $tool, input: $input) {
                id status input output lastEvent toolVersion error { code message details }
            }
        }";
        let variables = json!({ "tool": tool, "input": input });
        self.ask(query, variables).await["executeTool"].take()
    }
}

fn refused(response: &Response) -> Value {
    let Some(error) = response.errors.first() else {
        panic!("expected an error: {response:?}");
    };
    let mut told = serde_json::to_value(error).unwrap();
    let mut extensions = told["extensions"].take();
    extensions["message"] = told["message"].take();
    extensions
}

pub struct Events(BoxStream<'static, Response>);

impl Events {
    /// The next event's data; none after the last one.
    pub async fn next(&mut self) -> Option<Value> {
        let response = tokio::time::timeout(PATIENCE, self.0.next())
            .await
            .expect("an event comes in time")?;
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        Some(response.data.into_json().unwrap())
    }
}

impl Events {
    /// Whether there is no event yet.
    pub async fn is_waiting(&mut self) -> bool {
        let moment = Duration::from_millis(200);
        tokio::time::timeout(moment, self.0.next()).await.is_err()
    }

    /// The extensions of the error with which the events end.
    pub async fn refusal(&mut self) -> Value {
        let response = tokio::time::timeout(PATIENCE, self.0.next())
            .await
            .expect("the end comes in time")
            .expect("it ends with an error");
        let error = response.errors.first().expect("an error");
        let mut told = serde_json::to_value(error).unwrap();
        assert!(self.0.next().await.is_none(), "events go on after the end");
        told["extensions"].take()
    }
}

/// Succeeds with its input as output, or fails when the input says so; writes and exits as it says.
struct Echo {
    log: EventLog,
}

#[async_trait]
impl Runner for Echo {
    /// Has no room: what is submitted stays in the queue, which nobody works on here.
    async fn offer(&self, request: RunRequest) -> Result<Offered, PortError> {
        Ok(Offered::NoRoom(Box::new(request)))
    }

    async fn run(&self, request: RunRequest, _: Duration) -> Result<RunOutcome, PortError> {
        let bus = &self.log.bus;
        let vault = &self.log.vault;
        let at = SystemClock.now();
        let context = CommandContext {
            workspace: request.workspace,
            actor: request.actor.clone(),
            named: request
                .named
                .clone()
                .map(|(id, request)| NamedCommand { id, request }),
            correlation_id: request.correlation_id.clone(),
            causation_id: None,
            ip: None,
            user_agent: None,
            side: Vec::new(),
        };
        let input = vault
            .seal(
                request.workspace,
                &seal_context(request.job, "input"),
                &request.input,
            )
            .await
            .unwrap();
        let begin = Command::RequestAndStart {
            request: Box::new(JobRequest {
                id: request.job,
                workspace: request.workspace,
                tool: ToolRef {
                    id: request.tool,
                    version: request.version,
                    kind: request.definition.config.kind(),
                    connector: None,
                },
                action: request.action.clone(),
                input,
                is_test: request.is_test,
                priority: 0,
                run_at: None,
                rerun_of: None,
                recorded: false,
                at,
            }),
            node: "test".to_owned(),
            lease_ms: 60_000,
        };
        let id = request.job.to_string();
        bus.execute::<Job>(Target::New(id.clone()), begin, &context)
            .await
            .unwrap();
        let end = end(vault, &request, at).await;
        let done = bus
            .execute::<Job>(Target::Existing(id), end, &context.unnamed())
            .await
            .unwrap();
        Ok(RunOutcome {
            job: done.after.aggregate,
            global_seq: done.global_seq.unwrap(),
        })
    }
}

async fn end(vault: &toolroom_eventlog::Vault, request: &RunRequest, at: Timestamp) -> Command {
    let fails = request.input["fail"] == true;
    let field = if fails { "error" } else { "output" };
    let context = seal_context(request.job, field);
    let said = vault
        .seal(request.workspace, &context, &request.input)
        .await
        .unwrap();
    let exit_code = request.input["exits"].as_i64();
    let exit_code = exit_code.and_then(|code| i32::try_from(code).ok());
    let told = told(vault, request, at).await;
    if fails {
        Command::Fail {
            attempt: 1,
            error: Failure {
                code: "TOOL_FAILED".to_owned(),
                category: toolroom_domain::ErrorCategory::Unknown,
                message: "told to fail".to_owned(),
                retryable: false,
                details: Some(said),
            },
            duration_us: 1500,
            exit_code,
            retry_at: None,
            told,
            at,
        }
    } else {
        Command::Succeed {
            attempt: 1,
            output: said,
            duration_us: 1500,
            exit_code,
            told,
            at,
        }
    }
}

/// The lines that an input says are written, by what they are written to.
async fn told(vault: &toolroom_eventlog::Vault, request: &RunRequest, at: Timestamp) -> Told {
    let writes = request.input["writes"].as_object();
    let lines: Vec<Line> = writes
        .into_iter()
        .flatten()
        .map(|(source, message)| Line {
            at,
            level: "info".to_owned(),
            source: source.clone(),
            message: message.as_str().unwrap().to_owned(),
        })
        .collect();
    if lines.is_empty() {
        return Told::default();
    }
    let context = seal_context(request.job, "lines");
    let sealed = vault.seal(request.workspace, &context, &json!(lines)).await;
    Told {
        lines: Some(Lines {
            sealed: sealed.unwrap(),
            count: u32::try_from(lines.len()).unwrap(),
        }),
        ..Told::default()
    }
}

/// Knows one native function, and takes any object as an input.
struct Lenient;

impl DefinitionChecker for Lenient {
    fn check(&self, definition: &Definition) -> Result<(), Vec<Violation>> {
        definition.check()?;
        match &definition.config {
            ToolConfig::Native(native) if native.function_path != "echo" => {
                Err(vec![Violation::new(
                    "native.functionPath",
                    "is not a native function",
                )])
            }
            _ => Ok(()),
        }
    }

    fn native_schemas(&self, _: &str) -> Option<(Value, Option<Value>)> {
        Some((json!({ "type": "object" }), None))
    }

    fn check_input(
        &self,
        _: ToolId,
        _: u32,
        _: &Definition,
        _: Option<&str>,
        input: &Value,
    ) -> Result<(), Vec<Violation>> {
        if input.is_object() {
            Ok(())
        } else {
            Err(vec![Violation::new("", "must be an object")])
        }
    }

    fn check_credentials(
        &self,
        _: &str,
        _: &Value,
        _: Option<&Value>,
    ) -> Result<(), Vec<Violation>> {
        Ok(())
    }

    fn connectors(&self) -> &[Arc<ConnectorSpec>] {
        &[]
    }
}

#[async_trait]
impl Presenter for Lenient {
    async fn without_secrets(
        &self,
        _: WorkspaceId,
        _: &Definition,
        value: Value,
    ) -> Result<Value, PortError> {
        Ok(value)
    }

    fn check_output_mapping(&self, _: &OutputMapping) -> Result<(), Vec<Violation>> {
        Ok(())
    }

    async fn map_output(&self, _: &OutputMapping, output: Value) -> Result<Value, PortError> {
        Ok(output)
    }
}

/// A clock that stands still until it is told otherwise.
#[derive(Clone, Debug)]
pub struct HandClock(Arc<Mutex<Timestamp>>);

impl HandClock {
    pub fn at(time: &str) -> Self {
        Self(Arc::new(Mutex::new(time.parse().unwrap())))
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

/// Every workspace has the same plan.
#[derive(Clone, Debug)]
pub struct Planned(Arc<Mutex<Option<Plan>>>);

impl Planned {
    pub fn of(plan: Plan) -> Self {
        Self(Arc::new(Mutex::new(Some(plan))))
    }

    pub fn unknown() -> Self {
        Self(Arc::default())
    }

    pub fn becomes(&self, plan: Plan) {
        *self.0.lock().unwrap() = Some(plan);
    }
}

#[async_trait]
impl Plans for Planned {
    async fn plan_of(&self, _: WorkspaceId) -> Result<Option<Plan>, ApiError> {
        Ok(*self.0.lock().unwrap())
    }
}
