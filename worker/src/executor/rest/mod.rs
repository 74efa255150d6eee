//! Tools that are a REST call described by JSON.

mod auth;
mod body;
mod check;
mod link;
mod mapping;
mod oauth;
mod pages;
mod placeholder;
mod request;
mod template;

use reqwest::StatusCode;
use serde_json::{Map, Value};
use toolroom_domain::{
    ErrorCategory, ToolId, Violation, WorkspaceId,
    tool::{Definition, Mapping, RestConfig},
};

pub(super) use self::mapping::{check_output_mapping, map_output};
pub(crate) use self::template::{Context, Place, Templates, context_at, time_names};
use self::{
    auth::Credential,
    mapping::{Entry, apply, input_entry, output_entry},
};
pub(super) use self::{check::check, oauth::Tokens};
use super::{
    error::CallError,
    format,
    http::{Answer, Outgoing, Wire, exchange},
    schema::{INLINE_BYTES, serialised_bytes},
    secrets::{SecretSource, Secrets},
};

/// What a REST call takes of its surroundings.
pub(super) struct Surroundings<'a> {
    pub(super) wire: &'a Wire<'a>,
    pub(super) templates: &'a Templates,
    pub(super) tokens: &'a Tokens,
    pub(super) secrets: &'a SecretSource,
    /// Whose secrets.
    pub(super) workspace: WorkspaceId,
    pub(super) tool: ToolId,
    pub(super) version: u32,
}

/// Sends the requests of one run, with its credentials.
struct Sender<'a> {
    around: &'a Surroundings<'a>,
    credential: Credential<'a>,
    secrets: Secrets,
}

impl Sender<'_> {
    /// The answer to a request, if it is one of success.
    async fn send(&mut self, outgoing: Outgoing) -> Result<Answer, CallError> {
        let answer = self.exchange(outgoing.clone()).await?;
        let refused = answer.status == StatusCode::UNAUTHORIZED;
        if refused
            && self
                .credential
                .renew(self.around, &mut self.secrets)
                .await?
        {
            return self.exchange(outgoing).await?.successful(&self.secrets);
        }
        answer.successful(&self.secrets)
    }

    async fn exchange(&self, mut outgoing: Outgoing) -> Result<Answer, CallError> {
        self.credential.put(&mut outgoing)?;
        request::check_length(&outgoing)?;
        exchange(self.around.wire, outgoing, &self.secrets).await
    }
}

/// Runs one call.
pub(super) async fn call(
    around: Surroundings<'_>,
    config: &RestConfig,
    definition: &Definition,
    input: &Value,
) -> Result<Value, CallError> {
    let api = &config.api;
    let outgoing = request::build(&around, config, input)?;
    let mut secrets = Secrets::of(around.workspace);
    let credential = Credential::resolve(api.auth.as_ref(), &around, &mut secrets).await;
    // Also where nothing is sent after all: the secrets were read.
    around.wire.tell(&secrets);
    let credential = credential.map_err(|error| secrets.mask_error(error))?;
    let mut sender = Sender {
        around: &around,
        credential,
        secrets,
    };
    match answered(&mut sender, config, definition, outgoing).await {
        Ok(output) => Ok(sender.secrets.masked_output(output).await),
        Err(error) => Err(sender.secrets.mask_error(error)),
    }
}

/// The output that the endpoint's answers give, secrets and all.
async fn answered(
    sender: &mut Sender<'_>,
    config: &RestConfig,
    definition: &Definition,
    outgoing: Outgoing,
) -> Result<Value, CallError> {
    let api = &config.api;
    let answer = match &api.pagination {
        Some(pagination) => pages::fetch(sender, api, pagination, outgoing).await?,
        None => format::value(sender.send(outgoing).await?, api.response_format).await?,
    };
    let entries = outputs(&config.mapping, definition.output_schema.as_ref())
        .map_err(|found| misconfigured(&found))?;
    Ok(match entries.is_empty() {
        true => answer,
        false => Value::Object(map_answer(entries, answer).await?),
    })
}

/// Maps an answer; a large one on a thread of its own.
async fn map_answer(entries: Vec<Entry>, answer: Value) -> Result<Map<String, Value>, CallError> {
    let failed = |problem: String| {
        CallError::failed(
            ErrorCategory::ServerError,
            format!("the answer could not be mapped: {problem}"),
        )
    };
    let mapped = if serialised_bytes(&answer) <= INLINE_BYTES {
        apply(&entries, &answer)
    } else {
        tokio::task::spawn_blocking(move || apply(&entries, &answer))
            .await
            .map_err(|_| failed("the mapping broke off".to_owned()))?
    };
    mapped.map_err(|problem| failed(format!("a path {problem}")))
}

fn inputs(mapping: &Mapping) -> Result<Vec<Entry>, Vec<Violation>> {
    let entries = mapping.input_to_params.iter();
    let entries = entries.map(|(key, value)| input_entry(key, value));
    collect(entries, "mapping.input_to_params")
}

fn outputs(mapping: &Mapping, output_schema: Option<&Value>) -> Result<Vec<Entry>, Vec<Violation>> {
    let entries = mapping.response_to_output.iter();
    let entries = entries.map(|(key, value)| output_entry(key, value, output_schema));
    collect(entries, "mapping.response_to_output")
}

fn collect(
    entries: impl Iterator<Item = Result<Entry, Violation>>,
    place: &str,
) -> Result<Vec<Entry>, Vec<Violation>> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry {
            Ok(entry) => good.push(entry),
            Err(violation) => bad.push(violation.under(place)),
        }
    }
    if bad.is_empty() { Ok(good) } else { Err(bad) }
}

/// A definition that was registered before a rule came about.
fn misconfigured(found: &[Violation]) -> CallError {
    CallError::invalid("the tool's definition is not valid any more; revise the tool")
        .with_violations(found)
}
