//! A tool as this contract shows it.

use serde::Serialize;
use serde_json::Value;
use toolroom_domain::tool::ToolConfig;
use toolroom_projections::catalog::ToolRow;

use crate::{
    http::fields::Fields,
    rest::actions::{self, Action},
    service::tools::actions::schemas,
    state::AppState,
};

/// Parameters of one tool at the most, for their ids: a definition of 256 KiB holds fewer.
const PARAMETER_IDS: i64 = 100_000;

/// A tool as this contract shows it.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Tool {
    id: i32,
    name: String,
    description: String,
    parameters_schema: Value,
    is_native: bool,
    function_path: Option<String>,
    endpoint_url: Option<String>,
    parameters: Vec<Parameter>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Action>,
}

/// A parameter, derived from the schema. Its id is the tool's number times 100,000 plus its place,
/// so that it comes out again from the log.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Parameter {
    id: i64,
    tool_id: i32,
    name: String,
    description: String,
    parameter_type: String,
    required: bool,
}

impl Tool {
    pub(super) fn new(state: &AppState, row: ToolRow) -> Self {
        let (function_path, endpoint_url) = match &row.definition.config {
            ToolConfig::Native(native) => (Some(native.function_path.clone()), None),
            ToolConfig::External(external) => (None, Some(external.endpoint_url.clone())),
            ToolConfig::Rest(_) | ToolConfig::Connector(_) => {
                (None, Some(execute_url(state, &row.name)))
            }
        };
        let (schema, _) = schemas(state, &row.definition);
        Self {
            id: row.number,
            parameters: parameters(row.number, schema),
            parameters_schema: schema.clone(),
            actions: actions::of(state, &row.definition),
            name: row.name,
            description: row.description,
            is_native: function_path.is_some(),
            function_path,
            endpoint_url,
        }
    }

    pub(super) fn id(&self) -> i32 {
        self.id
    }

    pub(super) fn parameters_schema(&self) -> &Value {
        &self.parameters_schema
    }

    pub(super) fn endpoint_url(&self) -> Option<&str> {
        self.endpoint_url.as_deref()
    }
}

/// Where a tool of a kind that this contract does not know is run: here.
fn execute_url(state: &AppState, name: &str) -> String {
    format!("{}/api/v1/tools/{name}/execute", state.options.public_url)
}

fn parameters(number: i32, schema: &Value) -> Vec<Parameter> {
    let required = |name: &str| {
        let names = schema["required"].as_array();
        names.is_some_and(|names| names.iter().any(|required| required == name))
    };
    let Some(properties) = schema["properties"].as_object() else {
        return Vec::new();
    };
    properties
        .iter()
        .zip(1..PARAMETER_IDS)
        .map(|((name, property), place)| Parameter {
            id: i64::from(number) * PARAMETER_IDS + place,
            tool_id: number,
            name: name.clone(),
            description: property["description"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            parameter_type: type_of(property),
            required: required(name),
        })
        .collect()
}

fn type_of(property: &Value) -> String {
    match &property["type"] {
        Value::String(name) => name.clone(),
        Value::Array(names) => {
            let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
            names.join(" | ")
        }
        _ => "any".to_owned(),
    }
}

/// What of a tool a client sends, when it creates one or changes one.
pub(super) struct Sent {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) parameters_schema: Option<Value>,
    pub(super) is_native: Option<bool>,
    pub(super) function_path: Option<String>,
    pub(super) endpoint_url: Option<String>,
}

impl Sent {
    pub(super) fn take(fields: &mut Fields) -> Self {
        Self {
            name: fields.text("name"),
            description: fields.text("description"),
            parameters_schema: fields.object("parameters_schema").map(Value::Object),
            is_native: fields.flag("is_native"),
            function_path: fields.text("function_path"),
            endpoint_url: fields.text("endpoint_url"),
        }
    }
}

/// A field's path as this contract calls it.
pub(super) fn renamed(path: &str) -> String {
    const NAMES: [(&str, &str); 5] = [
        ("native.functionPath", "function_path"),
        ("external.endpointUrl", "endpoint_url"),
        ("native.inputSchema", "parameters_schema"),
        ("external.inputSchema", "parameters_schema"),
        ("rest.input_schema", "parameters_schema"),
    ];
    let path = path.strip_prefix("input.").unwrap_or(path);
    NAMES
        .iter()
        .find_map(|(ours, theirs)| Some(format!("{theirs}{}", path.strip_prefix(ours)?)))
        .unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_come_from_the_schema_with_ids_of_their_own() {
        let schema = json!({
            "type": "object",
            "properties": {
                "count": {"type": ["integer", "null"]},
                "text": {"type": "string", "description": "Text to format"},
                "what": {"enum": [1, "a"]},
            },
            "required": ["text"],
        });
        let shown = serde_json::to_value(parameters(7, &schema)).unwrap();
        let ids: Vec<_> = (1..=3).map(|place| json!(700_000 + place)).collect();
        let told: Vec<_> = shown
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["id"].clone())
            .collect();
        assert_eq!(told, ids);
        let text = shown
            .as_array()
            .unwrap()
            .iter()
            .find(|p| p["name"] == "text")
            .unwrap();
        assert_eq!(text["tool_id"], 7);
        assert_eq!(text["description"], "Text to format");
        assert_eq!(text["parameter_type"], "string");
        assert_eq!(text["required"], true);
        assert_eq!(shown[0]["parameter_type"], "integer | null");
        assert_eq!(shown[2]["parameter_type"], "any");
    }

    #[test]
    fn a_schema_without_properties_has_no_parameters() {
        for schema in [json!({}), json!(true), json!({"properties": []})] {
            assert_eq!(parameters(1, &schema), []);
        }
    }

    #[test]
    fn paths_are_called_as_the_contract_calls_them() {
        assert_eq!(renamed("external.endpointUrl"), "endpoint_url");
        assert_eq!(
            renamed("native.inputSchema.required"),
            "parameters_schema.required"
        );
        assert_eq!(renamed("input.name"), "name");
    }
}
