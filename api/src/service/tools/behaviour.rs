//! What a tool does, as a client says it, made into a definition.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use toolroom_domain::{
    ToolId, Violation,
    port::DefinitionChecker,
    tool::{
        Definition, ExternalConfig, Kind, Mapping, NativeConfig, PolicyOverrides, RestApi,
        RestConfig, Tool, ToolConfig,
    },
};

use super::{
    ToolChange,
    credentials::{ConnectorSettings, Credentials},
};

/// What a tool does, as a client says it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Behaviour {
    /// Runs a Rust function compiled in.
    Native {
        /// Its path, such as `text.format`.
        function_path: String,
        /// In the place of the function's own input schema.
        input_schema: Option<Value>,
    },
    /// POSTs the input as JSON.
    External {
        /// Where to.
        endpoint_url: String,
        /// JSON Schema of the input.
        input_schema: Value,
        /// JSON Schema of the output, if promised.
        output_schema: Option<Value>,
        /// The header in which the endpoint takes an idempotency key.
        #[serde(skip_serializing_if = "Option::is_none")]
        idempotency_header: Option<String>,
    },
    /// Makes the REST call that a JSON tool definition describes.
    Rest(Value),
    /// Acts at a service that a connector describes.
    Connector(ConnectorSettings),
}

/// What a definition is made with.
pub(super) struct Making<'a> {
    pub(super) checker: &'a dyn DefinitionChecker,
    /// The tool that it is of.
    pub(super) tool: ToolId,
    /// The version that it will be.
    pub(super) version: u32,
    /// The credentials that the tool has, where new ones may keep some of them.
    pub(super) kept: Option<Value>,
}

/// A JSON tool definition: what a REST tool is registered with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RestDefinition {
    pub(super) api: RestApi,
    pub(super) input_schema: Value,
    #[serde(default)]
    pub(super) output_schema: Option<Value>,
    #[serde(default)]
    pub(super) mapping: Mapping,
}

/// A definition, and how its parts were called by whoever sent it.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) definition: Definition,
    /// What the vault shall keep of it.
    pub(super) credentials: Option<Credentials>,
}

impl Built {
    /// A violation of the definition at the path at which the sender wrote what is wrong.
    pub(super) fn as_sent(&self, violation: Violation) -> Violation {
        let (head, rest) = match violation.path.split_once('.') {
            Some((head, rest)) => (head, Some(rest)),
            None => (violation.path.as_str(), None),
        };
        let sent = match (self.definition.config.kind(), head) {
            (Kind::Native, "inputSchema") => "native.inputSchema",
            (Kind::External, "inputSchema") => "external.inputSchema",
            (Kind::External, "outputSchema") => "external.outputSchema",
            (Kind::Rest, "inputSchema") => "rest.input_schema",
            (Kind::Rest, "outputSchema") => "rest.output_schema",
            _ => return violation,
        };
        let path = match rest {
            Some(rest) => format!("{sent}.{rest}"),
            None => sent.to_owned(),
        };
        Violation::new(path, violation.message)
    }
}

impl Behaviour {
    /// The definition of it.
    ///
    /// # Errors
    /// What is wrong with its form, paths relative to the input.
    pub(super) fn build(
        &self,
        making: &Making<'_>,
        policy: PolicyOverrides,
        requires_approval: bool,
    ) -> Result<Built, Vec<Violation>> {
        let mut credentials = None;
        let (config, input_schema, output_schema) = match self.clone() {
            Self::Native {
                function_path,
                input_schema,
            } => {
                // An unknown path is the checker's to refuse, with the known ones.
                let (own_input, output) = making
                    .checker
                    .native_schemas(&function_path)
                    .unwrap_or_else(|| (Value::Object(serde_json::Map::new()), None));
                let config = ToolConfig::Native(NativeConfig { function_path });
                (config, input_schema.unwrap_or(own_input), output)
            }
            Self::External {
                endpoint_url,
                input_schema,
                output_schema,
                idempotency_header,
            } => {
                let config = ToolConfig::External(ExternalConfig {
                    endpoint_url,
                    idempotency_header,
                });
                (config, input_schema, output_schema)
            }
            Self::Rest(definition) => {
                let RestDefinition {
                    api,
                    input_schema,
                    output_schema,
                    mapping,
                } = parse_rest(&definition)?;
                let config = ToolConfig::Rest(Box::new(RestConfig { api, mapping }));
                (config, input_schema, output_schema)
            }
            Self::Connector(settings) => {
                let (config, secret) = settings.build(making)?;
                credentials = Some(secret);
                // Each action has a schema of its own, which the connector knows.
                let input_schema = serde_json::json!({ "type": "object" });
                (ToolConfig::Connector(Box::new(config)), input_schema, None)
            }
        };
        Ok(Built {
            definition: Definition {
                config,
                input_schema,
                output_schema,
                policy,
                requires_approval,
            },
            credentials,
        })
    }
}

pub(super) fn parse_rest(definition: &Value) -> Result<RestDefinition, Vec<Violation>> {
    serde_path_to_error::deserialize(definition).map_err(|error| {
        let path = error.path().to_string();
        let violation = Violation::new(
            if path == "." { "" } else { &path },
            error.inner().to_string().to_lowercase(),
        );
        vec![violation.under("rest")]
    })
}

/// The definition of a tool after a change; none if what it does stays as it is.
///
/// # Errors
/// What is wrong with its form, paths relative to the input.
pub(super) fn revised(
    making: &Making<'_>,
    tool: &Tool,
    change: &ToolChange,
) -> Result<Option<Built>, Vec<Violation>> {
    let Some(current) = tool.definition(tool.version()) else {
        return Ok(None);
    };
    let policy = change
        .policy
        .map_or(current.policy, |patch| patch.apply(current.policy));
    let requires_approval = change
        .requires_approval
        .unwrap_or(current.requires_approval);
    if let Some(behaviour) = &change.behaviour {
        return behaviour.build(making, policy, requires_approval).map(Some);
    }
    if change.policy.is_none() && change.requires_approval.is_none() && change.patch.is_none() {
        return Ok(None);
    }
    let patched = match &change.patch {
        Some(patch) => patch.applied_to(current)?,
        None => current.clone(),
    };
    Ok(Some(Built {
        definition: Definition {
            policy,
            requires_approval,
            ..patched
        },
        credentials: None,
    }))
}

/// What a tool does, in the form in which it was registered. Secrets are references or masked.
pub fn config(definition: &Definition) -> Value {
    let Definition {
        config,
        input_schema,
        output_schema,
        ..
    } = definition;
    match config {
        ToolConfig::Native(native) => serde_json::json!({
            "functionPath": native.function_path,
            "inputSchema": input_schema,
        }),
        ToolConfig::External(external) => {
            let mut config = serde_json::json!({
                "endpointUrl": external.endpoint_url,
                "inputSchema": input_schema,
                "outputSchema": output_schema,
            });
            if let Some(header) = &external.idempotency_header {
                config["idempotencyHeader"] = header.as_str().into();
            }
            config
        }
        ToolConfig::Rest(rest) => {
            let mut config = serde_json::json!({
                "api": rest.api,
                "input_schema": input_schema,
                "mapping": rest.mapping,
            });
            if let Some(schema) = output_schema {
                config["output_schema"] = schema.clone();
            }
            config
        }
        ToolConfig::Connector(connector) => serde_json::json!({
            "type": connector.connector,
            "credentials": connector.credentials.shown,
            "config": connector.config,
        }),
    }
}
