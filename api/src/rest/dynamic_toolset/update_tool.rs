//! `PUT` and `PATCH /api/v1/tools/{tool_id}`: change the fields of a definition that they name.

use axum::{
    Extension, Json,
    extract::{Path, Request, State},
};
use serde_json::{Map, Value};
use toolroom_domain::tool::DetailsPatch;

use super::tool::{Sent, Tool, renamed};
use crate::{
    http::{Problem, body, fields::Fields},
    rest::{Edge, failure::Failure, present::present},
    service::tools::{self, BehaviourPatch, PolicyPatch, ToolChange},
    state::RequestContext,
};

/// What [`Tool`] tells of a tool that nobody can change.
const DERIVED: [&str; 5] = ["type", "version", "created_at", "updated_at", "actions"];

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    Path(tool): Path<String>,
    request: Request,
) -> Result<Json<Tool>, Failure> {
    let object = body::read_object(request, &edge.shell.options).await?;
    let change = read(Fields::new(definition(object)))?;
    let row = present(&edge, &ctx, &tool).await?;
    let row = tools::update(&edge.state, &ctx, &row.id.to_string(), change, None)
        .await
        .map_err(|error| Failure::renamed(error, &ctx, renamed))?;
    Ok(Json(Tool::new(&edge.state, row)))
}

/// The definition that a body is, or holds as `config` as [`Tool`] shows it; then the names beside
/// it count, for they were shown too.
fn definition(mut object: Map<String, Value>) -> Map<String, Value> {
    for field in DERIVED {
        object.remove(field);
    }
    if let Some(Value::Object(config)) = object.get_mut("config") {
        let config = std::mem::take(config);
        object.remove("config");
        for (field, value) in config {
            object.entry(field).or_insert(value);
        }
    }
    object
}

fn read(mut fields: Fields) -> Result<ToolChange, Problem> {
    let is_active = fields.flag("is_active");
    let sent = Sent::take(&mut fields);
    let violations = fields.finish();
    if !violations.is_empty() {
        return Err(Problem::invalid(violations));
    }
    Ok(ToolChange {
        details: DetailsPatch {
            title: sent.named.as_ref().map(|named| named.title.clone()),
            name: sent.named.map(|named| named.name),
            description: sent.description,
            category: sent.category.map(Some),
            tags: sent.tags,
        },
        is_active,
        requires_approval: sent.requires_approval,
        policy: sent.policy.map(PolicyPatch::from),
        patch: (!sent.behaviour.is_empty()).then(|| BehaviourPatch {
            rest: Some(sent.behaviour),
            ..BehaviourPatch::default()
        }),
        ..ToolChange::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(value: Value) -> ToolChange {
        let Value::Object(object) = value else {
            panic!("not an object")
        };
        read(Fields::new(definition(object))).unwrap()
    }

    #[test]
    fn only_what_is_named_changes() {
        let renamed = change(json!({"name": "Get Weather"}));
        assert_eq!(renamed.details.name.as_deref(), Some("get_weather"));
        assert_eq!(renamed.details.title, Some(Some("Get Weather".to_owned())));
        assert_eq!((renamed.details.description, renamed.patch), (None, None));
        let patch = change(json!({"mapping": {}})).patch.unwrap();
        assert_eq!(json!(patch.rest), json!({"mapping": {}}));
    }

    #[test]
    fn a_tool_that_is_sent_back_whole_is_taken() {
        let whole = json!({
            "id": "weather_api", "name": "Get Weather", "description": "d", "type": "REST",
            "version": 3, "is_active": true, "tags": [], "category": null,
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
            "config": {"name": "Get Weather", "description": "d", "api": {}, "input_schema": {}},
        });
        let change = change(whole);
        assert_eq!(change.details.name.as_deref(), Some("weather_api"));
        let patch = change.patch.unwrap().rest.unwrap();
        assert_eq!(json!(patch), json!({"api": {}, "input_schema": {}}));
    }
}
