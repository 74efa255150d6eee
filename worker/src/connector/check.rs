//! What `toolroom connectors check` tells of a file: whether it is sound, and what its examples
//! would send.

use jiff::Timestamp;
use serde_json::Value;
use toolroom_domain::{Clock, JobId, WorkspaceId};
use uuid::Uuid;

use super::{
    Connectors, LoadError,
    auth::Around,
    compiled::{Connector, Found, with_defaults},
    credentials,
    engine::{names, numbered},
    format::Example,
    run::{Outcome, Run, Transport},
};
use crate::executor::{
    error::CallError, http::Answer, rehearsal, rest::Templates, secrets::Secrets,
};

/// 2030-01-01T00:00:00Z: when examples are rendered.
const NEW_YEAR: i64 = 1_893_456_000;

/// What an example comes to.
#[derive(Debug)]
pub struct Shown {
    /// The action's id.
    pub action: String,
    /// The example's name.
    pub name: String,
    /// What would be sent, secrets masked: method, url, headers, body.
    pub requests: Vec<Value>,
    /// What the action would give, where the example says what the service answers.
    pub output: Option<Value>,
    /// Steps that would follow, but of which nothing is known without an answer.
    pub later: Vec<String>,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// A file that is sound.
#[derive(Debug)]
pub struct Checked {
    /// The connector's type.
    pub kind: String,
    /// How many actions it has.
    pub actions: usize,
    /// Its examples, in the order of the file.
    pub examples: Vec<Shown>,
}

/// Checks a file and tells what its examples would send. Sends nothing.
///
/// # Errors
/// All that is wrong with the file.
pub async fn check(name: &str, text: &str) -> Result<Checked, LoadError> {
    let clock = &NewYear;
    let connectors = Connectors::of(&[(name.to_owned(), text.to_owned())])?;
    let templates = Templates::new();
    let mut checked = Checked {
        kind: String::new(),
        actions: 0,
        examples: Vec::new(),
    };
    for connector in &connectors.all {
        checked.kind.clone_from(&connector.file.kind);
        for found in connector.actions() {
            checked.actions += 1;
            for (i, example) in found.action.examples.iter().enumerate() {
                let run = Rendering {
                    connectors: &connectors,
                    connector,
                    templates: &templates,
                    clock,
                };
                let mut shown = Shown {
                    action: found.action.id.clone(),
                    name: example.name.clone(),
                    requests: Vec::new(),
                    output: None,
                    later: Vec::new(),
                    problem: None,
                };
                if let Err(error) = run.render(found, example, &mut shown).await {
                    let place = format!("actions.{}.examples.{i}", found.number);
                    shown.problem = Some(told(name, &place, &error));
                }
                checked.examples.push(shown);
            }
        }
    }
    Ok(checked)
}

fn told(file: &str, place: &str, error: &CallError) -> String {
    match &error.details {
        Some(details) => format!("{file}: {place}: {error}: {details}"),
        None => format!("{file}: {place}: {error}"),
    }
}

/// A moment that is always the same, so that the same file gives the same requests.
struct NewYear;

impl Clock for NewYear {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(NEW_YEAR).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

struct Rendering<'a> {
    connectors: &'a Connectors,
    connector: &'a Connector,
    templates: &'a Templates,
    clock: &'a dyn Clock,
}

impl Rendering<'_> {
    async fn render(
        &self,
        found: Found<'_>,
        example: &Example,
        shown: &mut Shown,
    ) -> Result<(), CallError> {
        let schema = &self.connector.file.credentials;
        let credentials = with_defaults(schema, &example.credentials);
        let config = example
            .config
            .clone()
            .unwrap_or_else(|| serde_json::json!({}));
        let input = with_defaults(&found.action.input, &example.input);
        let mut secrets = Secrets::of(WorkspaceId::NONE);
        credentials::register(schema, &credentials, &mut secrets);
        if let Some(name) = &found.action.handler {
            let handler = self.connectors.handlers.get(name);
            let handler = handler.ok_or_else(|| CallError::invalid("there is no such handler"))?;
            let mut request = handler.render(&found.action.id, &credentials, &config, &input)?;
            rehearsal::mask(&secrets, &mut request);
            shown.requests.push(request);
            return Ok(());
        }
        let answers: Vec<Answer> = example
            .answers
            .iter()
            .map(|a| Answer::made_up(a.status, &a.headers, &a.body))
            .collect::<Result<_, _>>()?;
        let mut run = Run {
            connector: self.connector,
            action: Some(found),
            templates: self.templates,
            names: names(&credentials, &config, &input, self.clock),
            around: Around {
                methods: &self.connectors.methods,
                wire: None,
                clock: self.clock,
                secrets: &mut secrets,
            },
            transport: Transport::Examples(answers.into_iter()),
            steps: numbered(JobId::from_uuid(Uuid::nil())),
            shown: Some(Vec::new()),
        };
        let place = format!("actions.{}", found.number);
        let needs = found.action.needs.as_deref();
        let (i, alternative) = run.choose(&place, &found.action.requests, needs)?;
        let place = format!("{place}.requests.{i}");
        let outcome = run.carry_out(&place, alternative).await;
        shown.requests = run.shown.take().unwrap_or_default();
        drop(run);
        match outcome? {
            Outcome::Rendered(later) => shown.later = later,
            Outcome::Done(mut output) => {
                found.check_output(&output).map_err(|violations| {
                    let message = "the output does not match the action's output schema";
                    CallError::invalid(message).with_violations(&violations)
                })?;
                rehearsal::mask(&secrets, &mut output);
                shown.output = Some(output);
            }
        }
        Ok(())
    }
}
