//! What a connector offers, as far as edges show it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::secret;

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

/// What stands where a secret is not shown.
pub const MASK: &str = "***";

/// In the place of an action's id: the harmless call that tells whether a tool's credentials work.
/// No action is called so.
pub const TEST_CONNECTION: &str = "test-connection";

/// What of a value may be shown: what a schema marks `writeOnly` is masked, and so is what it does
/// not declare. A reference such as `${NAME}` is no secret.
pub fn shown(schema: &Value, value: &Value) -> Value {
    let is_secret = schema.get("writeOnly").and_then(Value::as_bool) == Some(true);
    if is_secret {
        let text = value.as_str();
        let is_reference = text.is_some_and(|text| secret::reference(text).is_some());
        return match is_reference {
            true => value.clone(),
            false => Value::from(MASK),
        };
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    match (value, properties) {
        (Value::Object(fields), Some(properties)) => {
            let one = |(name, field): (&String, &Value)| {
                let shown = properties.get(name).map(|schema| shown(schema, field));
                (name.clone(), shown.unwrap_or_else(|| Value::from(MASK)))
            };
            fields.iter().map(one).collect()
        }
        _ => value.clone(),
    }
}

/// A value in whose masked places the values stand that are kept there.
///
/// # Errors
/// The dotted places at which nothing is kept.
pub fn unmasked(shown: &Value, kept: &Value) -> Result<Value, Vec<String>> {
    let mut missing = Vec::new();
    let whole = fill_in(shown, Some(kept), "", &mut missing);
    if missing.is_empty() {
        Ok(whole)
    } else {
        Err(missing)
    }
}

fn fill_in(shown: &Value, kept: Option<&Value>, place: &str, missing: &mut Vec<String>) -> Value {
    match shown {
        Value::String(text) if text == MASK => match kept {
            Some(kept) if kept != shown => kept.clone(),
            _ => {
                missing.push(place.to_owned());
                shown.clone()
            }
        },
        Value::Object(fields) => {
            let mut one = |(name, field): (&String, &Value)| {
                let place = match place {
                    "" => name.clone(),
                    place => format!("{place}.{name}"),
                };
                let kept = kept.and_then(|kept| kept.get(name));
                (name.clone(), fill_in(field, kept, &place, missing))
            };
            fields.iter().map(&mut one).collect()
        }
        _ => shown.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({"type": "object", "properties": {
            "channel": {"type": "string"},
            "token": {"type": "string", "writeOnly": true},
            "key": {"type": "object", "writeOnly": true},
            "proxy": {"type": "object", "properties": {
                "host": {"type": "string"}, "password": {"type": "string", "writeOnly": true},
            }},
        }})
    }

    #[test]
    fn what_is_secret_or_unknown_is_masked_and_a_reference_is_not() {
        let credentials = json!({
            "channel": "#a", "token": "t", "key": {"x": "y"}, "typo": "s",
            "proxy": {"host": "h", "password": "${PROXY_PASSWORD}", "user": "u"},
        });
        assert_eq!(
            shown(&schema(), &credentials),
            json!({
                "channel": "#a", "token": "***", "key": "***", "typo": "***",
                "proxy": {"host": "h", "password": "${PROXY_PASSWORD}", "user": "***"},
            })
        );
    }

    #[test]
    fn masked_places_keep_what_was_there_and_others_are_replaced() {
        let kept = json!({"channel": "#old", "token": "t", "proxy": {"password": "p"}});
        let sent = json!({"channel": "#new", "token": "***", "proxy": {"password": "***"}});
        assert_eq!(
            unmasked(&sent, &kept),
            Ok(json!({"channel": "#new", "token": "t", "proxy": {"password": "p"}}))
        );
        let sent = json!({"key": "***", "proxy": {"password": "***"}});
        assert_eq!(
            unmasked(&sent, &json!({"key": "***"})),
            Err(vec!["key".to_owned(), "proxy.password".to_owned()])
        );
    }
}
