//! Creating, replacing and deleting secrets.

use async_graphql::{Context, Object};
use zeroize::Zeroizing;

use super::object::Secret;
use crate::{
    error::ApiError,
    graphql::{StillThere, app, request},
    service::secrets::{self, NewValue},
};

/// Creating, replacing and deleting secrets.
#[derive(Default)]
pub struct SecretMutation;

fn new(name: String, value: String) -> NewValue {
    let value = Zeroizing::new(value);
    NewValue { name, value }
}

#[Object(guard = "StillThere")]
impl SecretMutation {
    /// Create a secret, to which tool definitions refer as `${NAME}`. Its value is never shown.
    async fn create_secret(
        &self,
        ctx: &Context<'_>,
        name: String,
        value: String,
        command_id: Option<String>,
    ) -> Result<Secret, ApiError> {
        let new = new(name, value);
        let created = secrets::create(app(ctx), request(ctx)?, new, command_id.as_deref());
        created.await.map(Secret)
    }

    /// Give a secret another value; the one before is erased. Runs that begin from now on use the
    /// new one, on all nodes within a moment.
    async fn replace_secret(
        &self,
        ctx: &Context<'_>,
        name: String,
        value: String,
        command_id: Option<String>,
    ) -> Result<Secret, ApiError> {
        let new = new(name, value);
        let replaced = secrets::replace(app(ctx), request(ctx)?, new, command_id.as_deref());
        replaced.await.map(Secret)
    }

    /// Delete a secret: its value is erased for good, and tools that refer to it fail.
    async fn delete_secret(
        &self,
        ctx: &Context<'_>,
        name: String,
        command_id: Option<String>,
    ) -> Result<Secret, ApiError> {
        let deleted = secrets::delete(app(ctx), request(ctx)?, &name, command_id.as_deref());
        deleted.await.map(Secret)
    }
}
