//! What every request shares, and what each brings.

use std::{
    ops::Deref,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use toolroom_projections::Reader;

use crate::{
    asked::asked,
    auth::{Authenticator, Credential, Identify as _, Identity},
    denial::Denials,
    error::ApiError,
    limit::{Limits, Plans},
    service::{directory::Directory, host::Host, jobs::Told},
};
use jiff::Timestamp;
use serde::Serialize;
use toolroom_domain::{
    Actor, Clock, ErrorCode, WorkspaceId,
    access::{self, Caller, Operation},
    limits::COMMAND_ID_CHARS,
    port::{DefinitionChecker, Mailer, Presenter, Runner},
};
use toolroom_eventlog::{CommandContext, EventLog, Position, command::NamedCommand, vault};

/// How long a command waits for its own effect to be readable, and a read for the position that
/// its sender asks for: far above the usual milliseconds, below what a client waits for.
pub const READ_YOUR_WRITES: Duration = Duration::from_secs(5);

/// What the operator sets of the API.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// Where clients reach the server, without a slash at the end; what endpoints are formed with.
    pub public_url: String,
    /// The version that `health` tells.
    pub version: String,
    /// When the server started.
    pub started_at: Timestamp,
    /// The folder whose disk `health` tells the use of.
    pub data_dir: PathBuf,
    /// Whether workspaces have no more than their plans grant.
    pub plan_limits: bool,
}

/// What the binary hands in.
pub struct Parts {
    /// The log, its commands and its vault.
    pub log: EventLog,
    /// The read models.
    pub projections: Reader,
    /// Runs calls on this node.
    pub runner: Arc<dyn Runner>,
    /// Knows what each kind of tool needs of its definition.
    pub checker: Arc<dyn DefinitionChecker>,
    /// Prepares the values of jobs for whoever is shown them.
    pub presenter: Arc<dyn Presenter>,
    /// Recognises callers.
    pub auth: Arc<Authenticator>,
    /// Sends letters, where a mail server is configured.
    pub mailer: Option<Arc<dyn Mailer>>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// What the operator sets.
    pub options: ApiOptions,
}

/// What every request shares. Cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

/// The parts and what is remembered of them.
pub struct Shared {
    parts: Parts,
    /// Which tool a name means, and what its versions do.
    pub(crate) directory: Directory,
    /// What the machine has left.
    pub(crate) host: Host,
    /// What plans limit.
    pub limits: Limits,
    /// Who was refused what.
    pub denials: Denials,
    epoch: tokio::sync::OnceCell<i32>,
}

impl Deref for Shared {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl AppState {
    /// The state of a server made of these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Shared {
            directory: Directory::new(parts.log.clone()),
            host: Host::new(&parts.options.data_dir),
            limits: Limits::new(
                parts.log.clone(),
                parts.projections.clone(),
                Arc::clone(&parts.auth) as Arc<dyn Plans>,
                Arc::clone(&parts.clock),
                // Whoever owns the server has what the machine has.
                parts.options.plan_limits && !parts.auth.is_local(),
            ),
            denials: parts.auth.denials().clone(),
            parts,
            epoch: tokio::sync::OnceCell::new(),
        }))
    }

    /// The log's epoch. It grows only with a recovery, which no running server lives through.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn epoch(&self) -> Result<i32, ApiError> {
        self.epoch
            .get_or_try_init(async || Ok(self.log.feed.head().await?.epoch))
            .await
            .copied()
    }

    /// For whatever is done before a command could refuse it.
    ///
    /// # Errors
    /// `CONFLICT` when the workspace was erased.
    pub async fn must_not_be_erased(&self, workspace: WorkspaceId) -> Result<(), ApiError> {
        match self.log.vault.is_erased(workspace).await? {
            true => Err(vault::Error::Erased.into()),
            false => Ok(()),
        }
    }

    /// A place in the log as clients hold it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn position(&self, position: i64) -> Result<Position, ApiError> {
        Ok(Position::new(self.epoch().await?, position))
    }
}

/// Where the last command of a request wrote, for whoever answers the request.
#[derive(Clone, Debug, Default)]
pub struct Written(Arc<Mutex<Option<Position>>>);

impl Written {
    /// The newest position that the request wrote, once it can be read.
    pub fn get(&self) -> Option<Position> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a position, unless a newer one is known.
    pub(crate) fn note(&self, position: Position) {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = (*newest).max(Some(position));
    }
}

/// Who asks, from where, and under which names.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The selected workspace.
    pub workspace: WorkspaceId,
    /// Who.
    pub actor: Actor,
    /// What they may do.
    pub caller: Caller,
    /// By what they were recognised.
    pub credential: Credential,
    /// Their address, if it is known.
    pub email: Option<String>,
    /// The request's id: what answers, logs and the events it causes have in common.
    pub request_id: String,
    /// From which address.
    pub ip: Option<String>,
    /// With which program.
    pub user_agent: Option<String>,
    /// How far reads must be, from `X-Min-Position`.
    pub min_position: Option<Position>,
    /// The command id of commands that carry none, from `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// Where the request wrote, for `X-Toolroom-Position`.
    pub written: Written,
    /// Who tells the audit of it when the sender is refused something.
    pub denials: Option<Denials>,
    /// What a REST request asks for; a GraphQL document asks for several things.
    pub operation: Option<Operation>,
    /// What it was told of jobs' values.
    pub told: Told,
}

impl RequestContext {
    /// The request of whoever reaches the loopback address of a server in local mode: the owner of
    /// the workspace `default`.
    pub fn local(request_id: impl Into<String>) -> Self {
        Self::of(Identity::local(), request_id)
    }

    /// The request of somebody who was recognised.
    pub fn of(sender: Identity, request_id: impl Into<String>) -> Self {
        Self {
            workspace: sender.workspace,
            actor: sender.actor,
            caller: sender.caller,
            credential: sender.credential,
            email: sender.email,
            request_id: request_id.into(),
            ip: None,
            user_agent: None,
            min_position: None,
            idempotency_key: None,
            written: Written::default(),
            denials: None,
            operation: None,
            told: Told::default(),
        }
    }

    /// The same request, of somebody else who was recognised.
    pub(crate) fn sent_by(self, sender: Identity) -> Self {
        Self {
            workspace: sender.workspace,
            actor: sender.actor,
            caller: sender.caller,
            credential: sender.credential,
            email: sender.email,
            ..self
        }
    }

    /// Asks the one table whether the sender may do this.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` for whoever is not known, `FORBIDDEN` for whoever is and may not.
    pub fn require(&self, operation: Operation) -> Result<(), ApiError> {
        if access::permits(self.caller, operation) {
            return Ok(());
        }
        let error = self.refusal(operation);
        if let Some(denials) = &self.denials {
            denials.note(self, operation.name(), error.code);
        }
        Err(error)
    }

    /// Has the audit tell of an error that says that the sender may not: the table of roles may let
    /// them ask for what an aggregate then refuses.
    pub(crate) fn note_refusal(&self, operation: &str, error: &ApiError) {
        if error.code == ErrorCode::Forbidden
            && let Some(denials) = &self.denials
        {
            denials.note(self, operation, error.code);
        }
    }

    fn refusal(&self, operation: Operation) -> ApiError {
        let name = operation.name();
        match self.caller {
            Caller::Anonymous => ApiError::new(
                ErrorCode::Unauthenticated,
                format!(
                    "`{name}` needs a credential: send an API key or token as `Authorization: Bearer …`, or an API key as `X-API-Key`"
                ),
            ),
            Caller::User(None) => ApiError::new(
                ErrorCode::Forbidden,
                format!(
                    "`{name}` needs a workspace and you are a member of none: make one with `createWorkspace`, or accept an invitation"
                ),
            ),
            Caller::User(Some(role)) | Caller::Key(role) => {
                let who = access::who_may(operation);
                let told = format!("the role {role} does not permit `{name}`: {who} may");
                ApiError::new(ErrorCode::Forbidden, told)
            }
            Caller::Operator => unreachable!("an operator may do everything"),
        }
    }

    /// The sender of a command. `command_id` is the operation's own argument, before which
    /// `Idempotency-Key` steps back; `operation` and `request` say what is asked, so that the same
    /// id with another request is known.
    ///
    /// # Errors
    /// When the command id is empty, too long or holds control characters.
    pub fn command(
        &self,
        command_id: Option<&str>,
        operation: &str,
        request: &impl Serialize,
    ) -> Result<CommandContext, ApiError> {
        let named = match command_id.or(self.idempotency_key.as_deref()) {
            None => None,
            Some(id) => {
                check_command_id(id)?;
                let request = asked(&(operation, request)).map_err(ApiError::internal)?;
                Some(NamedCommand {
                    id: id.to_owned(),
                    request,
                })
            }
        };
        Ok(CommandContext {
            workspace: self.workspace,
            actor: self.actor.clone(),
            named,
            correlation_id: self.request_id.clone(),
            causation_id: None,
            ip: self.ip.clone(),
            user_agent: self.user_agent.clone(),
            side: Vec::new(),
        })
    }
}

fn check_command_id(id: &str) -> Result<(), ApiError> {
    let problem = if id.is_empty() {
        "must not be empty; leave it out where no repetition is meant".to_owned()
    } else if id.chars().count() > COMMAND_ID_CHARS {
        format!("must have at most {COMMAND_ID_CHARS} characters")
    } else if id.chars().any(char::is_control) {
        "must not hold control characters".to_owned()
    } else {
        return Ok(());
    };
    Err(ApiError::invalid_field("commandId", problem))
}
