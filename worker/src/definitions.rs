//! What each version of each tool does: immutable, and so cached for good.

use std::sync::Arc;

use moka::future::Cache;
use toolroom_domain::{
    ToolId, WorkspaceId,
    tool::{self, Definition, Tool},
};
use toolroom_eventlog::{CommandBus, CommandError};

/// Versions kept: a definition is a few KiB.
const CACHED: u64 = 10_000;

/// Definitions by tool and version.
#[derive(Clone)]
pub struct Definitions {
    bus: CommandBus,
    cache: Cache<(ToolId, u32), Arc<Definition>>,
}

impl Definitions {
    /// An empty cache over the tools of `bus`.
    pub fn new(bus: CommandBus) -> Self {
        Self {
            bus,
            cache: Cache::new(CACHED),
        }
    }

    /// What a version does.
    ///
    /// # Errors
    /// When the workspace has no such tool or version, or the database is away.
    pub async fn get(
        &self,
        workspace: WorkspaceId,
        tool: ToolId,
        version: u32,
    ) -> Result<Arc<Definition>, CommandError<tool::Error>> {
        if let Some(definition) = self.cache.get(&(tool, version)).await {
            return Ok(definition);
        }
        let loaded = self.bus.load::<Tool>(workspace, &tool.to_string()).await?;
        let definition = loaded
            .aggregate
            .definition(version)
            .cloned()
            .map(Arc::new)
            .ok_or(CommandError::NotFound)?;
        self.cache
            .insert((tool, version), Arc::clone(&definition))
            .await;
        Ok(definition)
    }
}
