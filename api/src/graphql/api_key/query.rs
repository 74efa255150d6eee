//! Finding API keys.

use async_graphql::{Context, Object};
use toolroom_projections::api_keys::ApiKeyOrder;

use super::object::ApiKey;
use crate::{
    error::ApiError,
    graphql::{
        app,
        connection::{Listed, Scope, cost},
        request,
    },
    service::keys,
};

/// Finding API keys.
#[derive(Default)]
pub struct ApiKeyQuery;

#[Object]
impl ApiKeyQuery {
    /// The keys of the workspace, revoked and expired ones too, the newest first.
    #[graphql(complexity = "cost(first, 50, child_complexity)")]
    async fn api_keys(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(50)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Listed<ApiKey>, ApiError> {
        let scope = Scope::new(ctx, "apiKeys", &(), first, 50, after.as_deref())?;
        let page = scope.page(parse_key)?;
        let page = keys::list(app(ctx), request(ctx)?, &page).await?;
        Ok(scope.connection(
            page,
            |view| format!("{},{}", view.row.created_at, view.row.id),
            ApiKey::from,
        ))
    }
}

fn parse_key(key: &str) -> Option<ApiKeyOrder> {
    let (created_at, id) = key.split_once(',')?;
    Some(ApiKeyOrder {
        created_at: created_at.parse().ok()?,
        id: id.parse().ok()?,
    })
}
