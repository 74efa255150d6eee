//! A tool as a model is shown it.

use serde_json::{Value, json};
use toolroom_projections::catalog::ToolRow;

use super::object::ToolSpecFormat;

/// The tool in the words of one vendor's function calling, or of MCP.
pub(super) fn function_spec(tool: &ToolRow, format: ToolSpecFormat) -> Value {
    let name = function_name(&tool.name);
    let schema = object_schema(&tool.definition.input_schema);
    match format {
        ToolSpecFormat::Openai => json!({
            "type": "function",
            "function": {
                "name": name,
                "description": tool.description,
                "parameters": schema,
            },
        }),
        ToolSpecFormat::OpenaiResponses => json!({
            "type": "function",
            "name": name,
            "description": tool.description,
            "parameters": schema,
            // Left out, it would be true, which few schemas are written for.
            "strict": false,
        }),
        ToolSpecFormat::Anthropic => json!({
            "name": name,
            "description": tool.description,
            "input_schema": schema,
        }),
        ToolSpecFormat::Mcp => {
            let mut spec = json!({
                "name": tool.name,
                "description": tool.description,
                "inputSchema": schema,
            });
            if let Some(title) = &tool.title {
                spec["title"] = json!(title);
            }
            // MCP wants an object schema of an output, and clients check against it.
            let output = tool.definition.output_schema.as_ref();
            if let Some(output) = output.filter(|schema| schema["type"] == "object") {
                spec["outputSchema"] = output.clone();
            }
            spec
        }
    }
}

/// Vendors allow letters, digits, `_` and `-` in a function's name.
fn function_name(name: &str) -> String {
    name.replace('.', "_")
}

/// An input schema as the vendors take one: an object that says that it is for an object. Ours may
/// leave that out, since an input is one anyway.
fn object_schema(schema: &Value) -> Value {
    let mut said = schema.as_object().cloned().unwrap_or_default();
    if !said.get("type").is_some_and(Value::is_string) {
        said.insert("type".to_owned(), json!("object"));
    }
    Value::Object(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_schema_is_told_as_an_objects() {
        let object = json!({"type": "object"});
        for schema in [json!({}), json!(true), json!({"type": ["object", "null"]})] {
            assert_eq!(object_schema(&schema), object);
        }
        let untyped = json!({"properties": {"a": {}}, "required": ["a"]});
        let typed = json!({"type": "object", "properties": {"a": {}}, "required": ["a"]});
        assert_eq!(object_schema(&untyped), typed);
        assert_eq!(object_schema(&typed), typed);
    }
}
