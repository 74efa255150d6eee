//! Whether a definition can be run, and an input be given to it.

use std::sync::Arc;

use serde_json::Value;
use toolroom_domain::{
    ToolId, Violation,
    connector::ConnectorSpec,
    port::DefinitionChecker,
    tool::{Definition, ToolConfig},
};

use super::{
    Executor, external, rest,
    schema::{Pair, check_depth},
};

impl DefinitionChecker for Executor {
    fn check(&self, definition: &Definition) -> Result<(), Vec<Violation>> {
        // What follows compiles what it is given: only what is small and flat.
        definition.check()?;
        let mut found = Pair::compile(definition).err().unwrap_or_default();
        match &definition.config {
            ToolConfig::Native(native) => {
                if self.natives.find(&native.function_path).is_none() {
                    let problem = format!(
                        "is not a native function; there are {}",
                        self.natives.paths().join(", ")
                    );
                    found.push(Violation::new("native.functionPath", problem));
                }
            }
            ToolConfig::External(external) => found.extend(external::check(external)),
            ToolConfig::Rest(rest) => {
                found.extend(rest::check(&self.templates, rest, definition));
            }
            ToolConfig::Connector(connector) => {
                if let Err(violation) = self.connectors.check_kind(&connector.connector) {
                    found.push(violation.under("connector.type"));
                }
            }
        }
        if found.is_empty() { Ok(()) } else { Err(found) }
    }

    fn native_schemas(&self, function_path: &str) -> Option<(Value, Option<Value>)> {
        let function = self.natives.find(function_path)?;
        Some((
            function.input_schema.clone(),
            Some(function.output_schema.clone()),
        ))
    }

    fn check_input(
        &self,
        tool: ToolId,
        version: u32,
        definition: &Definition,
        action: Option<&str>,
        input: &Value,
    ) -> Result<(), Vec<Violation>> {
        check_depth(input).map_err(|violation| vec![violation])?;
        if let ToolConfig::Connector(connector) = &definition.config {
            let kind = &connector.connector;
            return self.connectors.check_input(kind, action, input);
        }
        let schemas = self.schemas.get(tool, version, definition)?;
        schemas.input.check(input)
    }

    fn connectors(&self) -> &[Arc<ConnectorSpec>] {
        self.connectors.specs()
    }

    fn check_credentials(
        &self,
        kind: &str,
        credentials: &Value,
        config: Option<&Value>,
    ) -> Result<(), Vec<Violation>> {
        self.connectors.check_settings(kind, credentials, config)
    }
}
