//! Workspaces as they are, from memory for a moment: every request asks for its own.

use std::sync::Arc;

use moka::future::Cache;
use toolroom_domain::{WorkspaceId, workspace::Workspace};
use toolroom_eventlog::{CommandBus, CommandError};

use super::keys::TRUSTED_FOR;
use crate::error::ApiError;

/// Workspaces remembered, unknown ones included.
const REMEMBERED: u64 = 10_000;

/// Finds workspaces.
pub(super) struct Workspaces {
    bus: CommandBus,
    known: Cache<WorkspaceId, Option<Arc<Workspace>>>,
}

impl Workspaces {
    pub(super) fn new(bus: CommandBus) -> Self {
        Self {
            bus,
            known: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(TRUSTED_FOR)
                .build(),
        }
    }

    /// A workspace that exists and was not deleted.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn find(&self, id: WorkspaceId) -> Result<Option<Arc<Workspace>>, ApiError> {
        if let Some(known) = self.known.get(&id).await {
            return Ok(known);
        }
        let loaded = self.known.try_get_with(id, async {
            match self.bus.load::<Workspace>(id, &id.to_string()).await {
                Ok(loaded) if loaded.aggregate.is_deleted() => Ok(None),
                Ok(loaded) => Ok(Some(Arc::new(loaded.aggregate))),
                Err(CommandError::NotFound) => Ok(None),
                Err(error) => Err(ApiError::from(error)),
            }
        });
        loaded.await.map_err(|error| (*error).clone())
    }

    /// Forgets what is remembered of a workspace: this node has just changed it.
    pub(super) async fn forget(&self, id: WorkspaceId) {
        self.known.invalidate(&id).await;
    }
}
