//! Tools as the log tells them: as they stood at some position, and where a read model is behind.

use toolroom_domain::{ToolId, WorkspaceId, tool::Tool};
use toolroom_eventlog::{Aggregate as _, history};
use toolroom_projections::catalog::{self, ToolFilter, ToolRow};

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
    let (reads, id) = (state.log.database.reads(), id.to_string());
    let events = history::of_stream(reads, workspace, Tool::TYPE, &id, position).await?;
    let rows = catalog::as_of(&events).map_err(ApiError::internal)?;
    Ok(rows.into_iter().next())
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
    let reads = state.log.database.reads();
    let events = history::of_kind(reads, workspace, Tool::TYPE, position).await?;
    catalog::as_of(&events).map_err(ApiError::internal)
}

/// Whether a tool passes a filter: the rule of the catalogue's own list.
pub(crate) fn passes(row: &ToolRow, filter: &ToolFilter) -> bool {
    let wanted = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|w| w == is);
    !row.is_deleted
        && filter.kind.is_none_or(|kind| kind == row.kind)
        && wanted(&filter.tool_type, row.definition.config.type_name())
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
