//! Making and revoking API keys.

use async_graphql::{Context, ID, Object};

use super::object::{ApiKey, CreatedApiKey};
use crate::{
    error::ApiError,
    graphql::{StillThere, app, request, scalar::DateTime, workspace::Role},
    service::keys::{self, NewKey},
};

/// Making and revoking API keys.
#[derive(Default)]
pub struct ApiKeyMutation;

#[Object(guard = "StillThere")]
impl ApiKeyMutation {
    /// Make an API key of the workspace, which may do no more than its maker. Its secret is shown
    /// this once.
    async fn create_api_key(
        &self,
        ctx: &Context<'_>,
        name: String,
        role: Role,
        expires_at: Option<DateTime>,
        command_id: Option<String>,
    ) -> Result<CreatedApiKey, ApiError> {
        let new = NewKey {
            name,
            role: role.into(),
            expires_at: expires_at.map(|at| at.0),
        };
        let created = keys::create(app(ctx), request(ctx)?, new, command_id.as_deref());
        created.await.map(CreatedApiKey::from)
    }

    /// Have an API key open nothing any more.
    async fn revoke_api_key(
        &self,
        ctx: &Context<'_>,
        id: ID,
        command_id: Option<String>,
    ) -> Result<ApiKey, ApiError> {
        let revoked = keys::revoke(app(ctx), request(ctx)?, &id, command_id.as_deref());
        revoked.await.map(ApiKey::from)
    }
}
