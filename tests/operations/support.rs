//! The binary as an operator has it: a folder, commands, a server process.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use toolroom_domain::{
    Actor, Clock as _, JobId, ToolId, WorkspaceId,
    job::{self, Request, ToolRef, seal_context},
    tool::{self, Definition, Details, Kind, NativeConfig, ToolConfig},
};
use toolroom_eventlog::{
    CommandContext, CommandError, Database, EventLog, SystemClock,
    command::Target,
    embedded, ids,
    log::{Options, Tasks},
    vault::MasterKey,
};

/// Far more than anything here takes, so that a failure is told and not hung on.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An operator's working directory.
pub struct Operator {
    folder: TempDir,
    database_url: Option<String>,
}

impl Operator {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("toolroom-operator-")
            // The embedded server's account must be able to pass.
            .permissions(std::fs::Permissions::from_mode(0o711))
            .tempdir()
            .expect("the temporary folder is writable");
        Self {
            folder,
            database_url: None,
        }
    }

    /// One who has a PostgreSQL of their own, and sets `DATABASE_URL`.
    pub fn with_database(url: String) -> Self {
        Self {
            database_url: Some(url),
            ..Self::new()
        }
    }

    pub fn database_url(&self) -> &str {
        self.database_url.as_deref().expect("has a database")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_toolroom"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TOOLROOM_")) {
            if name != "TOOLROOM_PG_BIN" {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("DATABASE_URL")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(url) = &self.database_url {
            command.env("DATABASE_URL", url);
        }
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        let ended = tokio::time::timeout(PATIENCE, self.command(arguments).output()).await;
        Ran(ended
            .expect("the command ends")
            .expect("the command starts"))
    }

    /// Starts a server on the folder's default data, and waits until it listens.
    pub async fn serve(&self) -> Serving {
        self.start(&["serve", "--listen", "127.0.0.1:0"], "\"listening\"")
            .await
    }

    /// Starts a benchmark, and waits until its server runs.
    pub async fn bench(&self, arguments: &[&str]) -> Serving {
        self.start(&[&["bench"], arguments].concat(), "measuring on")
            .await
    }

    /// Starts a command, and waits until it says something.
    async fn start(&self, arguments: &[&str], awaited: &str) -> Serving {
        let mut process = self.command(arguments).spawn().expect("the binary starts");
        let stderr = process.stderr.take().expect("is piped");
        let mut lines = BufReader::new(stderr).lines();
        let listening = async {
            let mut seen = Vec::new();
            while let Ok(Some(line)) = lines.next_line().await {
                if line.contains(awaited) {
                    return line;
                }
                seen.push(line);
            }
            panic!("{arguments:?} ended: {seen:#?}");
        };
        let said = tokio::time::timeout(PATIENCE, listening)
            .await
            .expect("the command says so");
        let words = tokio::spawn(async move {
            let mut words = Vec::new();
            while let Ok(Some(line)) = lines.next_line().await {
                words.push(line);
            }
            words
        });
        Serving {
            process,
            said,
            words,
        }
    }

    /// The log of the running server, to send commands to.
    pub async fn log(&self) -> Log {
        let data = self.path("toolroom-data");
        let options = embedded::attach(&data)
            .await
            .expect("the folder can be read")
            .expect("a server runs");
        let master =
            MasterKey::from_file_or_new(&data.join("master.key")).expect("the key is there");
        let shutdown = CancellationToken::new();
        let options_of_log = Options {
            sequence: true,
            other_nodes: false,
        };
        let (log, tasks) = EventLog::start(
            Database::connect_lazy(options),
            master,
            options_of_log,
            &shutdown,
        )
        .await
        .expect("the log starts");
        Log {
            log,
            tasks,
            shutdown,
        }
    }
}

/// What a command left.
#[derive(Debug)]
pub struct Ran(Output);

impl Ran {
    pub fn new(output: Output) -> Self {
        Self(output)
    }

    pub fn code(&self) -> i32 {
        self.0.status.code().expect("was not killed")
    }

    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub fn words(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    /// What it said of why it ended with another code than 0.
    pub fn fails(self) -> String {
        assert_ne!(self.code(), 0, "{self:?}");
        self.words()
    }

    pub fn succeeds(self) -> Self {
        assert_eq!(self.code(), 0, "{self:?}");
        self
    }
}

/// A server process, or a benchmark; killed when dropped.
pub struct Serving {
    process: Child,
    /// The line for which its start waited.
    said: String,
    words: tokio::task::JoinHandle<Vec<String>>,
}

impl Serving {
    /// Where the server listens.
    pub fn url(&self) -> String {
        let said: serde_json::Value = serde_json::from_str(&self.said).expect("lines are JSON");
        said["url"].as_str().expect("it tells where").to_owned()
    }

    pub fn signal(&self, signal: Signal) {
        let id = self.process.id().expect("the process runs");
        kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).expect("it can be signalled");
    }

    /// The exit code, if it was not killed, and what was said after the start.
    pub async fn ended(mut self) -> (Option<i32>, Vec<String>) {
        let status = tokio::time::timeout(PATIENCE, self.process.wait()).await;
        let code = status
            .expect("the server ends")
            .expect("has a status")
            .code();
        (code, self.words.await.unwrap())
    }

    pub async fn stop(self) {
        self.signal(Signal::SIGTERM);
        let (code, words) = self.ended().await;
        assert_eq!(code, Some(0), "{words:#?}");
    }
}

/// The process id of the embedded server of a data folder.
pub fn postgres(data: &Path) -> Pid {
    let file = std::fs::read_to_string(data.join("postgres/postmaster.pid")).expect("it runs");
    Pid::from_raw(file.lines().next().unwrap().parse().unwrap())
}

/// A started log beside the server's.
pub struct Log {
    pub log: EventLog,
    tasks: Tasks,
    shutdown: CancellationToken,
}

impl Log {
    pub async fn close(self) {
        self.shutdown.cancel();
        self.tasks.finish().await;
        self.log.database.close().await;
    }

    /// Registers a tool: one event.
    pub async fn register(&self, name: &str, workspace: WorkspaceId) -> ToolId {
        let registered = self.try_register(name, workspace).await;
        registered.expect("is registered")
    }

    /// As [`Self::register`], where the database may be away.
    pub async fn try_register(
        &self,
        name: &str,
        workspace: WorkspaceId,
    ) -> Result<ToolId, CommandError<tool::Error>> {
        let id = ToolId::from_uuid(ids::new_uuid());
        let command = tool::Command::Register {
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
        };
        let target = Target::<tool::Tool>::New(id.to_string());
        let context = context(workspace);
        self.log.bus.execute(target, command, &context).await?;
        Ok(id)
    }

    /// Requests a job with a sealed input: one event. It is not due for long.
    pub async fn request(&self, tool: ToolId, input: serde_json::Value) -> JobId {
        let id = JobId::from_uuid(ids::new_uuid());
        let workspace = WorkspaceId::DEFAULT;
        let now = SystemClock.now();
        let sealed = self
            .log
            .vault
            .seal(workspace, &seal_context(id, "input"), &input)
            .await
            .expect("is sealed");
        let command = job::Command::Request(Box::new(Request {
            id,
            workspace,
            tool: ToolRef {
                id: tool,
                version: 1,
                kind: Kind::Native,
                connector: None,
            },
            action: None,
            input: sealed,
            is_test: false,
            priority: 0,
            run_at: Some(now + SignedDuration::from_hours(300 * 24)),
            rerun_of: None,
            recorded: false,
            at: now,
        }));
        let target = Target::<job::Job>::New(id.to_string());
        self.log
            .bus
            .execute(target, command, &context(workspace))
            .await
            .expect("is requested");
        id
    }

    /// Waits until the log has so many positions.
    pub async fn reaches(&self, position: i64) {
        let mut head = self.log.feed.watch();
        let reached = head.wait_for(|head| *head >= position);
        tokio::time::timeout(PATIENCE, reached)
            .await
            .expect("the log grows")
            .unwrap();
    }
}

fn context(workspace: WorkspaceId) -> CommandContext {
    CommandContext {
        workspace,
        actor: Actor::local_owner(),
        named: None,
        correlation_id: ids::new_uuid().to_string(),
        causation_id: None,
        ip: None,
        user_agent: None,
        side: Vec::new(),
    }
}
