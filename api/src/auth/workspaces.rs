//! Workspaces as they are, from memory for a moment: every request asks for its own.

use std::sync::Arc;

use moka::future::Cache;
use sqlx::PgPool;
use toolroom_domain::{UserId, WorkspaceId, workspace::Workspace};
use toolroom_eventlog::{CommandBus, CommandError};
use toolroom_projections::workspaces::query;

use super::keys::TRUSTED_FOR;
use crate::error::ApiError;

/// Workspaces remembered, unknown ones included.
const REMEMBERED: u64 = 10_000;

/// Finds workspaces.
pub(super) struct Workspaces {
    bus: CommandBus,
    pool: PgPool,
    firsts: Cache<UserId, WorkspaceId>,
    known: Cache<WorkspaceId, Option<Arc<Workspace>>>,
}

impl Workspaces {
    pub(super) fn new(bus: CommandBus, pool: PgPool) -> Self {
        Self {
            bus,
            pool,
            firsts: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(TRUSTED_FOR)
                .build(),
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

    /// The workspace that a user joined first, of those where they are a member; that they are of
    /// none is not remembered, since it ends with the next thing that they do.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn first_of(&self, user: &UserId) -> Result<Option<WorkspaceId>, ApiError> {
        if let Some(first) = self.firsts.get(user).await {
            return Ok(Some(first));
        }
        let first = query::first_of(&self.pool, user).await?;
        if let Some(first) = first {
            self.firsts.insert(user.clone(), first).await;
        }
        Ok(first)
    }

    /// Forgets what is remembered of a workspace: this node has just changed it. For whom it was
    /// the first is not known, so of all others that is forgotten too.
    pub(super) async fn forget(&self, id: WorkspaceId) {
        self.known.invalidate(&id).await;
        self.firsts.invalidate_all();
    }
}
