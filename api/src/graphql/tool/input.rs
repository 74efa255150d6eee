//! What is said of a tool to register or change it.

use std::fmt;

use async_graphql::{InputObject, MaybeUndefined};
use serde_json::Value;
use toolroom_domain::{
    Violation,
    tool::{Details, DetailsPatch, PolicyOverrides},
};

use crate::{
    error::ApiError,
    service::tools::{Behaviour, ConnectorSettings, Credentials, NewTool, PolicyPatch, ToolChange},
};

/// How runs are bounded and repeated. What is left out follows the default, or stays as it is;
/// null follows the default again.
#[derive(Clone, Debug, InputObject)]
pub struct ToolPolicyInput {
    /// The longest that one attempt may take.
    timeout_ms: MaybeUndefined<i32>,
    /// How often a run is attempted in all. Only what may succeed later is repeated, and never a call
    /// of which nobody knows whether it arrived.
    max_attempts: MaybeUndefined<i32>,
    /// The pause before the second attempt.
    initial_delay_ms: MaybeUndefined<i32>,
    /// The longest pause.
    max_delay_ms: MaybeUndefined<i32>,
    /// By how much each pause is longer than the last.
    backoff_multiplier: MaybeUndefined<f64>,
    /// Whether pauses are spread at random.
    jitter: MaybeUndefined<bool>,
    /// Whether the tool may reach the network.
    network: MaybeUndefined<bool>,
}

/// A Rust function compiled in.
#[derive(Clone, Debug, InputObject)]
pub struct NativeToolInput {
    /// Its path in the registry, such as `text.format`.
    function_path: String,
    /// In the place of the function's own input schema.
    input_schema: Option<Value>,
}

/// A POST of the input as JSON; the JSON answer is the output.
#[derive(Clone, Debug, InputObject)]
pub struct ExternalToolInput {
    /// Where to.
    endpoint_url: String,
    /// JSON Schema of the input.
    input_schema: Value,
    /// JSON Schema of the output, if promised.
    output_schema: Option<Value>,
    /// The header in which the endpoint takes an idempotency key, such as `Idempotency-Key`. Given, a
    /// call of which nobody knows whether it arrived is repeated; else it is not.
    idempotency_header: Option<String>,
}

/// A tool of a service that a connector describes.
#[derive(Clone, InputObject)]
pub struct ConnectorToolInput {
    /// Which connector, such as `SLACK`, in whatever case.
    #[graphql(name = "type")]
    connector_type: String,
    /// What it authenticates with, as the connector's `credentialsSchema` says. A text may be a
    /// reference `${NAME}` to a secret; in a change, a field that is `***` stays as it was.
    credentials: Value,
    /// Settings that are no credentials.
    config: Option<Value>,
}

impl fmt::Debug for ConnectorToolInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectorToolInput({})", self.connector_type)
    }
}

/// A Python function. Not available in this version.
#[derive(Clone, Debug, InputObject)]
pub struct PythonToolInput {
    /// The source.
    code: String,
    /// The function to call.
    entrypoint: Option<String>,
    /// Packages that it needs.
    dependencies: Option<Vec<String>>,
}

/// A tool to register: exactly one of `native`, `external`, `rest`, `connector`, `python`.
#[derive(Clone, Debug, InputObject)]
pub struct RegisterToolInput {
    /// 1–64 of letters, digits, `_`, `-`, `.`; not all digits, not shaped like an id, not reserved.
    name: String,
    /// A name for people.
    title: Option<String>,
    /// What it is for, in words that a model will read.
    description: String,
    /// A free grouping.
    category: Option<String>,
    /// Free labels.
    tags: Option<Vec<String>>,
    /// Whether a person must agree to each call that a model asks for.
    requires_approval: Option<bool>,
    /// How runs are bounded and repeated.
    policy: Option<ToolPolicyInput>,
    /// A Rust function compiled in.
    native: Option<NativeToolInput>,
    /// A POST of the input as JSON.
    external: Option<ExternalToolInput>,
    /// The JSON tool definition: api, input_schema, output_schema, mapping.
    rest: Option<Value>,
    /// A tool of a service that a connector describes.
    connector: Option<ConnectorToolInput>,
    /// A Python function. Not available in this version.
    python: Option<PythonToolInput>,
}

/// A change of a tool: absent is unchanged, null is cleared.
#[derive(Clone, Debug, InputObject)]
pub struct UpdateToolInput {
    /// A new name.
    name: MaybeUndefined<String>,
    /// A name for people.
    title: MaybeUndefined<String>,
    /// What it is for.
    description: MaybeUndefined<String>,
    /// A free grouping.
    category: MaybeUndefined<String>,
    /// Free labels.
    tags: MaybeUndefined<Vec<String>>,
    /// Whether it may run.
    is_active: MaybeUndefined<bool>,
    /// Whether a person must agree to each call that a model asks for.
    requires_approval: MaybeUndefined<bool>,
    /// How runs are bounded and repeated.
    policy: MaybeUndefined<ToolPolicyInput>,
    /// A Rust function compiled in.
    native: MaybeUndefined<NativeToolInput>,
    /// A POST of the input as JSON.
    external: MaybeUndefined<ExternalToolInput>,
    /// The JSON tool definition: api, input_schema, output_schema, mapping.
    rest: MaybeUndefined<Value>,
    /// A tool of a service that a connector describes. The credentials take the place of those
    /// before, for earlier versions of the tool too.
    connector: MaybeUndefined<ConnectorToolInput>,
    /// A Python function. Not available in this version.
    python: MaybeUndefined<PythonToolInput>,
}

impl RegisterToolInput {
    /// The tool to register.
    ///
    /// # Errors
    /// What is wrong with the form, paths relative to the input.
    pub fn into_tool(self) -> Result<NewTool, ApiError> {
        let mut found = Vec::new();
        let behaviour = one_behaviour(
            [
                self.native.map(Behaviour::from),
                self.external.map(Behaviour::from),
                self.rest.map(Behaviour::Rest),
                self.connector.map(Behaviour::from),
            ],
            [("python", self.python.is_some())],
            &mut found,
        );
        let policy = self.policy.map(|policy| policy.into_patch(&mut found));
        if behaviour.is_none() && found.is_empty() {
            let problem =
                "needs exactly one of `native`, `external`, `rest`, `connector`, `python`";
            found.push(Violation::new("", problem));
        }
        match behaviour {
            Some(behaviour) if found.is_empty() => Ok(NewTool {
                details: Details {
                    name: self.name,
                    title: self.title,
                    description: self.description,
                    category: self.category,
                    tags: self.tags.unwrap_or_default(),
                },
                requires_approval: self.requires_approval.unwrap_or(false),
                policy: policy.unwrap_or_default().apply(PolicyOverrides::default()),
                behaviour,
            }),
            _ => Err(ApiError::invalid(found)),
        }
    }
}

impl UpdateToolInput {
    /// The change to make.
    ///
    /// # Errors
    /// What is wrong with the form, paths relative to the input.
    pub fn into_change(self, expected_version: Option<u32>) -> Result<ToolChange, ApiError> {
        let mut found = Vec::new();
        let behaviour = one_behaviour(
            [
                required("native", self.native, &mut found).map(Behaviour::from),
                required("external", self.external, &mut found).map(Behaviour::from),
                required("rest", self.rest, &mut found).map(Behaviour::Rest),
                required("connector", self.connector, &mut found).map(Behaviour::from),
            ],
            [("python", !self.python.is_undefined())],
            &mut found,
        );
        let change = ToolChange {
            expected_version,
            details: DetailsPatch {
                name: required("name", self.name, &mut found),
                title: clearable(self.title),
                description: required("description", self.description, &mut found),
                category: clearable(self.category),
                tags: clearable(self.tags).map(Option::unwrap_or_default),
            },
            is_active: required("isActive", self.is_active, &mut found),
            requires_approval: clearable(self.requires_approval).map(Option::unwrap_or_default),
            policy: match self.policy {
                MaybeUndefined::Undefined => None,
                MaybeUndefined::Null => Some(PolicyPatch::reset()),
                MaybeUndefined::Value(policy) => Some(policy.into_patch(&mut found)),
            },
            behaviour,
            patch: None,
        };
        if found.is_empty() {
            Ok(change)
        } else {
            Err(ApiError::invalid(found))
        }
    }
}

impl From<NativeToolInput> for Behaviour {
    fn from(input: NativeToolInput) -> Self {
        Self::Native {
            function_path: input.function_path,
            input_schema: input.input_schema,
        }
    }
}

impl From<ExternalToolInput> for Behaviour {
    fn from(input: ExternalToolInput) -> Self {
        Self::External {
            endpoint_url: input.endpoint_url,
            input_schema: input.input_schema,
            output_schema: input.output_schema,
            idempotency_header: input.idempotency_header,
        }
    }
}

impl From<ConnectorToolInput> for Behaviour {
    fn from(input: ConnectorToolInput) -> Self {
        Self::Connector(ConnectorSettings {
            kind: input.connector_type,
            credentials: Credentials(input.credentials),
            config: input.config,
        })
    }
}

fn one_behaviour(
    said: [Option<Behaviour>; 4],
    unavailable: [(&str, bool); 1],
    found: &mut Vec<Violation>,
) -> Option<Behaviour> {
    for (field, is_said) in unavailable {
        if is_said {
            found.push(Violation::new(field, "is not available in this version"));
        }
    }
    let mut said = said.into_iter().flatten();
    let first = said.next();
    if said.next().is_some() {
        let problem = "may have only one of `native`, `external`, `rest`, `connector`, `python`";
        found.push(Violation::new("", problem));
    }
    first
}

fn clearable<T>(field: MaybeUndefined<T>) -> Option<Option<T>> {
    match field {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(value) => Some(Some(value)),
    }
}

fn required<T>(path: &str, field: MaybeUndefined<T>, found: &mut Vec<Violation>) -> Option<T> {
    match field {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => {
            found.push(Violation::new(
                path,
                "must not be null; leave it out to keep it as it is",
            ));
            None
        }
        MaybeUndefined::Value(value) => Some(value),
    }
}

impl ToolPolicyInput {
    fn into_patch(self, found: &mut Vec<Violation>) -> PolicyPatch {
        PolicyPatch {
            timeout_ms: count("timeoutMs", self.timeout_ms, found),
            max_attempts: count("maxAttempts", self.max_attempts, found),
            initial_delay_ms: count("initialDelayMs", self.initial_delay_ms, found),
            max_delay_ms: count("maxDelayMs", self.max_delay_ms, found),
            backoff_multiplier: clearable(self.backoff_multiplier),
            jitter: clearable(self.jitter),
            network: clearable(self.network),
        }
    }
}

fn count<T: TryFrom<i32>>(
    field: &str,
    value: MaybeUndefined<i32>,
    found: &mut Vec<Violation>,
) -> Option<Option<T>> {
    let Some(value) = clearable(value)? else {
        return Some(None);
    };
    let count = T::try_from(value).ok();
    if count.is_none() {
        let path = format!("policy.{field}");
        found.push(Violation::new(path, "must not be negative"));
    }
    Some(count)
}
