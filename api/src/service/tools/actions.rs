//! What can be done with a tool.

use std::sync::Arc;

use serde_json::Value;
use toolroom_domain::{
    connector::{ActionSpec, ActionType, ConnectorSpec},
    tool::{Definition, HttpMethod, ToolConfig},
};

use crate::{error::ApiError, service::jobs::RUN_ACTION, state::AppState};

/// The connector of a tool, if it has one that this server knows.
pub fn connector<'s>(
    state: &'s AppState,
    definition: &Definition,
) -> Option<&'s Arc<ConnectorSpec>> {
    state.checker.connector(definition.config.connector()?)
}

/// What can be done with a tool: its connector's actions, or the one thing that it does.
///
/// Actions are those of the connector as this server knows it, also for old versions of a tool:
/// what a version freezes is with which credentials and settings they are done.
pub fn actions(state: &AppState, description: &str, definition: &Definition) -> Vec<ActionSpec> {
    if let Some(connector) = connector(state, definition) {
        return connector.actions.clone();
    }
    vec![ActionSpec {
        id: RUN_ACTION.to_owned(),
        name: RUN_ACTION.to_owned(),
        description: description.to_owned(),
        action_type: action_type(&definition.config),
        input_schema: definition.input_schema.clone(),
        output_schema: definition.output_schema.clone(),
    }]
}

/// The schemas of a tool's input and output, where it does one thing.
pub fn schemas<'d>(
    state: &'d AppState,
    definition: &'d Definition,
) -> (&'d Value, Option<&'d Value>) {
    match connector(state, definition).map(|c| &c.actions[..]) {
        Some([only]) => (&only.input_schema, only.output_schema.as_ref()),
        _ => (&definition.input_schema, definition.output_schema.as_ref()),
    }
}

/// The action that a caller means, as jobs name it: none for a tool that does one thing only and
/// is no connector's.
///
/// # Errors
/// When the tool has no such action, or several and none is named; with those that there are.
pub(crate) fn named(
    state: &AppState,
    definition: &Definition,
    action: Option<&str>,
) -> Result<Option<String>, ApiError> {
    let Some(connector) = connector(state, definition) else {
        return match action.filter(|action| *action != RUN_ACTION) {
            None => Ok(None),
            Some(action) => {
                let problem = "is not one of the tool's: it has `run`";
                let error = ApiError::invalid_field("action", problem);
                Err(error.with_candidates_for(action, [RUN_ACTION.to_owned()]))
            }
        };
    };
    let ids = || connector.actions.iter().map(|action| action.id.clone());
    match (action, &connector.actions[..]) {
        (None, [only]) => Ok(Some(only.id.clone())),
        (None, _) => {
            let problem = format!(
                "is required: the tool has {}",
                ids().collect::<Vec<_>>().join(", ")
            );
            Err(ApiError::invalid_field("action", problem).with_candidates(ids()))
        }
        (Some(action), _) => match connector.action(action) {
            Some(found) => Ok(Some(found.id.clone())),
            None => {
                let problem = format!(
                    "is not one of the tool's: it has {}",
                    ids().collect::<Vec<_>>().join(", ")
                );
                let error = ApiError::invalid_field("action", problem);
                Err(error.with_candidates_for(action, ids()))
            }
        },
    }
}

fn action_type(config: &ToolConfig) -> ActionType {
    match config {
        ToolConfig::Native(_) | ToolConfig::External(_) | ToolConfig::Connector(_) => {
            ActionType::Query
        }
        ToolConfig::Rest(rest) => match rest.api.method {
            HttpMethod::Get | HttpMethod::Head => ActionType::Query,
            HttpMethod::Post => ActionType::Create,
            HttpMethod::Put | HttpMethod::Patch => ActionType::Update,
            HttpMethod::Delete => ActionType::Delete,
        },
    }
}
