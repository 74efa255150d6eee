//! A tool as this contract shows it.

use serde::Serialize;
use serde_json::{Value, json};
use toolroom_domain::tool::ToolConfig;
use toolroom_projections::catalog::ToolRow;

/// A tool as this contract shows it. What it authenticates with is masked.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tool {
    id: i32,
    user_id: String,
    name: String,
    #[serde(rename = "type")]
    tool_type: String,
    credentials: Value,
    description: String,
    tags: Vec<String>,
    is_active: bool,
    created_at: String,
    updated_at: String,
}

impl From<ToolRow> for Tool {
    fn from(row: ToolRow) -> Self {
        let config = &row.definition.config;
        Self {
            id: row.number,
            tool_type: config.type_name().to_owned(),
            credentials: match config {
                ToolConfig::Connector(connector) => connector.credentials.shown.clone(),
                ToolConfig::Native(_) | ToolConfig::External(_) | ToolConfig::Rest(_) => json!({}),
            },
            user_id: row.created_by,
            name: row.title.unwrap_or(row.name),
            description: row.description,
            tags: row.tags,
            is_active: row.is_active,
            created_at: row.created_at.to_string(),
            updated_at: row.updated_at.to_string(),
        }
    }
}

/// A field's path as this contract calls it.
pub(super) fn renamed(path: &str) -> String {
    const NAMES: [(&str, &str); 3] = [
        ("connector.credentials", "credentials"),
        ("connector.type", "type"),
        ("title", "name"),
    ];
    let path = path.strip_prefix("input.").unwrap_or(path);
    NAMES
        .iter()
        .find_map(|(ours, theirs)| Some(format!("{theirs}{}", path.strip_prefix(ours)?)))
        .unwrap_or_else(|| path.to_owned())
}
