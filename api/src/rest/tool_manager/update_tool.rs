//! `PUT /tools/{tool_id}`: changes the fields that it names.

use axum::{
    Extension, Json,
    extract::{Path, Request, State},
};
use serde_json::Value;
use toolroom_domain::tool::DetailsPatch;

use super::tool::{Sent, Tool, renamed};
use crate::{
    http::{Problem, body, fields::Fields},
    rest::{Edge, failure::Failure, present::present},
    service::tools::{self, BehaviourPatch, ToolChange},
    state::RequestContext,
};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    Path(tool): Path<String>,
    request: Request,
) -> Result<Json<Tool>, Failure> {
    let object = body::read_object(request, &edge.shell.options).await?;
    let current = Tool::new(&edge.state, present(&edge, &ctx, &tool).await?);
    let change = read(
        Fields::new(object),
        current.id(),
        current.endpoint_url(),
        current.parameters_schema(),
    )?;
    let row = tools::update(&edge.state, &ctx, &tool, change, None)
        .await
        .map_err(|error| Failure::renamed(error, &ctx, renamed))?;
    Ok(Json(Tool::new(&edge.state, row)))
}

/// What a body asks for. One that was read, changed and sent back whole is fine: what we derive
/// may come along.
fn read(
    mut fields: Fields,
    number: i32,
    endpoint_url: Option<&str>,
    parameters_schema: &Value,
) -> Result<ToolChange, Problem> {
    let sent = Sent::take(&mut fields);
    match fields.any("id") {
        None => {}
        Some(Value::Number(id)) if id.as_i64() == Some(i64::from(number)) => {}
        Some(_) => fields.refuse("id", "is not this tool's, and cannot be changed"),
    }
    fields.any("parameters");
    fields.any("actions");
    let violations = fields.finish();
    if !violations.is_empty() {
        return Err(Problem::invalid(violations));
    }
    let patch = BehaviourPatch {
        is_native: sent.is_native,
        function_path: sent.function_path,
        endpoint_url: sent.endpoint_url.filter(|url| Some(&**url) != endpoint_url),
        input_schema: sent
            .parameters_schema
            .filter(|schema| schema != parameters_schema),
        ..BehaviourPatch::default()
    };
    Ok(ToolChange {
        details: DetailsPatch {
            name: sent.name,
            description: sent.description,
            ..DetailsPatch::default()
        },
        patch: (patch != BehaviourPatch::default()).then_some(patch),
        ..ToolChange::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(value: Value) -> Result<ToolChange, Vec<String>> {
        let Value::Object(object) = value else {
            panic!("not an object")
        };
        let (url, schema) = ("https://example.org", json!({"type": "object"}));
        read(Fields::new(object), 7, Some(url), &schema).map_err(|problem| {
            let violations = problem.violations.into_iter();
            violations.map(|violation| violation.path).collect()
        })
    }

    #[test]
    fn only_what_is_named_changes() {
        let renamed = change(json!({"name": "new"})).unwrap();
        assert_eq!(renamed.details.name.as_deref(), Some("new"));
        assert_eq!((renamed.details.description, renamed.patch), (None, None));
    }

    #[test]
    fn a_tool_that_is_sent_back_whole_is_taken() {
        let whole = json!({
            "id": 7, "name": "a", "description": "d", "parameters_schema": {"type": "object"},
            "actions": [{"id": "a.b"}],
            "is_native": false, "function_path": null, "endpoint_url": "https://example.org",
            "parameters": [],
        });
        let patch = change(whole).unwrap().patch.unwrap();
        assert_eq!((patch.endpoint_url, patch.input_schema), (None, None));
        let other = json!({"parameters_schema": {"type": "object", "required": ["a"]}});
        let patch = change(other.clone()).unwrap().patch.unwrap();
        assert_eq!(patch.input_schema, Some(other["parameters_schema"].clone()));
    }

    #[test]
    fn what_is_not_known_or_not_to_be_changed_is_named() {
        assert_eq!(
            change(json!({"id": 8, "nam": "x"})),
            Err(vec!["id".into(), "nam".into()])
        );
    }
}
