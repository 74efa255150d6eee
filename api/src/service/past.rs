//! Tools as the log tells them: as they stood at some position, and where a read model is behind.

use std::collections::BTreeMap;

use jiff::Timestamp;
use toolroom_domain::{
    ToolId, WorkspaceId,
    tool::{Event, Tool},
};
use toolroom_eventlog::{Aggregate as _, RecordedEvent};
use toolroom_projections::catalog::{ToolFilter, ToolRow};

use crate::{error::ApiError, state::AppState};

/// The tool as it stood at a position; none if it did not exist then.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn tool_at(
    state: &AppState,
    workspace: WorkspaceId,
    id: ToolId,
    position: i64,
) -> Result<Option<ToolRow>, ApiError> {
    let events = state
        .log
        .feed
        .read_stream(workspace, Tool::TYPE, &id.to_string(), position)
        .await?;
    Ok(fold(workspace, &events)?.into_values().next())
}

/// All tools as they stood at a position, deleted ones included, by number.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn tools_at(
    state: &AppState,
    workspace: WorkspaceId,
    position: i64,
) -> Result<Vec<ToolRow>, ApiError> {
    let events = state
        .log
        .feed
        .read_kind(workspace, Tool::TYPE, position)
        .await?;
    let mut rows: Vec<_> = fold(workspace, &events)?.into_values().collect();
    rows.sort_by_key(|row| row.number);
    Ok(rows)
}

/// Whether a tool passes a filter: the rule of the catalogue's own list.
pub(crate) fn passes(row: &ToolRow, filter: &ToolFilter) -> bool {
    let wanted = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|w| w == is);
    !row.is_deleted
        && filter.kind.is_none_or(|kind| kind == row.kind)
        && wanted(&filter.tool_type, row.kind.as_str())
        && filter
            .category
            .as_ref()
            .is_none_or(|c| row.category.as_ref() == Some(c))
        && filter.tag.as_ref().is_none_or(|tag| row.tags.contains(tag))
        && filter
            .is_active
            .is_none_or(|active| active == row.is_active)
        && filter.search.as_deref().is_none_or(|s| mentions(row, s))
}

fn mentions(row: &ToolRow, search: &str) -> bool {
    let search = search.to_lowercase();
    [&row.name, &row.description]
        .into_iter()
        .chain(&row.title)
        .chain(&row.category)
        .chain(&row.tags)
        .any(|text| text.to_lowercase().contains(&search))
}

struct Past {
    tool: Tool,
    created_by: String,
    created_at: Timestamp,
    updated_at: Timestamp,
    last_event: i64,
}

fn fold(
    workspace: WorkspaceId,
    events: &[RecordedEvent],
) -> Result<BTreeMap<ToolId, ToolRow>, ApiError> {
    let mut tools: BTreeMap<ToolId, Past> = BTreeMap::new();
    for recorded in events {
        let event: Event = recorded.decode().map_err(ApiError::internal)?;
        let at = at(&event);
        if let Event::Registered { id, .. } = &event {
            let metadata = recorded.metadata().map_err(ApiError::internal)?;
            tools.insert(
                *id,
                Past {
                    tool: Tool::default(),
                    created_by: metadata.actor,
                    created_at: at,
                    updated_at: at,
                    last_event: recorded.position,
                },
            );
        }
        let past = recorded
            .aggregate_id
            .parse()
            .ok()
            .and_then(|id: ToolId| tools.get_mut(&id));
        if let Some(past) = past {
            past.tool.apply(event);
            past.updated_at = at;
            past.last_event = recorded.position;
        }
    }
    let rows = tools
        .into_iter()
        .filter_map(|(id, past)| Some((id, row(workspace, id, past)?)));
    Ok(rows.collect())
}

fn row(workspace: WorkspaceId, id: ToolId, past: Past) -> Option<ToolRow> {
    let version = past.tool.version();
    let definition = past.tool.definition(version)?.clone();
    let details = past.tool.details();
    Some(ToolRow {
        id,
        number: past.tool.number()?,
        workspace,
        name: details.name,
        title: details.title,
        description: details.description,
        category: details.category,
        tags: details.tags,
        kind: definition.config.kind(),
        is_active: past.tool.is_active(),
        is_deleted: past.tool.is_deleted(),
        version,
        definition,
        created_by: past.created_by,
        created_at: past.created_at,
        updated_at: past.updated_at,
        last_event: past.last_event,
    })
}

fn at(event: &Event) -> Timestamp {
    match event {
        Event::Registered { at, .. }
        | Event::DetailsChanged { at, .. }
        | Event::Revised { at, .. }
        | Event::Activated { at }
        | Event::Deactivated { at }
        | Event::Deleted { at, .. }
        | Event::Restored { at, .. } => *at,
    }
}
