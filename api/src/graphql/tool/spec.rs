//! A tool as a model is shown it.

use serde_json::{Value, json};
use toolroom_projections::catalog::ToolRow;

use super::object::ToolSpecFormat;

/// The tool in the words of one vendor's function calling, or of MCP.
pub(super) fn function_spec(tool: &ToolRow, format: ToolSpecFormat) -> Value {
    let name = function_name(&tool.name);
    let schema = &tool.definition.input_schema;
    match format {
        ToolSpecFormat::Openai => json!({
            "type": "function",
            "function": {
                "name": name,
                "description": tool.description,
                "parameters": schema,
            },
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
