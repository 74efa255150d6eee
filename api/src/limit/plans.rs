//! Which plan a workspace has.

use async_trait::async_trait;
use toolroom_domain::{WorkspaceId, workspace::Plan};

use crate::{auth::Authenticator, error::ApiError};

/// Knows plans. Asked for each request, so from memory: a change is in force when that is.
#[async_trait]
pub trait Plans: Send + Sync + 'static {
    /// A workspace's plan; none if nobody knows the workspace, and then nothing is limited.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn plan_of(&self, workspace: WorkspaceId) -> Result<Option<Plan>, ApiError>;
}

#[async_trait]
impl Plans for Authenticator {
    async fn plan_of(&self, workspace: WorkspaceId) -> Result<Option<Plan>, ApiError> {
        let found = self.workspace(workspace).await?;
        Ok(found.map(|workspace| workspace.plan()))
    }
}
