//! What a tool does: the part of it that a version freezes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rest::RestConfig;
use crate::{limits, name::check_text, violation::Violation};

/// How a tool is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    /// A Rust function compiled in.
    Native,
    /// A POST of the input as JSON to an endpoint.
    External,
    /// A REST call described by JSON.
    Rest,
    /// An action of a service that a connector describes.
    Connector,
}

impl Kind {
    /// The kind as clients see it, such as `NATIVE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "NATIVE",
            Self::External => "EXTERNAL",
            Self::Rest => "REST",
            Self::Connector => "CONNECTOR",
        }
    }
}

/// What one version of a tool does, takes and gives back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Definition {
    /// How it is run.
    pub config: ToolConfig,
    /// JSON Schema of the input; an object schema.
    pub input_schema: Value,
    /// JSON Schema of the output, if promised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// Where it departs from the default [`Policy`].
    #[serde(default, skip_serializing_if = "PolicyOverrides::is_empty")]
    pub policy: PolicyOverrides,
    /// Whether a person must agree to each call that a model asks for.
    #[serde(default)]
    pub requires_approval: bool,
}

impl Definition {
    /// Checks sizes and the rules that need no network, schema compiler or registry.
    ///
    /// # Errors
    /// All violations found, paths relative to the definition.
    pub fn check(&self) -> Result<(), Vec<Violation>> {
        let mut found = Vec::new();
        for (path, schema) in [
            ("inputSchema", Some(&self.input_schema)),
            ("outputSchema", self.output_schema.as_ref()),
        ] {
            let Some(schema) = schema else { continue };
            if !(schema.is_object() || schema.is_boolean()) {
                found.push(Violation::new(path, "must be a JSON Schema: an object"));
            }
            found.extend(check_json(path, schema));
        }
        found.extend(self.config.check());
        found.extend(self.policy.check());
        if found.is_empty() { Ok(()) } else { Err(found) }
    }
}

fn check_json(path: &str, value: &Value) -> Option<Violation> {
    if depth(value) > limits::JSON_DEPTH {
        return Some(Violation::new(
            path,
            format!("must nest at most {} levels", limits::JSON_DEPTH),
        ));
    }
    let bytes = value.to_string().len();
    (bytes > limits::DEFINITION_BYTES).then(|| {
        Violation::new(
            path,
            format!(
                "must be at most {} bytes as JSON, is {bytes}",
                limits::DEFINITION_BYTES
            ),
        )
    })
}

/// How deeply a JSON value nests; a scalar is 0.
pub fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// How a tool is run, by kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ToolConfig {
    /// A Rust function compiled in.
    Native(NativeConfig),
    /// A POST of the input as JSON to an endpoint.
    External(ExternalConfig),
    /// A REST call described by JSON.
    Rest(Box<RestConfig>),
    /// An action of a service that a connector describes.
    Connector(Box<ConnectorConfig>),
}

impl ToolConfig {
    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Native(_) => Kind::Native,
            Self::External(_) => Kind::External,
            Self::Rest(_) => Kind::Rest,
            Self::Connector(_) => Kind::Connector,
        }
    }

    /// The connector's type, such as `SLACK`, of a tool that has one.
    pub fn connector(&self) -> Option<&str> {
        match self {
            Self::Connector(connector) => Some(&connector.connector),
            Self::Native(_) | Self::External(_) | Self::Rest(_) => None,
        }
    }

    /// The type as clients see it: the kind, or the connector's type.
    pub fn type_name(&self) -> &str {
        self.connector().unwrap_or(self.kind().as_str())
    }

    fn check(&self) -> Vec<Violation> {
        match self {
            Self::Native(native) => check_text("native.functionPath", &native.function_path, 200)
                .err()
                .into_iter()
                .collect(),
            Self::External(external) => check_url("external.endpointUrl", &external.endpoint_url),
            Self::Rest(rest) => {
                // Within `{{ … }}` spaces are the template's, not the URL's.
                let bare = without_expressions(&rest.api.base_url);
                let mut found = check_url("rest.api.base_url", &bare);
                if let Ok(json) = serde_json::to_value(rest) {
                    found.extend(check_json("rest", &json));
                }
                found
            }
            Self::Connector(connector) => {
                let mut found: Vec<_> =
                    check_text("connector.type", &connector.connector, limits::LABEL_CHARS)
                        .err()
                        .into_iter()
                        .collect();
                found.extend(check_json(
                    "connector.credentials",
                    &connector.credentials.shown,
                ));
                let config = connector.config.as_ref();
                found.extend(config.and_then(|config| check_json("connector.config", config)));
                found
            }
        }
    }
}

fn without_expressions(template: &str) -> String {
    let mut bare = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        bare.push_str(before);
        bare.push_str("{{}}");
        rest = after.split_once("}}").map_or("", |(_, after)| after);
    }
    bare.push_str(rest);
    bare
}

/// Only the shape: which hosts may be reached is the egress guard's to say, at call time.
fn check_url(path: &str, text: &str) -> Vec<Violation> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let problem = match rest {
        None => "must begin with https:// or http://",
        Some(rest) if rest.is_empty() || rest.starts_with('/') => "must name a host",
        Some(_) if text.chars().count() > 2_000 => "must have at most 2000 characters",
        Some(_) if text.chars().any(|c| c.is_control() || c == ' ') => {
            "must not hold spaces or control characters"
        }
        Some(rest)
            if rest
                .split('/')
                .next()
                .is_some_and(|host| host.contains('@')) =>
        {
            "must not carry credentials; use `auth` with a `secret_ref`"
        }
        Some(_) => return Vec::new(),
    };
    vec![Violation::new(path, problem)]
}

/// A Rust function compiled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NativeConfig {
    /// Its path in the registry, such as `text.format`.
    pub function_path: String,
}

/// A POST of the input as JSON; the JSON answer is the output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExternalConfig {
    /// Where to.
    pub endpoint_url: String,
    /// The header in which the endpoint takes an idempotency key: a repetition is safe then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_header: Option<String>,
}

/// A tool of a service that a connector describes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectorConfig {
    /// The connector's type, such as `SLACK`.
    pub connector: String,
    /// With what it authenticates.
    pub credentials: CredentialsRef,
    /// Settings that are no credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
}

/// Credentials that the vault holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CredentialsRef {
    /// Names their row in the vault.
    pub id: String,
    /// The version of the tool that they were set with. It tells versions apart that differ in
    /// nothing but a secret.
    #[serde(default)]
    pub version: u32,
    /// What of them may be shown: secret fields are masked.
    pub shown: Value,
}

/// How a run is bounded and repeated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// The longest that one attempt may take, in milliseconds.
    pub timeout_ms: u64,
    /// How often a run is attempted in all.
    pub max_attempts: u32,
    /// The pause before the second attempt, in milliseconds.
    pub initial_delay_ms: u64,
    /// The longest pause, in milliseconds.
    pub max_delay_ms: u64,
    /// By how much each pause is longer than the last.
    pub backoff_multiplier: f64,
    /// Whether pauses are spread at random.
    pub jitter: bool,
    /// Whether the tool may reach the network.
    pub network: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            timeout_ms: 30_000,
            max_attempts: 3,
            initial_delay_ms: 1_000,
            max_delay_ms: 10_000,
            backoff_multiplier: 2.0,
            jitter: true,
            network: true,
        }
    }
}

/// What a registration says of its [`Policy`]; what it leaves out follows the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "as in `Policy`")]
pub struct PolicyOverrides {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_delay_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_multiplier: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<bool>,
}

impl PolicyOverrides {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The policy in force.
    pub fn resolve(&self) -> Policy {
        let default = Policy::default();
        Policy {
            timeout_ms: self.timeout_ms.unwrap_or(default.timeout_ms),
            max_attempts: self.max_attempts.unwrap_or(default.max_attempts),
            initial_delay_ms: self.initial_delay_ms.unwrap_or(default.initial_delay_ms),
            max_delay_ms: self.max_delay_ms.unwrap_or(default.max_delay_ms),
            backoff_multiplier: self
                .backoff_multiplier
                .unwrap_or(default.backoff_multiplier),
            jitter: self.jitter.unwrap_or(default.jitter),
            network: self.network.unwrap_or(default.network),
        }
    }

    fn check(&self) -> Vec<Violation> {
        let policy = self.resolve();
        let mut found = Vec::new();
        let mut refuse = |field: &str, message: String| {
            found.push(Violation::new(format!("policy.{field}"), message));
        };
        if !(1..=limits::TIMEOUT_MAX_MS).contains(&policy.timeout_ms) {
            let max = limits::TIMEOUT_MAX_MS;
            refuse("timeoutMs", format!("must be from 1 to {max}"));
        }
        if !(1..=limits::JOB_ATTEMPTS).contains(&policy.max_attempts) {
            let max = limits::JOB_ATTEMPTS;
            refuse("maxAttempts", format!("must be from 1 to {max}"));
        }
        if policy.max_delay_ms > limits::TIMEOUT_MAX_MS {
            let max = limits::TIMEOUT_MAX_MS;
            refuse("maxDelayMs", format!("must be at most {max}"));
        }
        if policy.initial_delay_ms > policy.max_delay_ms {
            refuse("initialDelayMs", "must not exceed maxDelayMs".to_owned());
        }
        if !(1.0..=100.0).contains(&policy.backoff_multiplier) {
            refuse("backoffMultiplier", "must be from 1 to 100".to_owned());
        }
        found
    }
}
