//! What edges need of parts that they may not depend on; the binary hands in the implementation.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::Value;

use crate::{
    actor::Actor,
    code::ErrorCode,
    connector::ConnectorSpec,
    id::{JobId, ToolId, WorkspaceId},
    job::Job,
    tool::Definition,
    violation::Violation,
};

/// Knows what each kind of tool needs of its definition: compiles schemas, looks native functions
/// up, parses templates. Pure computation, no network.
pub trait DefinitionChecker: Send + Sync + 'static {
    /// Checks a definition that a client sent.
    ///
    /// # Errors
    /// All violations, paths relative to the definition.
    fn check(&self, definition: &Definition) -> Result<(), Vec<Violation>>;

    /// The schemas that a native function brings with it, as `(input, output)`.
    fn native_schemas(&self, function_path: &str) -> Option<(Value, Option<Value>)>;

    /// Checks an input against the input schema of a definition, or of one of its actions where it
    /// has several. The action is known to be one of them.
    ///
    /// # Errors
    /// All violations, paths relative to the input.
    fn check_input(
        &self,
        tool: ToolId,
        version: u32,
        definition: &Definition,
        action: Option<&str>,
        input: &Value,
    ) -> Result<(), Vec<Violation>>;

    /// Checks what a connector's tool is registered with. A reference `${NAME}` suits any text.
    ///
    /// # Errors
    /// All violations, paths beginning with `type`, `credentials` or `config`.
    fn check_credentials(
        &self,
        kind: &str,
        credentials: &Value,
        config: Option<&Value>,
    ) -> Result<(), Vec<Violation>>;

    /// The services that tools can be made for, by type.
    fn connectors(&self) -> &[Arc<ConnectorSpec>];

    /// The connector of a type, such as `SLACK`, in whatever case.
    fn connector(&self, kind: &str) -> Option<&Arc<ConnectorSpec>> {
        let mut all = self.connectors().iter();
        all.find(|connector| connector.kind.eq_ignore_ascii_case(kind))
    }
}

/// A call to run now, on this node.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// The id that the job shall have.
    pub job: JobId,
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// The tool.
    pub tool: ToolId,
    /// Its version.
    pub version: u32,
    /// What that version does.
    pub definition: Arc<Definition>,
    /// Which of the tool's actions.
    pub action: Option<String>,
    /// What the tool is given; checked against the input schema already.
    pub input: Value,
    /// Whether it is a rehearsal.
    pub is_test: bool,
    /// Higher runs first, where it has to wait for a place.
    pub priority: i32,
    /// Who asked.
    pub actor: Actor,
    /// The command's idempotency key and what it asked for, if the client sent a key.
    pub named: Option<(String, Vec<u8>)>,
    /// What all that the request causes has in common.
    pub correlation_id: String,
    /// From which address it came.
    pub ip: Option<String>,
    /// With which program.
    pub user_agent: Option<String>,
}

/// A job as far as it got, and the place of its last event.
#[derive(Clone, Debug)]
pub struct RunOutcome {
    /// The job.
    pub job: Job,
    /// `global_seq` of its last event, to wait for before reading a read model.
    pub global_seq: i64,
}

/// Why a port could not do its part, in the words of the edge that asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct PortError {
    /// The stable code.
    pub code: ErrorCode,
    /// What was wrong and how to mend it.
    pub message: String,
    /// What is wrong with which field.
    pub violations: Vec<Violation>,
    /// When to try again, if that may help.
    pub retry_after_ms: Option<u64>,
}

/// What became of a call that was offered to this node.
#[derive(Clone, Debug)]
pub enum Offered {
    /// It is requested, and runs here; or it was requested before.
    Begun(Box<RunOutcome>),
    /// Nothing happened: it is to be requested, for whichever node has room first.
    NoRoom(Box<RunRequest>),
}

/// Runs tools on this node: what `executeTool` needs of the executor.
#[async_trait]
pub trait Runner: Send + Sync + 'static {
    /// Appends the job's request and start, runs it, appends its outcome. Returns after the
    /// outcome, or after `wait` with the job as it is then: running on.
    ///
    /// # Errors
    /// When the job could not be requested. A tool that fails is a job that failed, not an error.
    async fn run(&self, request: RunRequest, wait: Duration) -> Result<RunOutcome, PortError>;

    /// Begins a call in the background at once, if this node has room for it: then its request and
    /// its start are one append, and no queue is asked.
    ///
    /// # Errors
    /// When the job could not be requested.
    async fn offer(&self, request: RunRequest) -> Result<Offered, PortError>;
}

/// Which parts of an output are wanted, and under which names: each entry has a source (a name, a
/// dotted path, or a JSONPath, which begins with `$`) and a field, in whichever order fits.
pub type OutputMapping = BTreeMap<String, String>;

/// Prepares what jobs were given and gave back for whoever is shown it.
#[async_trait]
pub trait Presenter: Send + Sync + 'static {
    /// A value without the secrets that a tool's definition uses, as far as they are still kept.
    ///
    /// # Errors
    /// When the secrets cannot be read: then nothing is to be shown.
    async fn without_secrets(
        &self,
        workspace: WorkspaceId,
        definition: &Definition,
        value: Value,
    ) -> Result<Value, PortError>;

    /// Checks a mapping of outputs.
    ///
    /// # Errors
    /// What is wrong with its entries, by their keys.
    fn check_output_mapping(&self, mapping: &OutputMapping) -> Result<(), Vec<Violation>>;

    /// What a mapping picks from an output; what that does not hold is left out.
    ///
    /// # Errors
    /// When a path would take too long on an output of this size, by its key.
    async fn map_output(&self, mapping: &OutputMapping, output: Value) -> Result<Value, PortError>;
}

/// A letter to one address.
#[derive(Clone)]
pub struct Mail {
    /// One bare address.
    pub to: String,
    /// One line.
    pub subject: String,
    /// What it says, as plain text. It may hold a secret, so nothing prints it.
    pub text: String,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mail({:?})", self.subject)
    }
}

/// Why a letter was not sent, without anything that it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MailError(pub String);

/// Sends letters: what an invitation needs of the outside.
#[async_trait]
pub trait Mailer: Send + Sync + 'static {
    /// Hands a letter to the mail server, within a bounded time. Whether it arrives nobody knows.
    ///
    /// # Errors
    /// When the mail server did not take it.
    async fn send(&self, mail: Mail) -> Result<(), MailError>;
}
