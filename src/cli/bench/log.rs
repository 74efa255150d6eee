//! A log to measure, and commands to send to it.

use anyhow::Context as _;
use sqlx::{ConnectOptions as _, PgPool, postgres::PgPoolOptions};
use tokio_util::sync::CancellationToken;
use toolroom_domain::{
    Actor, Clock as _, JobId, Sealed, ToolId, WorkspaceId,
    job::{Command, Job, Request, ToolRef},
    tool::Kind,
};
use toolroom_eventlog::{
    CommandBus, CommandContext, Database, EventLog, SystemClock,
    command::Target,
    embedded::Server,
    ids,
    log::{Options, Tasks},
    vault::MasterKey,
};

/// The workspace of everything here.
pub const WORKSPACE: WorkspaceId = WorkspaceId::DEFAULT;

/// For statements one after the other, and one to spare.
const OWNER_CONNECTIONS: u32 = 2;

/// A log started on a private server.
pub struct Log {
    /// The log itself.
    pub log: EventLog,
    /// Connections as the owner.
    pub owner: PgPool,
    /// Ends what follows the log.
    pub shutdown: CancellationToken,
    tasks: Tasks,
}

impl Log {
    /// Starts one, with or without its sequencer; its tables are made if there are none.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn start(server: &Server, sequence: bool) -> anyhow::Result<Self> {
        let database = Database::connect_lazy(server.connect_options());
        let owner = PgPoolOptions::new()
            .max_connections(OWNER_CONNECTIONS)
            // Filling a log takes seconds a statement, which is no news.
            .connect_with(server.connect_options().disable_statement_logging())
            .await?;
        toolroom_eventlog::migrate(&owner).await?;
        let master = MasterKey::from_file_or_new(&server.data_dir().join("master.key"))?;
        let shutdown = CancellationToken::new();
        let options = Options {
            sequence,
            other_nodes: false,
        };
        let (log, tasks) = EventLog::start(database, master, options, &shutdown).await?;
        Ok(Self {
            log,
            owner,
            shutdown,
            tasks,
        })
    }

    /// Ends its parts.
    pub async fn finish(self) {
        self.shutdown.cancel();
        self.tasks.finish().await;
        self.log.database.close().await;
        self.owner.close().await;
    }
}

/// A job's request: a command that appends one event of a common size.
pub fn request(id: JobId) -> Command {
    Command::Request(Box::new(Request {
        id,
        workspace: WORKSPACE,
        tool: ToolRef {
            id: ToolId::from_uuid(ids::new_uuid()),
            version: 1,
            kind: Kind::Native,
            connector: None,
        },
        action: None,
        input: Sealed {
            key: 1,
            data: "c2VhbGVk".repeat(10),
            blob: None,
        },
        is_test: false,
        priority: 0,
        run_at: None,
        rerun_of: None,
        recorded: false,
        at: SystemClock.now(),
    }))
}

/// Sends [`request`] through the whole way of a command: loaded, decided, durable.
///
/// # Errors
/// When it is not.
pub async fn append(bus: &CommandBus) -> anyhow::Result<()> {
    let id = JobId::from_uuid(ids::new_uuid());
    let target = Target::<Job>::Existing(id.to_string());
    let executed = bus.execute(target, request(id), &context()).await;
    executed.context("a command was refused")?;
    Ok(())
}

/// Who sends commands here.
pub fn context() -> CommandContext {
    CommandContext {
        workspace: WORKSPACE,
        actor: Actor::local_owner(),
        named: None,
        correlation_id: ids::new_uuid().to_string(),
        causation_id: None,
        ip: None,
        user_agent: None,
        side: Vec::new(),
    }
}
