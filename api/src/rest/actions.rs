//! The actions of a connector's tool, as REST contracts show them. None of them knows such tools, so
//! other tools have no such field.

use serde::Serialize;
use serde_json::Value;
use toolroom_domain::{
    connector::{ActionSpec, ActionType},
    tool::Definition,
};

use crate::{service::tools::actions, state::AppState};

/// One thing that a tool can do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Action {
    /// What `action` takes when the tool is run.
    id: String,
    name: String,
    description: String,
    action_type: ActionType,
    input_schema: Value,
    output_schema: Option<Value>,
}

impl From<&ActionSpec> for Action {
    fn from(spec: &ActionSpec) -> Self {
        Self {
            id: spec.id.clone(),
            name: spec.name.clone(),
            description: spec.description.clone(),
            action_type: spec.action_type,
            input_schema: spec.input_schema.clone(),
            output_schema: spec.output_schema.clone(),
        }
    }
}

/// The actions of a tool, if it is a connector's.
pub(super) fn of(state: &AppState, definition: &Definition) -> Vec<Action> {
    let connector = actions::connector(state, definition);
    let all = connector.into_iter().flat_map(|known| &known.actions);
    all.map(Action::from).collect()
}
