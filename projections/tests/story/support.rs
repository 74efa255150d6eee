//! A log with projections that follow it, and commands to send.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::json;
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use toolroom_domain::{
    Actor, ApiKeyId, InvitationId, JobId, Role, Sealed, ToolId, UserId, WorkspaceId,
    access::Caller,
    api_key::{self, ApiKey},
    job::{self, Job, ToolRef},
    tool::{self, Definition, Details, Kind, NativeConfig, Tool, ToolConfig},
    workspace::{self, Plan, Sender, TokenHash, Workspace},
};
use toolroom_eventlog::{
    CommandContext, Database, EventLog, Reads,
    command::Target,
    ids,
    log::{Options, Tasks},
    testing::TestDatabase,
    vault::MasterKey,
};
use toolroom_projections::{Config, Projection, Reader};

/// Far more than anything here takes, so that a failure is told and not hung on.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const WORKSPACE: WorkspaceId = WorkspaceId::DEFAULT;

/// A moment to tell stories at.
pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Projections that run under one node's name.
pub struct Node {
    pub reader: Reader,
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
}

impl Node {
    /// Stops as a server does that is told to.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }

    /// Vanishes as a server does that is killed: nothing is given up.
    pub async fn kill(mut self) {
        self.tasks.shutdown().await;
    }
}

pub struct App {
    pub log: EventLog,
    pub owner: PgPool,
    node: Option<Node>,
    tasks: Option<Tasks>,
    shutdown: CancellationToken,
    _database: TestDatabase,
}

impl App {
    /// With the projections of this crate, running.
    pub async fn start() -> Self {
        Self::with(toolroom_projections::all()).await
    }

    pub async fn with(projections: Vec<Arc<dyn Projection>>) -> Self {
        let mut app = Self::bare().await;
        app.node = Some(app.node("node", projections));
        app
    }

    /// Without projections.
    pub async fn bare() -> Self {
        let database = TestDatabase::create().await;
        let connect = Database::connect_lazy(database.connect_options());
        let owner = connect.owner_pool().await.unwrap();
        let shutdown = CancellationToken::new();
        let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let master = MasterKey::from_base64(key).unwrap();
        let (log, tasks) = EventLog::start(connect, master, Options::default(), &shutdown)
            .await
            .unwrap();
        Self {
            log,
            owner,
            node: None,
            tasks: Some(tasks),
            shutdown,
            _database: database,
        }
    }

    /// One more node on the same log.
    pub fn node(&self, name: &str, projections: Vec<Arc<dyn Projection>>) -> Node {
        let shutdown = CancellationToken::new();
        let config = Config {
            projections,
            node: name.to_owned(),
        };
        let (reader, tasks) = toolroom_projections::start(&self.log, config, &shutdown);
        Node {
            reader,
            tasks,
            shutdown,
        }
    }

    pub fn reader(&self) -> &Reader {
        &self.node.as_ref().expect("a node runs").reader
    }

    pub fn reads(&self) -> &Reads {
        self.log.database.reads()
    }

    pub async fn stop(mut self) {
        if let Some(node) = self.node.take() {
            node.stop().await;
        }
        self.shutdown.cancel();
        if let Some(tasks) = self.tasks.take() {
            tasks.finish().await;
        }
        self.owner.close().await;
        self.log.database.close().await;
    }

    /// Waits until all that was appended is in the read models.
    pub async fn settled(&self) {
        self.settled_on(self.reader()).await;
    }

    pub async fn settled_on(&self, reader: &Reader) {
        let head = self.sequenced().await;
        let all = reader.status().await.unwrap();
        for projection in all {
            let waiting = reader.wait_for(projection.name, head, PATIENCE);
            assert!(
                waiting.await.unwrap(),
                "{} does not follow",
                projection.name
            );
        }
    }

    /// Waits until all that was appended has a position, and gives the last one.
    pub async fn sequenced(&self) -> i64 {
        let last: Option<i64> = sqlx::query_scalar("select max(global_seq) from events")
            .fetch_one(&self.owner)
            .await
            .unwrap();
        match last {
            Some(last) => self
                .log
                .feed
                .position_of(last, PATIENCE)
                .await
                .unwrap()
                .unwrap(),
            None => 0,
        }
    }

    pub async fn register(&self, name: &str) -> ToolId {
        self.register_with(name, 1, |_| {}).await
    }

    pub async fn register_with(
        &self,
        name: &str,
        number: i32,
        edit: impl FnOnce(&mut Details),
    ) -> ToolId {
        let id = ToolId::from_uuid(ids::new_uuid());
        let mut details = Details {
            name: name.to_owned(),
            title: None,
            description: "says what it is told".to_owned(),
            category: None,
            tags: Vec::new(),
        };
        edit(&mut details);
        let command = tool::Command::Register {
            id,
            workspace: WORKSPACE,
            number,
            details,
            definition: native("echo"),
            at: at(1),
        };
        let target = Target::<Tool>::New(id.to_string());
        self.log
            .bus
            .execute(target, command, &context())
            .await
            .unwrap();
        id
    }

    /// Sends a command to a tool; a refusal is fine, as many are sent at random.
    pub async fn tool(&self, id: ToolId, command: tool::Command) -> bool {
        let target = Target::<Tool>::Existing(id.to_string());
        self.log
            .bus
            .execute(target, command, &context())
            .await
            .is_ok()
    }

    pub async fn toggle(&self, id: ToolId, active: bool) {
        let command = if active {
            tool::Command::Activate { at: at(3) }
        } else {
            tool::Command::Deactivate { at: at(3) }
        };
        assert!(self.tool(id, command).await);
    }

    pub async fn request(&self, tool: ToolId) -> JobId {
        self.request_with(tool, |_| {}).await
    }

    pub async fn request_with(&self, tool: ToolId, edit: impl FnOnce(&mut job::Request)) -> JobId {
        let id = JobId::from_uuid(ids::new_uuid());
        let mut request = job::Request {
            id,
            workspace: WORKSPACE,
            tool: ToolRef {
                id: tool,
                version: 1,
                kind: Kind::Native,
                connector: None,
            },
            action: None,
            input: sealed("input"),
            is_test: false,
            priority: 0,
            run_at: None,
            rerun_of: None,
            recorded: false,
            at: at(10),
        };
        edit(&mut request);
        let target = Target::<Job>::New(id.to_string());
        let command = job::Command::Request(Box::new(request));
        self.log
            .bus
            .execute(target, command, &context())
            .await
            .unwrap();
        id
    }

    pub async fn job(&self, id: JobId, command: job::Command) -> bool {
        let target = Target::<Job>::Existing(id.to_string());
        self.log
            .bus
            .execute(target, command, &context())
            .await
            .is_ok()
    }

    pub async fn start_job(&self, id: JobId) {
        let workspace = context().workspace;
        let loaded = self.log.bus.load::<Job>(workspace, &id.to_string()).await;
        let after = loaded.unwrap().aggregate.attempt();
        let command = job::Command::Start {
            node: "node".to_owned(),
            lease_ms: 30_000,
            ground: job::Ground::Due { after },
            at: at(11),
        };
        assert!(self.job(id, command).await);
    }

    pub async fn succeed(&self, id: JobId, duration_us: u64, at: Timestamp) {
        let command = job::Command::Succeed {
            attempt: 1,
            output: sealed("output"),
            duration_us,
            exit_code: None,
            told: Default::default(),
            at,
        };
        assert!(self.job(id, command).await);
    }

    /// Makes a workspace that this user owns.
    pub async fn create_workspace(&self, name: &str, owner: &str, second: i64) -> WorkspaceId {
        let id = WorkspaceId::from_uuid(ids::new_uuid());
        let command = workspace::Command::Create {
            id,
            name: name.to_owned(),
            owner: user(owner),
            owner_email: Some(format!("{owner}@example.com")),
            time_zone: "UTC".to_owned(),
            plan: Plan::Free,
            at: at(second),
        };
        assert!(self.workspace(id, command).await);
        id
    }

    /// Sends a command to a workspace; a refusal is fine, as many are sent at random.
    pub async fn workspace(&self, id: WorkspaceId, command: workspace::Command) -> bool {
        let target = Target::<Workspace>::Existing(id.to_string());
        let context = CommandContext {
            workspace: id,
            ..context()
        };
        let executed = self.log.bus.execute(target, command, &context).await;
        executed.is_ok()
    }

    /// Invites somebody; the token's hash is made of the same number as the invitation's id.
    pub async fn invite(&self, id: WorkspaceId, number: u8, email: &str, second: i64) -> bool {
        let command = workspace::Command::Invite {
            sender: Sender::Operator,
            invitation: invitation(number),
            email: email.to_owned(),
            role: Role::Member,
            token_hash: TokenHash::from_sha256([number; 32]),
            expires_at: at(second + 1_000),
            at: at(second),
        };
        self.workspace(id, command).await
    }

    /// Has a user accept an invitation.
    pub async fn accept(&self, id: WorkspaceId, number: u8, name: &str, second: i64) -> bool {
        let command = workspace::Command::AcceptInvitation {
            token_hash: TokenHash::from_sha256([number; 32]),
            user: user(name),
            account_email: None,
            at: at(second),
        };
        self.workspace(id, command).await
    }

    /// Makes an API key that expires at this second.
    pub async fn create_key(&self, name: &str, second: i64, expires: Option<i64>) -> ApiKeyId {
        let id = ApiKeyId::from_uuid(ids::new_uuid());
        let command = api_key::Command::Create {
            id,
            workspace: WORKSPACE,
            name: name.to_owned(),
            prefix: "abcdefghijkl".to_owned(),
            role: Role::Viewer,
            operator: false,
            created_by: Actor::local_owner(),
            creator: Caller::Operator,
            expires_at: expires.map(at),
            at: at(second),
        };
        assert!(self.key(id, command).await);
        id
    }

    /// Revokes an API key at this second, as whoever runs the server.
    pub async fn revoke_key(&self, id: ApiKeyId, second: i64) -> bool {
        let command = api_key::Command::Revoke {
            revoker: Caller::Operator,
            at: at(second),
        };
        self.key(id, command).await
    }

    async fn key(&self, id: ApiKeyId, command: api_key::Command) -> bool {
        let target = Target::<ApiKey>::Existing(id.to_string());
        let executed = self.log.bus.execute(target, command, &context()).await;
        executed.is_ok()
    }

    /// Appends so many tool events as one statement: a tool each, registered and nothing more.
    pub async fn append_tools(&self, tools: i64) {
        let first = self.register("template").await;
        sqlx::query(
            "insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version,
                                 payload, metadata)
             select aggregate_type, id, 1, event_type, event_version,
                    replace(payload::text, aggregate_id, id)::json, metadata
             from events, generate_series(1, $2) n,
                  lateral (select 'tool_' || lpad(to_hex(n), 32, '0') as id) i
             where aggregate_id = $1",
        )
        .bind(first.to_string())
        .bind(tools)
        .execute(&self.owner)
        .await
        .unwrap();
        self.log.signals.announce_append();
    }

    /// All rows of all read models, as text.
    pub async fn rows(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for table in [
            "tools",
            "tool_versions",
            "jobs",
            "job_counts",
            "audit",
            "runs_by_hour",
            "workspaces",
            "members",
            "api_keys",
            "usage",
            "secrets",
            "secret_uses",
        ] {
            let sql =
                format!("select row(t.*)::text as line from projections.{table} t order by line");
            let lines: Vec<String> = sqlx::query_scalar(&sql)
                .fetch_all(&self.owner)
                .await
                .unwrap();
            rows.extend(lines.into_iter().map(|line| format!("{table} {line}")));
        }
        rows
    }
}

pub fn native(function: &str) -> Box<Definition> {
    Box::new(Definition {
        config: ToolConfig::Native(NativeConfig {
            function_path: function.to_owned(),
        }),
        input_schema: json!({"type": "object"}),
        output_schema: None,
        policy: tool::PolicyOverrides::default(),
        requires_approval: false,
    })
}

pub fn user(name: &str) -> UserId {
    UserId::try_new(name).unwrap()
}

pub fn invitation(number: u8) -> InvitationId {
    InvitationId::from_uuid(uuid::Uuid::from_u128(number.into()))
}

pub fn sealed(data: &str) -> Sealed {
    Sealed {
        key: 1,
        data: data.to_owned(),
        blob: None,
    }
}

pub fn context() -> CommandContext {
    CommandContext {
        workspace: WORKSPACE,
        actor: Actor::local_owner(),
        named: None,
        correlation_id: "a-request".to_owned(),
        causation_id: None,
        ip: None,
        user_agent: None,
        side: Vec::new(),
    }
}

/// The projection of this crate that has this name.
pub fn only(name: &str) -> Vec<Arc<dyn Projection>> {
    let mut all = toolroom_projections::all();
    all.retain(|projection| projection.name() == name);
    all
}
