//! A change of parts of what a tool does, for contracts that show a tool as one flat object.

use serde::Serialize;
use serde_json::Value;
use toolroom_domain::{
    Violation,
    tool::{Definition, ExternalConfig, Kind, NativeConfig, ToolConfig},
};

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
}

impl BehaviourPatch {
    /// What the tool does after the change.
    ///
    /// # Errors
    /// What is wrong with it, paths as in the other inputs of a tool.
    pub(super) fn applied_to(&self, current: &Definition) -> Result<Definition, Vec<Violation>> {
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
                input_schema: None,
            };
            assert!(patch.applied_to(&native()).is_err(), "{patch:?}");
        }
    }
}
