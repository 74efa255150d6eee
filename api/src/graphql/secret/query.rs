//! Finding secrets.

use async_graphql::{Context, Object};

use super::object::Secret;
use crate::{
    error::ApiError,
    graphql::{
        app,
        connection::{Listed, Scope, cost},
        request,
    },
    service::secrets,
};

/// Finding secrets.
#[derive(Default)]
pub struct SecretQuery;

#[Object]
impl SecretQuery {
    /// The secrets of the workspace by name: never their values.
    #[graphql(complexity = "cost(first, 50, child_complexity)")]
    async fn secrets(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(50)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Listed<Secret>, ApiError> {
        let scope = Scope::new(ctx, "secrets", &(), first, 50, after.as_deref())?;
        let page = scope.page(|key| Some(key.to_owned()))?;
        let page = secrets::list(app(ctx), request(ctx)?, &page).await?;
        Ok(scope.connection(page, |row| row.name.clone(), Secret))
    }
}
