//! What a connector offers, as far as edges show it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an action does to the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "each name says it")]
pub enum ActionType {
    Message,
    Create,
    Update,
    Delete,
    Query,
}

/// One thing that a connector's tools can do.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionSpec {
    /// Its id, such as `slack.send-message`.
    pub id: String,
    /// A name for people.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What it does to the other side.
    pub action_type: ActionType,
    /// JSON Schema of the input; an object schema.
    pub input_schema: Value,
    /// JSON Schema of the output, if promised.
    pub output_schema: Option<Value>,
}

/// A service that tools can be made for.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectorSpec {
    /// Its type, such as `SLACK`.
    pub kind: String,
    /// A name for people.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// JSON Schema of the credentials; what is secret is `writeOnly`.
    pub credentials_schema: Value,
    /// What its tools can do; at least one.
    pub actions: Vec<ActionSpec>,
}

impl ConnectorSpec {
    /// The action of an id, which may come with or without the connector's prefix (`slack.`).
    pub fn action(&self, id: &str) -> Option<&ActionSpec> {
        let is_it = |action: &&ActionSpec| {
            let bare = action
                .id
                .split_once('.')
                .map_or(&*action.id, |(_, bare)| bare);
            action.id == id || bare == id
        };
        self.actions.iter().find(is_it)
    }
}
