//! What the log's tests share: a started log, and commands to send.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio_util::sync::CancellationToken;
use toolroom_domain::{
    Actor, ToolId, WorkspaceId,
    tool::{self, Command, Definition, Details, NativeConfig, Tool, ToolConfig},
};
use toolroom_eventlog::{
    CommandContext, Database, EventLog, Executed,
    command::{CommandError, NamedCommand, Target},
    ids,
    log::{Options, Tasks},
    testing::TestDatabase,
    vault::{KeyRing, MasterKey},
};

/// Far more than anything here takes, so that a failure is told and not hung on.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Started {
    pub log: EventLog,
    pub owner: PgPool,
    tasks: Tasks,
    shutdown: CancellationToken,
    /// Dropped last: it takes the database with it.
    _database: Option<TestDatabase>,
}

pub fn master_key() -> MasterKey {
    MasterKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap()
}

impl Started {
    pub async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let database = TestDatabase::create().await;
        let mut started = Self::on(database.connect_options(), options).await;
        started._database = Some(database);
        started
    }

    pub async fn on(connect: PgConnectOptions, options: Options) -> Self {
        Self::knowing(connect, options, master_key().into()).await
    }

    /// As [`Self::on`], with these master keys.
    pub async fn knowing(connect: PgConnectOptions, options: Options, keys: KeyRing) -> Self {
        let database = Database::connect_lazy(connect);
        let owner = database.owner_pool().await.unwrap();
        let shutdown = CancellationToken::new();
        let (log, tasks) = EventLog::start(database, keys, options, &shutdown)
            .await
            .unwrap();
        Self {
            log,
            owner,
            tasks,
            shutdown,
            _database: None,
        }
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.tasks.finish().await;
        self.owner.close().await;
        self.log.database.close().await;
    }

    pub async fn register(&self, name: &str) -> Result<Executed<Tool>, CommandError<tool::Error>> {
        register(&self.log, name, context()).await
    }

    /// Waits until the log has so many positions.
    pub async fn reaches(&self, position: i64) {
        let mut head = self.log.feed.watch();
        let reached = head.wait_for(|head| *head >= position);
        tokio::time::timeout(PATIENCE, reached)
            .await
            .unwrap_or_else(|_| panic!("the log does not reach position {position}"))
            .unwrap();
    }
}

pub fn context() -> CommandContext {
    CommandContext {
        workspace: WorkspaceId::DEFAULT,
        actor: Actor::local_owner(),
        named: None,
        correlation_id: ids::new_uuid().to_string(),
        causation_id: None,
        ip: None,
        user_agent: None,
        side: Vec::new(),
    }
}

pub fn named(id: &str, request: &str) -> CommandContext {
    CommandContext {
        named: Some(NamedCommand {
            id: id.to_owned(),
            request: request.as_bytes().to_vec(),
        }),
        ..context()
    }
}

pub fn registration(id: ToolId, workspace: WorkspaceId, name: &str) -> Command {
    Command::Register {
        id,
        workspace,
        number: 1,
        details: Details {
            name: name.to_owned(),
            title: None,
            description: "says what it is told".to_owned(),
            category: None,
            tags: Vec::new(),
        },
        definition: Box::new(Definition {
            config: ToolConfig::Native(NativeConfig {
                function_path: "echo".to_owned(),
            }),
            input_schema: json!({"type": "object"}),
            output_schema: None,
            policy: tool::PolicyOverrides::default(),
            requires_approval: false,
        }),
        at: Timestamp::UNIX_EPOCH,
    }
}

pub async fn register(
    log: &EventLog,
    name: &str,
    context: CommandContext,
) -> Result<Executed<Tool>, CommandError<tool::Error>> {
    let id = ToolId::from_uuid(ids::new_uuid());
    log.bus
        .execute(
            Target::New(id.to_string()),
            registration(id, context.workspace, name),
            &context,
        )
        .await
}

/// A command that always writes one event.
pub fn toggle(tool: &Tool) -> Command {
    let at = Timestamp::UNIX_EPOCH;
    if tool.is_active() {
        Command::Deactivate { at }
    } else {
        Command::Activate { at }
    }
}
