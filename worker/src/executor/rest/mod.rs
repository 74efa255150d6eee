//! Tools that are a REST call described by JSON.

mod auth;
mod mapping;
mod request;
mod template;

use serde_json::{Map, Value};
use toolroom_domain::{
    ErrorCategory, Violation, WorkspaceId,
    tool::{Definition, Mapping, RestConfig},
};
use url::Url;

pub(crate) use self::template::{Place, Templates, context};
use self::{
    mapping::{Entry, apply, input_entry, output_entry},
    request::build,
};
use super::{
    error::CallError,
    http::{self, Wire},
    schema::{INLINE_BYTES, serialised_bytes},
    secrets::{SecretSource, Secrets},
};

/// What a REST call takes of its surroundings.
pub(super) struct Surroundings<'a> {
    pub(super) wire: &'a Wire<'a>,
    pub(super) templates: &'a Templates,
    pub(super) secrets: &'a SecretSource,
    /// Whose secrets.
    pub(super) workspace: WorkspaceId,
}

/// Runs one call.
pub(super) async fn call(
    around: Surroundings<'_>,
    config: &RestConfig,
    definition: &Definition,
    input: &Value,
) -> Result<Value, CallError> {
    let mut secrets = Secrets::of(around.workspace);
    let built = build(&around, config, input, &mut secrets).await;
    // Also where nothing is sent after all: the secrets were read.
    around.wire.tell(&secrets);
    let outgoing = built?;
    let answer = http::call(around.wire, outgoing, &secrets).await?;
    let entries = outputs(&config.mapping, definition.output_schema.as_ref())
        .map_err(|found| misconfigured(&found))?;
    let output = if entries.is_empty() {
        answer
    } else {
        Value::Object(map_answer(entries, answer).await?)
    };
    Ok(secrets.masked_output(output).await)
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

/// Checks what a definition says of its call.
pub(super) fn check(
    templates: &Templates,
    config: &RestConfig,
    output_schema: Option<&Value>,
) -> Vec<Violation> {
    let api = &config.api;
    let mut found = Vec::new();
    if let Err(problems) = request::check(templates, api) {
        found.extend(problems.into_iter().map(|v| v.under("api")));
    }
    if !api.base_url.contains("{{") {
        let problem = match Url::parse(&api.base_url) {
            Err(_) => Some("is not a URL"),
            Ok(url) if api.path.is_some() && (url.query(), url.fragment()) != (None, None) => {
                Some("must not hold `?` or `#` where `path` is given")
            }
            Ok(_) => None,
        };
        found.extend(problem.map(|p| Violation::new("api.base_url", p)));
    }
    for name in api.headers.keys() {
        if http::header_name(name).is_none() {
            let problem = "is not a header that a tool may set";
            found.push(Violation::new(format!("api.headers.{name}"), problem));
        }
    }
    if let Some(problem) = http::idempotency_problem(api.idempotency_header.as_deref()) {
        found.push(Violation::new("api.idempotency_header", problem));
    }
    if let Some(auth) = &api.auth {
        found.extend(auth::check(auth).into_iter().map(|v| v.under("api.auth")));
    }
    found.extend(inputs(&config.mapping).err().unwrap_or_default());
    found.extend(
        outputs(&config.mapping, output_schema)
            .err()
            .unwrap_or_default(),
    );
    found.into_iter().map(|v| v.under("rest")).collect()
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
