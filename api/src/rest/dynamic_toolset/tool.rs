//! A tool as this contract shows it, and as its clients define it.

use serde::Serialize;
use serde_json::{Map, Value};
use toolroom_domain::tool::PolicyOverrides;
use toolroom_projections::catalog::ToolRow;

use crate::{
    http::fields::Fields,
    rest::actions::{self, Action},
    service::{
        name::Named,
        tools::{self, actions::schemas},
    },
    state::AppState,
};

/// A tool in a list.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    id: String,
    name: String,
    description: String,
    input_schema: Value,
    output_schema: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Action>,
}

impl Listed {
    pub(super) fn new(state: &AppState, row: ToolRow) -> Self {
        let (input, output) = schemas(state, &row.definition);
        Self {
            input_schema: input.clone(),
            output_schema: output.cloned(),
            actions: actions::of(state, &row.definition),
            name: row.title.unwrap_or_else(|| row.name.clone()),
            id: row.name,
            description: row.description,
        }
    }
}

/// A tool by itself.
#[derive(Debug, Serialize)]
pub(super) struct Tool {
    id: String,
    name: String,
    description: String,
    #[serde(rename = "type")]
    tool_type: String,
    version: u32,
    is_active: bool,
    tags: Vec<String>,
    category: Option<String>,
    created_at: String,
    updated_at: String,
    /// The definition, which can be sent back. Secrets stay references.
    config: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Action>,
}

impl Tool {
    pub(super) fn new(state: &AppState, row: ToolRow) -> Self {
        let name = row.title.unwrap_or_else(|| row.name.clone());
        let mut config = tools::config(&row.definition);
        config["name"] = name.clone().into();
        config["description"] = row.description.clone().into();
        Self {
            name,
            id: row.name,
            description: row.description,
            tool_type: row.definition.config.type_name().to_owned(),
            version: row.version,
            is_active: row.is_active,
            tags: row.tags,
            category: row.category,
            created_at: row.created_at.to_string(),
            updated_at: row.updated_at.to_string(),
            config,
            actions: actions::of(state, &row.definition),
        }
    }
}

/// What of a definition says what the tool does.
const BEHAVIOUR: [&str; 4] = ["api", "input_schema", "output_schema", "mapping"];

/// What of a tool a client sends, when it defines one or changes one.
pub(super) struct Sent {
    pub(super) named: Option<Named>,
    pub(super) description: Option<String>,
    pub(super) category: Option<String>,
    pub(super) tags: Option<Vec<String>>,
    pub(super) requires_approval: Option<bool>,
    pub(super) policy: Option<PolicyOverrides>,
    /// The parts of the definition that were sent; null for one that there shall not be.
    pub(super) behaviour: Map<String, Value>,
}

impl Sent {
    pub(super) fn take(fields: &mut Fields) -> Self {
        let id = fields.text("id");
        let name = fields.text("name");
        let mut behaviour = Map::new();
        for field in BEHAVIOUR {
            if let Some(value) = fields.any(field) {
                behaviour.insert(field.to_owned(), value);
            }
        }
        Self {
            named: named(id, name),
            description: fields.text("description"),
            category: fields.text("category"),
            tags: fields.texts("tags"),
            requires_approval: fields.flag("requires_approval"),
            policy: policy(fields),
            behaviour,
        }
    }
}

/// A client may say the id itself; else it is the name, or is made of it.
fn named(id: Option<String>, name: Option<String>) -> Option<Named> {
    match (id, name) {
        (Some(id), name) => Some(Named {
            title: name.filter(|name| *name != id),
            name: id,
        }),
        (None, Some(name)) => Some(Named::of(&name)),
        (None, None) => None,
    }
}

fn policy(fields: &mut Fields) -> Option<PolicyOverrides> {
    let sent = Value::Object(fields.object("policy")?);
    match serde_path_to_error::deserialize(sent) {
        Ok(policy) => Some(policy),
        Err(error) => {
            let path = match error.path().to_string().as_str() {
                "." => "policy".to_owned(),
                path => format!("policy.{path}"),
            };
            fields.refuse(&path, error.inner().to_string().to_lowercase());
            None
        }
    }
}

/// A field's path as this contract calls it.
pub(super) fn renamed(path: &str) -> String {
    const POLICY: [(&str, &str); 7] = [
        ("policy.timeoutMs", "policy.timeout_ms"),
        ("policy.maxAttempts", "policy.max_attempts"),
        ("policy.initialDelayMs", "policy.initial_delay_ms"),
        ("policy.maxDelayMs", "policy.max_delay_ms"),
        ("policy.backoffMultiplier", "policy.backoff_multiplier"),
        ("policy.jitter", "policy.jitter"),
        ("policy.network", "policy.network"),
    ];
    let path = path.strip_prefix("input.").unwrap_or(path);
    if let Some((_, theirs)) = POLICY.iter().find(|(ours, _)| *ours == path) {
        return (*theirs).to_owned();
    }
    match path {
        "rest" => String::new(),
        "title" => "name".to_owned(),
        path => path.strip_prefix("rest.").unwrap_or(path).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_name_and_a_free_name_the_title() {
        let of = |id: Option<&str>, name: Option<&str>| {
            named(id.map(Into::into), name.map(Into::into)).map(|named| (named.name, named.title))
        };
        let title = Some("Get Weather".to_owned());
        assert_eq!(
            of(Some("weather_api"), Some("Get Weather")),
            Some(("weather_api".into(), title.clone()))
        );
        assert_eq!(
            of(None, Some("weather_api")),
            Some(("weather_api".into(), None))
        );
        assert_eq!(
            of(None, Some("Get Weather")),
            Some(("get_weather".into(), title))
        );
        assert_eq!(of(Some("a"), Some("a")), Some(("a".into(), None)));
        assert_eq!(of(None, None), None);
    }

    #[test]
    fn paths_are_called_as_the_contract_calls_them() {
        assert_eq!(renamed("rest.api.base_url"), "api.base_url");
        assert_eq!(renamed("input.policy.timeoutMs"), "policy.timeout_ms");
        assert_eq!(renamed("title"), "name");
    }
}
