//! `POST /tools`: registers a tool.

use axum::{
    Extension, Json,
    extract::{Request, State},
};
use serde_json::json;
use toolroom_domain::tool::{Details, PolicyOverrides};

use super::tool::{Sent, Tool, renamed};
use crate::{
    http::{Problem, body, fields::Fields},
    rest::{Edge, failure::Failure},
    service::tools::{self, Behaviour, NewTool},
    state::RequestContext,
};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    request: Request,
) -> Result<Json<Tool>, Failure> {
    let object = body::read_object(request, &edge.shell.options).await?;
    let new = read(Fields::new(object))?;
    let row = tools::register(&edge.state, &ctx, new, None)
        .await
        .map_err(|error| Failure::renamed(error, &ctx, renamed))?;
    Ok(Json(Tool::new(&edge.state, row)))
}

fn read(mut fields: Fields) -> Result<NewTool, Problem> {
    let sent = Sent::take(&mut fields);
    let name = fields.required("name", sent.name);
    let description = fields.required("description", sent.description);
    let is_native = sent
        .is_native
        .unwrap_or_else(|| sent.endpoint_url.is_none());
    let behaviour = if is_native {
        if sent.endpoint_url.is_some() {
            fields.refuse("endpoint_url", "a native tool has none");
        }
        fields
            .required("function_path", sent.function_path)
            .map(|function_path| Behaviour::Native {
                function_path,
                input_schema: sent.parameters_schema,
            })
    } else {
        if sent.function_path.is_some() {
            fields.refuse("function_path", "an external tool has none");
        }
        fields
            .required("endpoint_url", sent.endpoint_url)
            .map(|endpoint_url| Behaviour::External {
                endpoint_url,
                input_schema: sent
                    .parameters_schema
                    .unwrap_or_else(|| json!({"type": "object"})),
                output_schema: None,
                idempotency_header: None,
            })
    };
    let violations = fields.finish();
    match (name, description, behaviour) {
        (Some(name), Some(description), Some(behaviour)) if violations.is_empty() => Ok(NewTool {
            details: Details {
                name,
                title: None,
                description,
                category: None,
                tags: Vec::new(),
            },
            requires_approval: false,
            policy: PolicyOverrides::default(),
            behaviour,
        }),
        _ => Err(Problem::invalid(violations)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn paths(value: Value) -> Vec<String> {
        let Value::Object(object) = value else {
            panic!("not an object")
        };
        let violations =
            read(Fields::new(object)).map_or_else(|p| p.violations, |_| Box::default());
        violations.into_iter().map(|found| found.path).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        assert_eq!(paths(json!({})), ["name", "description", "function_path"]);
        let wrong = json!({
            "name": 1, "description": "d", "is_native": "yes", "parameters_schema": [],
            "function_path": "echo", "params": {},
        });
        assert_eq!(
            paths(wrong),
            ["name", "parameters_schema", "is_native", "params"]
        );
    }

    #[test]
    fn a_tool_is_native_or_external() {
        let both = json!({
            "name": "a", "description": "d", "is_native": true,
            "function_path": "echo", "endpoint_url": "https://example.org",
        });
        assert_eq!(paths(both), ["endpoint_url"]);
        let external = json!({"name": "a", "description": "d", "is_native": false});
        assert_eq!(paths(external), ["endpoint_url"]);
        let told_by_its_field =
            json!({"name": "a", "description": "d", "endpoint_url": "https://example.org"});
        assert_eq!(paths(told_by_its_field), Vec::<String>::new());
    }
}
