//! Connectors: the services that tools can be made for.

use async_graphql::{Context, ID, Object, SimpleObject};
use serde_json::Value;
use toolroom_domain::connector::ConnectorSpec;

use super::object::ToolAction;
use crate::{
    error::ApiError,
    graphql::{StillThere, app, request},
    service::tools,
};

/// A service that tools can be made for.
#[derive(SimpleObject)]
pub struct Connector {
    /// Its type, as `RegisterToolInput.connector.type` takes it.
    #[graphql(name = "type")]
    kind: String,
    /// A name for people.
    name: String,
    /// What can be done with it.
    description: String,
    /// JSON Schema of the credentials; what is secret is `writeOnly`.
    credentials_schema: Value,
    /// What its tools can do.
    actions: Vec<ToolAction>,
}

impl From<&ConnectorSpec> for Connector {
    fn from(spec: &ConnectorSpec) -> Self {
        Self {
            kind: spec.kind.clone(),
            name: spec.name.clone(),
            description: spec.description.clone(),
            credentials_schema: spec.credentials_schema.clone(),
            actions: spec.actions.iter().cloned().map(ToolAction::from).collect(),
        }
    }
}

/// Whether a tool reaches what it calls.
#[derive(SimpleObject)]
#[graphql(name = "ConnectionTest")]
pub struct ConnectionTestObject {
    /// Whether nothing is wrong. Where nothing could be sent without changing something, the
    /// message says so.
    success: bool,
    /// What was found, in words.
    message: String,
    /// What the other side said; or the failure's code and category.
    details: Option<Value>,
}

/// What connectors there are.
#[derive(Default)]
pub struct ConnectorQuery;

#[Object]
impl ConnectorQuery {
    /// The services that tools can be made for, by type.
    #[graphql(complexity = "100 + child_complexity")]
    async fn connectors(&self, ctx: &Context<'_>) -> Result<Vec<Connector>, ApiError> {
        request(ctx)?;
        let all = app(ctx).checker.connectors().iter();
        Ok(all.map(|spec| Connector::from(&**spec)).collect())
    }
}

/// Trying connectors out.
#[derive(Default)]
pub struct ConnectorMutation;

#[Object(guard = "StillThere")]
impl ConnectorMutation {
    /// Make a tool's harmless call now, with its credentials, and say what came of it. It is a job,
    /// with `isTest`: who used which credentials stays known.
    async fn test_connection(
        &self,
        ctx: &Context<'_>,
        tool_id: ID,
    ) -> Result<ConnectionTestObject, ApiError> {
        let test = tools::test_connection(app(ctx), request(ctx)?, &tool_id).await?;
        Ok(ConnectionTestObject {
            success: test.success,
            message: test.message,
            details: test.details,
        })
    }
}
