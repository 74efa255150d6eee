//! Tools in the words of each vendor's function calling.

use serde_json::{Value, json};

use crate::support::{App, native};

const SPEC: &str = "query ($t: ID!, $f: ToolSpecFormat!, $a: String) {
    tool(id: $t) { functionSpec(format: $f, action: $a) inputSchema outputSchema
        actions { id inputSchema } } }";

async fn spec(app: &App, tool: &str, format: &str, action: Option<&str>) -> (Value, Value) {
    let variables = json!({"t": tool, "f": format, "a": action});
    let tool = app.data(SPEC, variables).await["tool"].clone();
    (tool["functionSpec"].clone(), tool)
}

/// What a format calls a function of this name and input.
fn in_words_of(format: &str, name: &str, input: &Value) -> Value {
    let name = match format {
        "MCP" => name.to_owned(),
        _ => name.replace('.', "_"),
    };
    match format {
        "OPENAI" => json!({"type": "function", "function": {"name": name, "parameters": input}}),
        "OPENAI_RESPONSES" => {
            json!({"type": "function", "name": name, "parameters": input, "strict": false})
        }
        "ANTHROPIC" => json!({"name": name, "input_schema": input}),
        _ => json!({"name": name, "inputSchema": input}),
    }
}

/// A specification without what is prose: it is there, and says something.
fn without_prose(format: &str, mut spec: Value) -> Value {
    let function = match format {
        "OPENAI" => &mut spec["function"],
        _ => &mut spec,
    };
    let function = function.as_object_mut().unwrap();
    let description = function.remove("description").unwrap();
    assert!(!description.as_str().unwrap().is_empty());
    function.remove("title");
    spec
}

#[tokio::test]
async fn every_format_has_its_own_words_for_each_kind_of_tool() {
    let app = App::start().await;
    app.register(native("math.calc", "math.evaluate")).await;
    for (name, kind, credentials) in [
        ("web", "HTTP", json!({})),
        ("team", "SLACK", json!({"botToken": "xoxb-of-nobody"})),
    ] {
        let connector = json!({"type": kind, "credentials": credentials});
        app.register(json!({"name": name, "description": "d", "connector": connector}))
            .await;
    }
    for format in ["OPENAI", "OPENAI_RESPONSES", "ANTHROPIC", "MCP"] {
        for name in ["math.calc", "web"] {
            let (mut told, tool) = spec(&app, name, format, None).await;
            if format == "MCP" {
                // Clients check against it; only objects are allowed there.
                let promised = told.as_object_mut().unwrap().remove("outputSchema");
                let output =
                    Some(&tool["outputSchema"]).filter(|schema| schema["type"] == "object");
                assert_eq!(promised.as_ref(), output, "{name}");
            }
            let expected = in_words_of(format, name, &tool["inputSchema"]);
            assert_eq!(without_prose(format, told), expected, "{format} {name}");
        }
        // Of several actions each is a function, named by both.
        let (all, tool) = spec(&app, "team", format, None).await;
        let (all, actions) = (all.as_array().unwrap(), tool["actions"].as_array().unwrap());
        assert!(all.len() > 2);
        assert_eq!(all.len(), actions.len());
        for (told, action) in all.iter().zip(actions) {
            let id = action["id"].as_str().unwrap();
            let name = format!("team__{}", id.strip_prefix("slack.").unwrap());
            let mut bare = told.clone();
            bare.as_object_mut().unwrap().remove("outputSchema");
            let expected = in_words_of(format, &name, &action["inputSchema"]);
            assert_eq!(without_prose(format, bare), expected, "{format} {id}");
            let (alone, _) = spec(&app, "team", format, Some(id)).await;
            assert_eq!(&alone, told, "{format} {id}");
        }
    }
    let unknown = json!({"t": "team", "f": "MCP", "a": "slack.sing"});
    assert_eq!(app.refusal(SPEC, unknown).await, "VALIDATION_FAILED");
}
