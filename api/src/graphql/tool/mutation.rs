//! Registering and changing tools.

use async_graphql::{Context, ID, Object};

use super::{
    input::{RegisterToolInput, UpdateToolInput},
    object::ToolObject,
};
use crate::{
    error::ApiError,
    graphql::{StillThere, app, request},
    service::tools,
};

/// Registering and changing tools.
#[derive(Default)]
pub struct ToolMutation;

#[Object(guard = "StillThere")]
impl ToolMutation {
    /// Register a tool, as version 1.
    async fn register_tool(
        &self,
        ctx: &Context<'_>,
        input: RegisterToolInput,
        command_id: Option<String>,
    ) -> Result<ToolObject, ApiError> {
        let registered = async {
            let new = input.into_tool()?;
            tools::register(app(ctx), request(ctx)?, new, command_id.as_deref()).await
        };
        registered.await.map(ToolObject).map_err(of_input)
    }

    /// Change a tool. A change of what it does makes a version.
    async fn update_tool(
        &self,
        ctx: &Context<'_>,
        id: ID,
        input: UpdateToolInput,
        expected_version: Option<i32>,
        command_id: Option<String>,
    ) -> Result<ToolObject, ApiError> {
        let expected = expected_version
            .map(|version| number("expectedVersion", version))
            .transpose()?;
        let updated = async {
            let change = input.into_change(expected)?;
            tools::update(app(ctx), request(ctx)?, &id, change, command_id.as_deref()).await
        };
        updated.await.map(ToolObject).map_err(of_input)
    }

    /// Let a tool run, or keep it from running.
    async fn set_tool_active(
        &self,
        ctx: &Context<'_>,
        id: ID,
        active: bool,
        command_id: Option<String>,
    ) -> Result<ToolObject, ApiError> {
        let (state, sender) = (app(ctx), request(ctx)?);
        let tool = tools::set_active(state, sender, &id, active, command_id.as_deref());
        tool.await.map(ToolObject)
    }

    /// Take a tool out of the catalogue and free its name.
    async fn delete_tool(
        &self,
        ctx: &Context<'_>,
        id: ID,
        command_id: Option<String>,
    ) -> Result<ToolObject, ApiError> {
        let tool = tools::delete(app(ctx), request(ctx)?, &id, command_id.as_deref());
        tool.await.map(ToolObject)
    }

    /// Make what an earlier version did the newest version; a deleted tool comes back.
    async fn restore_tool_version(
        &self,
        ctx: &Context<'_>,
        id: ID,
        version: i32,
        command_id: Option<String>,
    ) -> Result<ToolObject, ApiError> {
        let version = number("version", version)?;
        let (state, sender) = (app(ctx), request(ctx)?);
        let tool = tools::restore_version(state, sender, &id, version, command_id.as_deref());
        tool.await.map(ToolObject)
    }
}

/// Violations of an input come without the argument's name; those of `commandId` with it.
fn of_input(mut error: ApiError) -> ApiError {
    for violation in &mut error.violations {
        if violation.path != "commandId" {
            *violation = violation.clone().under("input");
        }
    }
    error
}

pub(in crate::graphql) fn number(path: &str, number: i32) -> Result<u32, ApiError> {
    u32::try_from(number)
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| ApiError::invalid_field(path, "must be at least 1"))
}
