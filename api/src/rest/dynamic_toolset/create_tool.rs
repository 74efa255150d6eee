//! `POST /api/v1/tools`: makes a tool of its JSON definition.

use axum::{
    Extension, Json,
    extract::{Request, State},
};
use http::StatusCode;
use serde_json::{Value, json};
use toolroom_domain::tool::Details;

use super::tool::{Sent, renamed};
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
) -> Result<(StatusCode, Json<Value>), Failure> {
    let object = body::read_object(request, &edge.shell.options).await?;
    let new = read(Fields::new(object))?;
    let row = tools::register(&edge.state, &ctx, new, None)
        .await
        .map_err(|error| Failure::renamed(error, &ctx, renamed))?;
    let answer = json!({"tool_id": row.name, "registered": true});
    Ok((StatusCode::CREATED, Json(answer)))
}

fn read(mut fields: Fields) -> Result<NewTool, Problem> {
    let mut sent = Sent::take(&mut fields);
    sent.behaviour.retain(|_, value| !value.is_null());
    let named = fields.required("name", sent.named);
    let description = fields.required("description", sent.description);
    for field in ["api", "input_schema"] {
        fields.required(field, sent.behaviour.get(field));
    }
    let violations = fields.finish();
    match (named, description) {
        (Some(named), Some(description)) if violations.is_empty() => Ok(NewTool {
            details: Details {
                name: named.name,
                title: named.title,
                description,
                category: sent.category,
                tags: sent.tags.unwrap_or_default(),
            },
            requires_approval: sent.requires_approval.unwrap_or(false),
            policy: sent.policy.unwrap_or_default(),
            behaviour: Behaviour::Rest(Value::Object(sent.behaviour)),
        }),
        _ => Err(Problem::invalid(violations)),
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(
            paths(json!({})),
            ["name", "description", "api", "input_schema"]
        );
        let wrong = json!({
            "name": "a", "description": "d", "api": {}, "input_schema": {}, "tags": "x",
            "policy": {"timeout_ms": "long"}, "auth": {},
        });
        assert_eq!(paths(wrong), ["tags", "policy.timeout_ms", "auth"]);
        let fine = json!({
            "name": "a", "description": "d", "api": {}, "input_schema": {}, "output_schema": null,
        });
        assert_eq!(paths(fine), Vec::<String>::new());
    }
}
