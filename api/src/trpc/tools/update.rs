//! `tools.update`: changes the fields that it names.

use serde_json::{Map, Value, json};
use toolroom_domain::tool::{DetailsPatch, ToolConfig};
use toolroom_projections::catalog::ToolRow;

use super::{Tool, renamed};
use crate::{
    error::ApiError,
    http::fields::Fields,
    rest::{Edge, failure::Failure, present::present},
    service::{
        name::Named,
        tools::{self, Behaviour, ConnectorSettings, Credentials, ToolChange},
    },
    state::RequestContext,
};

pub(in crate::trpc) async fn handle(
    edge: Edge,
    ctx: RequestContext,
    mut input: Fields,
) -> Result<Value, Failure> {
    let of = |error| Failure::renamed(error, &ctx, renamed);
    let tool = input.reference("id");
    let tool = input.required("id", tool);
    let credentials = input.object("credentials");
    let change = change(&mut input);
    let tool_type = input.text("type");
    let violations = input.finish_open();
    let (Some(tool), []) = (tool, violations.as_slice()) else {
        return Err(of(ApiError::invalid(violations)));
    };
    let row = present(&edge, &ctx, &tool).await?;
    let is = row.definition.config.type_name();
    if tool_type.is_some_and(|said| !said.eq_ignore_ascii_case(is)) {
        let problem = format!("cannot be changed: it is {is}; make a new tool");
        return Err(of(ApiError::invalid_field("type", problem)));
    }
    let change = ToolChange {
        behaviour: match credentials {
            Some(sent) if sent != shown(&row) => Some(connector(&row, sent).map_err(of)?),
            _ => None,
        },
        ..change
    };
    let row = tools::update(&edge.state, &ctx, &row.id.to_string(), change, None)
        .await
        .map_err(of)?;
    Ok(json!(Tool::from(row)))
}

/// The credentials as the tool is shown with: sent back, they change nothing.
fn shown(row: &ToolRow) -> Map<String, Value> {
    match &row.definition.config {
        ToolConfig::Connector(connector) => connector.credentials.shown.as_object().cloned(),
        ToolConfig::Native(_) | ToolConfig::External(_) | ToolConfig::Rest(_) => None,
    }
    .unwrap_or_default()
}

/// What a tool shall do with other credentials. Masked ones, as the tool is shown with, keep what
/// they were.
///
/// # Errors
/// When it is no connector's.
fn connector(row: &ToolRow, credentials: Map<String, Value>) -> Result<Behaviour, ApiError> {
    let ToolConfig::Connector(connector) = &row.definition.config else {
        let problem = "cannot be set: the tool is of no connector and has none";
        return Err(ApiError::invalid_field("credentials", problem));
    };
    Ok(Behaviour::Connector(ConnectorSettings {
        kind: connector.connector.clone(),
        credentials: Credentials(Value::Object(credentials)),
        config: connector.config.clone(),
    }))
}

/// What of a tool shall change beside its credentials.
fn change(input: &mut Fields) -> ToolChange {
    let named = input.text("name").as_deref().map(Named::of);
    ToolChange {
        details: DetailsPatch {
            // A name that is a title leaves none of before.
            title: named.as_ref().map(|named| named.title.clone()),
            name: named.map(|named| named.name),
            description: input.text("description"),
            tags: input.texts("tags"),
            ..DetailsPatch::default()
        },
        is_active: input.flag("isActive"),
        ..ToolChange::default()
    }
}
