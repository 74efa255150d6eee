//! Runs one attempt of a call: a native function, an external endpoint or a REST call.
//!
//! Knows no database and keeps nothing but compiled schemas. Each attempt is bounded in time by its
//! tool's policy, in size by the limits beside each step, and in reach by the egress guard; it never
//! panics, and its errors hold no secret and nothing of the input.

mod checker;
mod connection;
pub(crate) mod egress;
pub(crate) mod error;
mod external;
mod fetch;
pub(crate) mod format;
pub(crate) mod http;
pub(crate) mod journal;
mod jsonpath;
pub mod native;
mod pacing;
mod presenter;
pub(crate) mod rehearsal;
pub(crate) mod rest;
pub(crate) mod schema;
pub(crate) mod secrets;
#[cfg(test)]
pub(crate) mod tests;

use std::{fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use toolroom_domain::{
    Clock, ErrorCategory, JobId, ToolId, WorkspaceId,
    connector::TEST_CONNECTION,
    tool::{Definition, Kind, Policy, ToolConfig},
};
use tracing::Instrument;

use crate::connector::{self, Connectors};

use self::{
    egress::Egress,
    http::{Effects, Wire},
    pacing::Limit,
    rehearsal::Rehearsal,
    rest::{Templates, Tokens},
    secrets::SecretSource,
};
pub use self::{
    egress::{EgressOptions, EgressRule, ParseRuleError, Resolver, SystemResolver, is_public},
    error::{CallError, DETAILS_BYTES, Error},
    fetch::Fetcher,
    journal::{Announced, Journal, Level},
    pacing::{Pacing, Unpaced},
    secrets::{EnvLookup, KeptCredentials, NoSecrets, SecretStore, SecretValue, StoreError},
};

/// What a native function has told and may wait to be passed on; of more progress the newest is left
/// out.
const WORDS_QUEUE: usize = 16;

/// What an executor is built from.
#[derive(Clone)]
pub struct Options {
    /// What may be reached.
    pub egress: EgressOptions,
    /// Names of the variables of the environment that a `${NAME}` may read.
    pub env_secrets: Vec<String>,
    /// Reads a variable of the environment; the binary hands in the process's own.
    pub env: EnvLookup,
    /// Holds the workspaces' secrets, and the credentials of their tools.
    pub secrets: Arc<dyn SecretStore>,
    /// The services that tools can be made for.
    pub connectors: Arc<Connectors>,
    /// Tells native functions the time.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("egress", &self.egress)
            .field("env_secrets", &self.env_secrets)
            .finish_non_exhaustive()
    }
}

/// One attempt.
#[derive(Clone)]
pub struct Call<'a> {
    /// To whom the job belongs.
    pub workspace: WorkspaceId,
    /// The job; goes to the other side as `Idempotency-Key`.
    pub job: JobId,
    /// Counts from 1.
    pub attempt: u32,
    /// The tool.
    pub tool: ToolId,
    /// Its version.
    pub version: u32,
    /// What that version does.
    pub definition: &'a Definition,
    /// Which of the tool's actions; the kinds that there are have none.
    pub action: Option<&'a str>,
    /// What the tool is given; checked against the input schema already.
    pub input: &'a Value,
    /// Whether it is a rehearsal.
    pub is_test: bool,
    /// Is told what the run does.
    pub journal: &'a dyn Journal,
    /// Says when its requests may leave.
    pub pacing: &'a dyn Pacing,
    /// Ends the run.
    pub cancel: CancellationToken,
}

/// How a bounded run came to its end.
enum End<T> {
    Reached(T),
    Late,
    Cancelled,
}

/// Runs calls, and knows whether a definition can be run.
pub struct Executor {
    natives: native::Registry,
    egress: Egress,
    templates: Templates,
    tokens: Tokens,
    secrets: SecretSource,
    connectors: connector::Engine,
    schemas: schema::Cache,
    clock: Arc<dyn Clock>,
}

impl Executor {
    /// An executor with the native functions that come with Toolroom.
    ///
    /// # Errors
    /// When the HTTP client or the registry cannot be built.
    pub fn try_new(options: Options) -> Result<Self, Error> {
        Self::with_natives(options, native::Registry::built_in()?)
    }

    /// An executor with these native functions.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn with_natives(options: Options, natives: native::Registry) -> Result<Self, Error> {
        Ok(Self {
            natives,
            egress: Egress::try_new(options.egress)?,
            templates: Templates::new(),
            tokens: Tokens::new(),
            secrets: SecretSource {
                store: options.secrets,
                listed: options.env_secrets.into(),
                lookup: options.env,
            },
            connectors: connector::Engine::new(options.connectors),
            schemas: schema::Cache::new(),
            clock: options.clock,
        })
    }

    /// How often the service of a connector's type may be called, if its file says so.
    pub fn rate_limit(&self, kind: &str) -> Option<connector::RateLimit> {
        self.connectors.rate_limit(kind)
    }

    /// Whether the native function of a path changes nothing: then it may run before its start is on
    /// record.
    pub fn is_pure(&self, path: &str) -> bool {
        self.natives.is_pure(path)
    }

    /// Whether a run may reach the outside. A rehearsal may be one that only shows its request.
    pub(crate) fn may_send(&self, call: &Call<'_>) -> bool {
        if !call.is_test || call.action == Some(TEST_CONNECTION) {
            return true;
        }
        match &call.definition.config {
            ToolConfig::Native(_) => true,
            ToolConfig::External(_) => false,
            ToolConfig::Rest(rest) => connection::reads(&rest.api),
            ToolConfig::Connector(config) => {
                self.connectors.is_harmless(&config.connector, call.action)
            }
        }
    }

    /// Runs one attempt and checks its output. Dropping the future ends the run too.
    ///
    /// # Errors
    /// Why there is no output: after `policy.timeout_ms` at the latest, and at once when `cancel`
    /// is cancelled.
    pub async fn run(&self, call: Call<'_>) -> Result<Value, CallError> {
        let span = tracing::debug_span!(
            "call",
            workspace = %call.workspace,
            job = %call.job,
            attempt = call.attempt,
            tool = %call.tool,
            version = call.version,
        );
        self.bounded(&call).instrument(span).await
    }

    async fn bounded(&self, call: &Call<'_>) -> Result<Value, CallError> {
        let policy = call.definition.policy.resolve();
        let effects = Arc::new(Effects::default());
        let limit = Limit::new(Duration::from_millis(policy.timeout_ms), call.pacing);
        let attempt = AssertUnwindSafe(self.attempt(call, policy, &effects, &limit)).catch_unwind();
        // Both futures are gone before the end is judged: only then is it known what was cut off.
        let end = tokio::select! {
            biased;
            () = call.cancel.cancelled() => End::Cancelled,
            outcome = attempt => End::Reached(outcome),
            () = limit.passes() => End::Late,
        };
        let error = match end {
            End::Reached(Ok(Ok(output))) => return Ok(output),
            End::Reached(Ok(Err(error))) => error,
            // What it panicked with may hold input; the panic hook has told it already.
            End::Reached(Err(_panic)) => CallError::failed(
                ErrorCategory::Unknown,
                "the tool broke off; this is a fault of its code",
            ),
            End::Cancelled if effects.cut() => CallError::outcome_unknown(
                ErrorCategory::Unknown,
                "the run was cancelled while a call was under way that must not be doubled; \
                 whether it was carried out is not known: look there",
            ),
            End::Cancelled => CallError::cancelled(),
            End::Late if effects.cut() => CallError::outcome_unknown(
                ErrorCategory::Timeout,
                format!(
                    "the tool took longer than its limit of {} ms, while a call was under way that \
                     must not be doubled; whether it was carried out is not known: look there",
                    policy.timeout_ms
                ),
            ),
            End::Late => CallError::failed(
                ErrorCategory::Timeout,
                format!(
                    "the tool took longer than its limit of {} ms",
                    policy.timeout_ms
                ),
            ),
        };
        // A run is repeated whole: not when one of its calls must not be.
        Err(CallError {
            retryable: error.retryable && !effects.any(),
            ..error
        })
    }

    async fn attempt(
        &self,
        call: &Call<'_>,
        policy: Policy,
        effects: &Arc<Effects>,
        pacing: &dyn Pacing,
    ) -> Result<Value, CallError> {
        let config = &call.definition.config;
        let is_connector = matches!(config, ToolConfig::Connector(_));
        if !is_connector && call.action.is_some_and(|action| action != TEST_CONNECTION) {
            return Err(CallError::invalid(
                "the tool has no actions; call it without one",
            ));
        }
        if !policy.network && !matches!(config, ToolConfig::Native(_)) {
            return Err(CallError::egress_denied(
                "the tool's policy keeps it off the network; set `policy.network` to let it call",
            ));
        }
        let wire = Wire::new(
            &self.egress,
            call.journal,
            &*self.clock,
            call.job,
            Arc::clone(effects),
        )
        .paced_by(pacing);
        if !is_connector && call.action.is_some() {
            return connection::test(self, call, &wire).await;
        }
        let rehearsal = Rehearsal::default();
        let is_rehearsed = call.is_test && matches!(config.kind(), Kind::External | Kind::Rest);
        let wire = match is_rehearsed {
            true => wire.rehearsing(&rehearsal),
            false => wire,
        };
        let outcome = self.outcome(call, &wire).await;
        if is_rehearsed {
            return rehearsal.end(outcome);
        }
        self.check_output(call, outcome?).await
    }

    async fn outcome(&self, call: &Call<'_>, wire: &Wire<'_>) -> Result<Value, CallError> {
        match &call.definition.config {
            ToolConfig::Native(native) => self.call_native(call, &native.function_path).await,
            ToolConfig::External(external) => external::call(wire, external, call.input).await,
            ToolConfig::Rest(rest) => {
                let around = rest::Surroundings {
                    wire,
                    templates: &self.templates,
                    tokens: &self.tokens,
                    secrets: &self.secrets,
                    workspace: call.workspace,
                    tool: call.tool,
                    version: call.version,
                };
                rest::call(around, rest, call.definition, call.input).await
            }
            ToolConfig::Connector(config) => {
                let around = connector::Surroundings {
                    wire,
                    egress: &self.egress,
                    templates: &self.templates,
                    references: &self.secrets,
                    workspace: call.workspace,
                };
                let wanted = connector::Wanted {
                    config,
                    job: call.job,
                    action: call.action,
                    input: call.input,
                    is_test: call.is_test,
                };
                self.connectors.call(&around, wanted).await
            }
        }
    }

    async fn call_native(&self, call: &Call<'_>, path: &str) -> Result<Value, CallError> {
        let function = self.natives.find(path).ok_or_else(|| {
            CallError::invalid("this server has no native function of the tool's path")
        })?;
        let (told, mut words) = mpsc::channel(WORDS_QUEUE);
        let tell = |word| match word {
            native::Word::Progress(progress) => call.journal.progress(progress),
            native::Word::Line {
                level,
                source,
                message,
            } => call.journal.line(level, source, message),
        };
        let context = native::Context {
            clock: Arc::clone(&self.clock),
            is_test: call.is_test,
            cancel: call.cancel.child_token(),
            told,
        };
        // Cancels what the function started elsewhere, however this ends.
        let _ended = context.cancel.clone().drop_guard();
        let mut run = std::pin::pin!(function.call(context, call.input.clone()));
        loop {
            tokio::select! {
                biased;
                Some(word) = words.recv() => tell(word),
                output = &mut run => {
                    while let Ok(word) = words.try_recv() {
                        tell(word);
                    }
                    return output;
                }
            }
        }
    }

    /// Checks an output against what its tool's version promises.
    ///
    /// # Errors
    /// When it is too large, or does not match the output schema.
    pub(crate) async fn check_output(
        &self,
        call: &Call<'_>,
        output: Value,
    ) -> Result<Value, CallError> {
        schema::check_size(&output)
            .map_err(|v| CallError::too_large(format!("the tool's output {}", v.message)))?;
        if call.definition.output_schema.is_none() {
            return Ok(output);
        }
        let schemas = self
            .schemas
            .get(call.tool, call.version, call.definition)
            .map_err(|found| {
                CallError::invalid("the tool's schemas are not valid any more; revise the tool")
                    .with_violations(&found)
            })?;
        let (output, outcome) = schema::check_output(schemas, output).await;
        outcome.map(|()| output).map_err(|found| {
            let message = "the tool's output does not match its output schema; see `details`";
            CallError::failed(ErrorCategory::Validation, message).with_violations(&found)
        })
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor")
            .field("natives", &self.natives)
            .finish_non_exhaustive()
    }
}
