//! Runs an action of a connector's tool.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Map, Value, json};
use toolroom_domain::{
    Clock, ErrorCategory, JobId, Violation, WorkspaceId,
    connector::{ConnectorSpec, TEST_CONNECTION},
    tool::ConnectorConfig,
};

use super::{
    Connectors,
    auth::Around,
    compiled::{Connector, Found, with_defaults},
    credentials::{self, Source},
    fill::{Filler, Names},
    handler::HandlerCall,
    run::{Outcome, Run, Transport},
};
use crate::executor::{
    egress::Egress,
    error::CallError,
    http::{Step, Wire},
    rehearsal,
    rest::Templates,
    secrets::{SecretSource, Secrets},
};

/// Runs actions, and checks what tools are registered with.
#[derive(Clone, Debug)]
pub(crate) struct Engine(Arc<Connectors>);

/// What a call has around it.
pub(crate) struct Surroundings<'a> {
    pub(crate) wire: &'a Wire<'a>,
    pub(crate) egress: &'a Egress,
    pub(crate) templates: &'a Templates,
    pub(crate) references: &'a SecretSource,
    pub(crate) workspace: WorkspaceId,
}

/// What is wanted of a tool.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) config: &'a ConnectorConfig,
    pub(crate) job: JobId,
    /// Which action; a connector with one needs none.
    pub(crate) action: Option<&'a str>,
    pub(crate) input: &'a Value,
    /// Whether nothing shall change at the service.
    pub(crate) is_test: bool,
}

impl Engine {
    pub(crate) fn new(connectors: Arc<Connectors>) -> Self {
        Self(connectors)
    }

    pub(crate) fn rate_limit(&self, kind: &str) -> Option<super::RateLimit> {
        self.0.rate_limit(kind)
    }

    pub(crate) fn specs(&self) -> &[Arc<ConnectorSpec>] {
        self.0.specs()
    }

    /// Checks what a tool is registered with.
    ///
    /// # Errors
    /// All that is wrong, paths beginning with `type`, `credentials` or `config`.
    pub(crate) fn check_settings(
        &self,
        kind: &str,
        credentials: &Value,
        config: Option<&Value>,
    ) -> Result<(), Vec<Violation>> {
        let connector = self.connector(kind).map_err(|v| vec![v.under("type")])?;
        let credentials = with_defaults(&connector.file.credentials, credentials);
        let settings = connector.check_settings(&credentials, config);
        let mut found = settings.err().unwrap_or_default();
        if let Some(config) = config {
            let names: BTreeSet<&str> = connector.handlers().collect();
            let handlers = names
                .into_iter()
                .filter_map(|name| self.0.handlers.get(name));
            let problems = handlers.flat_map(|handler| handler.check_config(config));
            found.extend(problems.map(|v| v.under("config")));
        }
        if found.is_empty() { Ok(()) } else { Err(found) }
    }

    /// # Errors
    /// When there is no connector of a type, naming those that there are.
    pub(crate) fn check_kind(&self, kind: &str) -> Result<(), Violation> {
        self.connector(kind).map(drop)
    }

    /// Checks an input against an action's schema.
    ///
    /// # Errors
    /// All that is wrong, paths relative to the input.
    pub(crate) fn check_input(
        &self,
        kind: &str,
        action: Option<&str>,
        input: &Value,
    ) -> Result<(), Vec<Violation>> {
        if action == Some(TEST_CONNECTION) {
            return Ok(());
        }
        let connector = self.connector(kind).map_err(|v| vec![v])?;
        let found =
            find_action(connector, action).map_err(|e| vec![Violation::new("", e.message)])?;
        found.check_input(&with_defaults(&found.action.input, input))
    }

    /// Whether an action changes nothing, so that a rehearsal carries it out.
    pub(crate) fn is_harmless(&self, kind: &str, action: Option<&str>) -> bool {
        let found = self.0.find(kind);
        let found = found.and_then(|connector| find_action(connector, action).ok());
        found.is_some_and(|found| found.action.harmless)
    }

    fn connector(&self, kind: &str) -> Result<&Connector, Violation> {
        self.0.find(kind).ok_or_else(|| {
            let known: Vec<_> = self.specs().iter().map(|spec| &*spec.kind).collect();
            let problem = format!(
                "is not a connector of this server; there are {}",
                known.join(", ")
            );
            Violation::new("", problem)
        })
    }

    /// Runs an action. In test mode gives what would be sent, and what came of it where the action
    /// is harmless.
    ///
    /// # Errors
    /// Why there is no output.
    pub(crate) async fn call(
        &self,
        around: &Surroundings<'_>,
        wanted: Wanted<'_>,
    ) -> Result<Value, CallError> {
        let kind = &wanted.config.connector;
        let connector = self.connector(kind).map_err(|violation| {
            CallError::invalid(format!("the connector `{kind}` {}", violation.message))
        })?;
        let mut secrets = Secrets::of(around.workspace);
        let call = Call {
            connectors: &self.0,
            connector,
            around,
            wanted,
            credentials: resolved(connector, around, wanted, &mut secrets).await?,
            config: wanted.config.config.clone().unwrap_or_else(|| json!({})),
        };
        let outcome = match wanted.action {
            Some(TEST_CONNECTION) => call.test_connection(&mut secrets).await,
            action => {
                call.act(find_action(connector, action)?, &mut secrets)
                    .await
            }
        };
        match outcome {
            Ok(output) => Ok(secrets.masked_output(output).await),
            Err(error) => Err(secrets.mask_error(error)),
        }
    }
}

/// The action that is meant.
///
/// # Errors
/// When there is none of that id, or several and none is named; with the ids that there are.
fn find_action<'a>(connector: &'a Connector, action: Option<&str>) -> Result<Found<'a>, CallError> {
    let ids = || {
        let ids: Vec<_> = connector.actions().map(|f| f.action.id.as_str()).collect();
        ids.join(", ")
    };
    let kind = &connector.file.kind;
    match action {
        Some(id) => connector.action(id).ok_or_else(|| {
            CallError::invalid(format!("{kind} has no such action; there are {}", ids()))
        }),
        None => {
            let mut all = connector.actions();
            match (all.next(), all.next()) {
                (Some(only), None) => Ok(only),
                _ => Err(CallError::invalid(format!(
                    "{kind} has several actions; name one of {}",
                    ids()
                ))),
            }
        }
    }
}

async fn resolved(
    connector: &Connector,
    around: &Surroundings<'_>,
    wanted: Wanted<'_>,
    secrets: &mut Secrets,
) -> Result<Value, CallError> {
    let source = Source {
        workspace: around.workspace,
        references: around.references,
        journal: around.wire.journal(),
    };
    let (schema, of) = (&connector.file.credentials, &wanted.config.credentials);
    let credentials = credentials::resolve(&source, &connector.file, of, secrets).await?;
    let credentials = with_defaults(schema, &credentials);
    // A reference is checked only now that its value is known; the connector may be a newer one.
    connector
        .check_settings(&credentials, wanted.config.config.as_ref())
        .map_err(|found| {
            let message =
                "the tool's credentials or settings do not fit its connector; see `details`";
            let error = CallError::failed(ErrorCategory::Authentication, message);
            error.with_violations(&found)
        })?;
    Ok(credentials)
}

/// One call under way.
struct Call<'a> {
    connectors: &'a Connectors,
    connector: &'a Connector,
    around: &'a Surroundings<'a>,
    wanted: Wanted<'a>,
    credentials: Value,
    config: Value,
}

impl Call<'_> {
    fn names(&self, input: &Value) -> Names {
        names(
            &self.credentials,
            &self.config,
            input,
            self.around.wire.clock(),
        )
    }

    async fn act(&self, found: Found<'_>, secrets: &mut Secrets) -> Result<Value, CallError> {
        let input = with_defaults(&found.action.input, self.wanted.input);
        found.check_input(&input).map_err(|violations| {
            let message = "the input does not match the action's schema; see `details`";
            CallError::invalid(message).with_violations(&violations)
        })?;
        if let Some(name) = &found.action.handler {
            return self.handle(found, name, &input, secrets).await;
        }
        let is_sent = !self.wanted.is_test || found.action.harmless;
        let transport = match is_sent {
            true => Transport::Wire(self.around.wire),
            false => Transport::Nowhere,
        };
        let mut run = self.run(Some(found), &input, transport, secrets);
        let place = format!("actions.{}", found.number);
        let needs = found.action.needs.as_deref();
        let (i, alternative) = run.choose(&place, &found.action.requests, needs)?;
        let place = format!("{place}.requests.{i}");
        let outcome = run.carry_out(&place, alternative).await?;
        let shown = run.shown.unwrap_or_default().into_iter().next();
        let request = shown.unwrap_or(Value::Null);
        match outcome {
            Outcome::Done(output) => {
                checked(found, &output)?;
                if self.wanted.is_test {
                    return Ok(rehearsal::answer(request, &[], Some(output)));
                }
                Ok(output)
            }
            Outcome::Rendered(later) => Ok(rehearsal::answer(request, &later, None)),
        }
    }

    fn run<'r>(
        &'r self,
        action: Option<Found<'r>>,
        input: &Value,
        transport: Transport<'r, 'r>,
        secrets: &'r mut Secrets,
    ) -> Run<'r, 'r> {
        let wire = match &transport {
            Transport::Wire(wire) => Some(*wire),
            Transport::Examples(_) | Transport::Nowhere => None,
        };
        Run {
            connector: self.connector,
            action,
            templates: self.around.templates,
            names: self.names(input),
            around: Around {
                methods: &self.connectors.methods,
                wire,
                clock: self.around.wire.clock(),
                secrets,
            },
            transport,
            steps: numbered(self.wanted.job),
            shown: self.wanted.is_test.then(Vec::new),
        }
    }

    async fn handle(
        &self,
        found: Found<'_>,
        name: &str,
        input: &Value,
        secrets: &mut Secrets,
    ) -> Result<Value, CallError> {
        let handler = self.handler(name)?;
        if self.wanted.is_test && !found.action.harmless {
            let mut shown =
                handler.render(&found.action.id, &self.credentials, &self.config, input)?;
            rehearsal::mask(secrets, &mut shown);
            return Ok(rehearsal::answer(shown, &[], None));
        }
        let output = handler
            .call(HandlerCall {
                action: Some(&found.action.id),
                credentials: &self.credentials,
                config: &self.config,
                input,
                wire: self.around.wire,
                egress: self.around.egress,
                secrets,
            })
            .await?;
        checked(found, &output)?;
        Ok(output)
    }

    fn handler(&self, name: &str) -> Result<&dyn super::handler::Handler, CallError> {
        let handler = self.connectors.handlers.get(name);
        handler
            .map(|handler| &**handler)
            .ok_or_else(|| CallError::invalid(format!("this server has no handler `{name}`")))
    }

    /// The connector's harmless call.
    async fn test_connection(&self, secrets: &mut Secrets) -> Result<Value, CallError> {
        let name = &self.connector.file.name;
        let untested = |why: String| {
            let message = format!("the credentials have the right form; nothing was sent: {why}");
            json!({ "success": true, "message": message, "details": { "sent": false } })
        };
        let Some(test) = &self.connector.file.test else {
            return Ok(untested(format!("{name} has no call that changes nothing")));
        };
        let mut details = Map::new();
        details.insert("sent".to_owned(), Value::Bool(true));
        let mut message = format!("{name} accepts the credentials");
        let input = json!({});
        if let Some(handler) = &test.handler {
            let call = HandlerCall {
                action: None,
                credentials: &self.credentials,
                config: &self.config,
                input: &input,
                wire: self.around.wire,
                egress: self.around.egress,
                secrets,
            };
            let told = self.handler(handler)?.call(call).await?;
            details.insert("answer".to_owned(), told);
        } else {
            let transport = Transport::Wire(self.around.wire);
            let mut run = self.run(None, &input, transport, secrets);
            let needs = test.needs.as_deref();
            let (i, alternative) = match run.choose("test", &test.requests, needs) {
                Ok(chosen) => chosen,
                Err(error) => return Ok(untested(error.message)),
            };
            let place = format!("test.requests.{i}");
            if let Outcome::Done(output) = run.carry_out(&place, alternative).await? {
                details.insert("answer".to_owned(), output);
            }
            if let Some(source) = &test.message {
                let filler = Filler::new(self.around.templates, &run.names);
                message = filler.text("test.message", source)?;
            }
        }
        Ok(json!({ "success": true, "message": message, "details": details }))
    }
}

/// What templates see before a request.
pub(super) fn names(
    credentials: &Value,
    config: &Value,
    input: &Value,
    clock: &dyn Clock,
) -> Names {
    let mut names = Names::default();
    names.set("credentials", credentials);
    names.set("config", config);
    names.set("input", input);
    names.moment(clock.now());
    names
}

/// Counts the calls of a job that no wire counts.
pub(super) fn numbered(job: JobId) -> Box<dyn FnMut() -> Step + Send> {
    let mut number = 0;
    Box::new(move || {
        number += 1;
        Step::numbered(job, number)
    })
}

fn checked(found: Found<'_>, output: &Value) -> Result<(), CallError> {
    found.check_output(output).map_err(|violations| {
        let message = "the action's output does not match its output schema; see `details`";
        CallError::failed(ErrorCategory::Validation, message).with_violations(&violations)
    })
}
