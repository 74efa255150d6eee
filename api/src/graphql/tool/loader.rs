//! Tools and their recent runs, asked for one by one and read together.

use std::collections::HashMap;

use async_graphql::dataloader::Loader;
use toolroom_domain::{ToolId, WorkspaceId};
use toolroom_projections::{
    catalog::{self, ToolRow},
    jobs,
};

use crate::{error::ApiError, service::tool_health, state::AppState};

/// Loads what belongs to tools. It keeps nothing: each batch is read afresh.
pub struct ToolLoader(pub AppState);

/// A tool of a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ToolKey(pub WorkspaceId, pub ToolId);

/// The recent runs of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecentRuns(pub ToolKey);

fn by_workspace(keys: impl Iterator<Item = ToolKey>) -> HashMap<WorkspaceId, Vec<ToolId>> {
    let mut grouped: HashMap<_, Vec<_>> = HashMap::new();
    for ToolKey(workspace, tool) in keys {
        grouped.entry(workspace).or_default().push(tool);
    }
    grouped
}

impl Loader<ToolKey> for ToolLoader {
    type Value = ToolRow;
    type Error = ApiError;

    async fn load(&self, keys: &[ToolKey]) -> Result<HashMap<ToolKey, ToolRow>, ApiError> {
        let mut found = HashMap::with_capacity(keys.len());
        for (workspace, tools) in by_workspace(keys.iter().copied()) {
            let reads = self.0.log.database.reads();
            for row in catalog::query::by_ids(reads, workspace, &tools).await? {
                found.insert(ToolKey(workspace, row.id), row);
            }
        }
        Ok(found)
    }
}

impl Loader<RecentRuns> for ToolLoader {
    type Value = jobs::query::RecentRuns;
    type Error = ApiError;

    async fn load(
        &self,
        keys: &[RecentRuns],
    ) -> Result<HashMap<RecentRuns, Self::Value>, ApiError> {
        let mut found = HashMap::with_capacity(keys.len());
        for (workspace, tools) in by_workspace(keys.iter().map(|key| key.0)) {
            for (tool, runs) in tool_health::recent(&self.0, workspace, &tools).await? {
                found.insert(RecentRuns(ToolKey(workspace, tool)), runs);
            }
        }
        Ok(found)
    }
}
