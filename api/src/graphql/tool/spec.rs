//! A tool as a model is shown it.

use serde_json::{Value, json};
use toolroom_domain::limits::NAME_CHARS;
use toolroom_projections::catalog::ToolRow;

use super::object::ToolSpecFormat;
use crate::{error::ApiError, service::tools::actions, state::AppState};

/// Characters of an action's part of a function's name.
const ACTION_CHARS: usize = 40;

/// A function that a model may call.
struct Function<'a> {
    name: String,
    title: Option<&'a str>,
    description: &'a str,
    input: &'a Value,
    output: Option<&'a Value>,
}

/// The tool in the words of one vendor's function calling, or of MCP: a function, or of a tool that
/// has several actions a list of functions, unless one of them is named.
///
/// # Errors
/// When the tool has no action of that name.
pub(super) fn function_spec(
    state: &AppState,
    tool: &ToolRow,
    format: ToolSpecFormat,
    action: Option<&str>,
) -> Result<Value, ApiError> {
    let definition = &tool.definition;
    let all = match actions::connector(state, definition) {
        Some(connector) => &connector.actions[..],
        None => &[],
    };
    if all.len() < 2 {
        actions::named(state, definition, action)?;
        let (input, output) = actions::schemas(state, definition);
        let function = Function {
            name: tool.name.clone(),
            title: tool.title.as_deref(),
            description: &tool.description,
            input,
            output,
        };
        return Ok(function.in_words_of(format));
    }
    let wanted = match action {
        Some(_) => actions::named(state, definition, action)?,
        None => None,
    };
    let specs: Vec<Value> = all
        .iter()
        .filter(|action| wanted.as_ref().is_none_or(|wanted| *wanted == action.id))
        .map(|action| {
            let function = Function {
                name: name_of_action(&tool.name, &action.id),
                title: Some(&action.name),
                description: &action.description,
                input: &action.input_schema,
                output: action.output_schema.as_ref(),
            };
            function.in_words_of(format)
        })
        .collect();
    Ok(match (wanted, &specs[..]) {
        (Some(_), [only]) => only.clone(),
        _ => Value::Array(specs),
    })
}

impl Function<'_> {
    fn in_words_of(&self, format: ToolSpecFormat) -> Value {
        let name = function_name(&self.name);
        let schema = object_schema(self.input);
        match format {
            ToolSpecFormat::Openai => json!({
                "type": "function",
                "function": {
                    "name": name,
                    "description": self.description,
                    "parameters": schema,
                },
            }),
            ToolSpecFormat::OpenaiResponses => json!({
                "type": "function",
                "name": name,
                "description": self.description,
                "parameters": schema,
                // Left out, it would be true, which few schemas are written for.
                "strict": false,
            }),
            ToolSpecFormat::Anthropic => json!({
                "name": name,
                "description": self.description,
                "input_schema": schema,
            }),
            ToolSpecFormat::Mcp => {
                let mut spec = json!({
                    "name": self.name,
                    "description": self.description,
                    "inputSchema": schema,
                });
                if let Some(title) = self.title {
                    spec["title"] = json!(title);
                }
                // MCP wants an object schema of an output, and clients check against it.
                let output = self.output.filter(|schema| schema["type"] == "object");
                if let Some(output) = output {
                    spec["outputSchema"] = output.clone();
                }
                spec
            }
        }
    }
}

/// The tool's name and the action's, the connector's prefix left out: `team_slack__send-message`.
/// Together they are no longer than vendors allow.
fn name_of_action(tool: &str, action: &str) -> String {
    let bare = action.split_once('.').map_or(action, |(_, bare)| bare);
    let bare: String = bare.chars().take(ACTION_CHARS).collect();
    let room = NAME_CHARS - "__".len() - bare.len();
    let tool: String = tool.chars().take(room).collect();
    format!("{tool}__{bare}")
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

    #[test]
    fn an_actions_name_fits_whatever_it_is_made_of() {
        let name = name_of_action("team_slack", "slack.send-message");
        assert_eq!(name, "team_slack__send-message");
        let long = name_of_action(&"t".repeat(64), &format!("a.{}", "x".repeat(90)));
        assert_eq!(long.len(), NAME_CHARS);
    }
}
