//! A change of parts of what a tool does, for contracts that show a tool as one flat object.

use serde::Serialize;
use serde_json::{Map, Value};
use toolroom_domain::{
    Violation,
    tool::{Definition, ExternalConfig, Kind, NativeConfig, RestConfig, ToolConfig},
};

use super::behaviour::{RestDefinition, parse_rest};

/// A change of parts of what a tool does; what is `None` stays as it is, whatever it is by then.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BehaviourPatch {
    /// Whether it shall be a native function or an external endpoint.
    pub is_native: Option<bool>,
    /// The path of the native function that it shall be.
    pub function_path: Option<String>,
    /// The endpoint that it shall call.
    pub endpoint_url: Option<String>,
    /// Its whole new input schema.
    pub input_schema: Option<Value>,
    /// Fields of a JSON tool definition: each takes the place of what was there, null of nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest: Option<Map<String, Value>>,
}

impl BehaviourPatch {
    /// What the tool does after the change.
    ///
    /// # Errors
    /// What is wrong with it, paths as in the other inputs of a tool.
    pub(super) fn applied_to(&self, current: &Definition) -> Result<Definition, Vec<Violation>> {
        if let Some(changes) = &self.rest {
            return redefined(current, changes);
        }
        let config = self.config(&current.config)?;
        let changes_kind = config.kind() != current.config.kind();
        Ok(Definition {
            input_schema: self
                .input_schema
                .clone()
                .unwrap_or_else(|| current.input_schema.clone()),
            // What the function or service before promised says nothing of the one from now on.
            output_schema: current.output_schema.clone().filter(|_| !changes_kind),
            config,
            ..current.clone()
        })
    }

    fn config(&self, current: &ToolConfig) -> Result<ToolConfig, Vec<Violation>> {
        let refuse = |path: &str, message: &str| Err(vec![Violation::new(path, message)]);
        let target = match (self.is_native, &self.function_path, &self.endpoint_url) {
            (_, Some(_), Some(_)) => {
                return refuse(
                    "external.endpointUrl",
                    "a tool is a native function or an external endpoint, not both",
                );
            }
            (Some(false), Some(_), None) => {
                return refuse("native.functionPath", "an external tool has none");
            }
            (Some(true), None, Some(_)) => {
                return refuse("external.endpointUrl", "a native tool has none");
            }
            (Some(true), _, _) | (None, Some(_), None) => Kind::Native,
            // A REST tool shows as external, and stays what it is.
            (Some(false), None, None) if matches!(current.kind(), Kind::Rest | Kind::Connector) => {
                current.kind()
            }
            (Some(false), _, _) | (None, None, Some(_)) => Kind::External,
            (None, None, None) => current.kind(),
        };
        match (target, current) {
            (Kind::Native, ToolConfig::Native(native)) => Ok(ToolConfig::Native(NativeConfig {
                function_path: self
                    .function_path
                    .clone()
                    .unwrap_or_else(|| native.function_path.clone()),
            })),
            (Kind::Native, _) => match &self.function_path {
                Some(path) => Ok(ToolConfig::Native(NativeConfig {
                    function_path: path.clone(),
                })),
                None => refuse("native.functionPath", "is required for a native tool"),
            },
            (Kind::External, ToolConfig::External(external)) => {
                Ok(ToolConfig::External(ExternalConfig {
                    endpoint_url: self
                        .endpoint_url
                        .clone()
                        .unwrap_or_else(|| external.endpoint_url.clone()),
                    idempotency_header: external.idempotency_header.clone(),
                }))
            }
            (Kind::External, _) => match &self.endpoint_url {
                Some(url) => Ok(ToolConfig::External(ExternalConfig {
                    endpoint_url: url.clone(),
                    idempotency_header: None,
                })),
                None => refuse("external.endpointUrl", "is required for an external tool"),
            },
            (Kind::Rest | Kind::Connector, current) => Ok(current.clone()),
        }
    }
}

/// What a REST tool does after some fields of its definition changed. A tool of another kind has
/// none of them yet.
fn redefined(
    current: &Definition,
    changes: &Map<String, Value>,
) -> Result<Definition, Vec<Violation>> {
    let mut definition = match (&current.config, super::config(current)) {
        (ToolConfig::Rest(_), Value::Object(definition)) => definition,
        _ => Map::new(),
    };
    definition.extend(changes.clone());
    definition.retain(|_, value| !value.is_null());
    let RestDefinition {
        api,
        input_schema,
        output_schema,
        mapping,
    } = parse_rest(&Value::Object(definition))?;
    Ok(Definition {
        config: ToolConfig::Rest(Box::new(RestConfig { api, mapping })),
        input_schema,
        output_schema,
        ..current.clone()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use toolroom_domain::tool::PolicyOverrides;

    use super::*;

    fn native() -> Definition {
        Definition {
            config: ToolConfig::Native(NativeConfig {
                function_path: "echo".into(),
            }),
            input_schema: json!({"type": "object"}),
            output_schema: Some(json!({"type": "string"})),
            policy: PolicyOverrides::default(),
            requires_approval: true,
        }
    }

    #[test]
    fn what_is_not_named_stays() {
        let patch = BehaviourPatch {
            input_schema: Some(json!({"type": "object", "required": ["a"]})),
            ..BehaviourPatch::default()
        };
        let after = patch.applied_to(&native()).unwrap();
        let expected = Definition {
            input_schema: json!({"type": "object", "required": ["a"]}),
            ..native()
        };
        assert_eq!(after, expected);
    }

    #[test]
    fn a_native_tool_can_become_external_with_an_endpoint_only() {
        let bare = BehaviourPatch {
            is_native: Some(false),
            ..BehaviourPatch::default()
        };
        let found = bare.applied_to(&native()).unwrap_err();
        assert_eq!(found[0].path, "external.endpointUrl");
        let whole = BehaviourPatch {
            endpoint_url: Some("https://example.org".into()),
            ..bare
        };
        let after = whole.applied_to(&native()).unwrap();
        assert_eq!(after.config.kind(), Kind::External);
        assert_eq!(after.output_schema, None);
    }

    #[test]
    fn fields_of_a_rest_definition_take_the_place_of_what_was_there() {
        let fields = |value: Value| match value {
            Value::Object(fields) => BehaviourPatch {
                rest: Some(fields),
                ..BehaviourPatch::default()
            },
            _ => panic!("not an object"),
        };
        let api = json!({"base_url": "https://example.org"});
        let refused = fields(json!({"api": api})).applied_to(&native());
        assert!(
            refused.is_err(),
            "a native tool has no input schema of its own to keep"
        );
        let whole = json!({
            "api": api, "input_schema": {"type": "object"}, "output_schema": {"type": "array"},
        });
        let rest = fields(whole).applied_to(&native()).unwrap();
        assert_eq!(rest.config.kind(), Kind::Rest);
        assert!(
            rest.requires_approval,
            "what is not part of the definition stays"
        );
        let mapping = json!({"input_to_params": {"city": "q"}});
        let change = fields(json!({"mapping": mapping, "output_schema": null}));
        let after = change.applied_to(&rest).unwrap();
        assert_eq!(after.output_schema, None);
        let config = super::super::config(&after);
        assert_eq!(config["mapping"], mapping);
        assert_eq!(config["api"]["base_url"], api["base_url"]);
    }

    #[test]
    fn contradictions_are_refused() {
        for (is_native, function_path, endpoint_url) in [
            (None, Some("echo"), Some("https://example.org")),
            (Some(false), Some("echo"), None),
            (Some(true), None, Some("https://example.org")),
        ] {
            let patch = BehaviourPatch {
                is_native,
                function_path: function_path.map(Into::into),
                endpoint_url: endpoint_url.map(Into::into),
                ..BehaviourPatch::default()
            };
            assert!(patch.applied_to(&native()).is_err(), "{patch:?}");
        }
    }
}
