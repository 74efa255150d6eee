//! Finding members.

use async_graphql::{Context, Object};
use toolroom_projections::members::MemberKey;

use super::object::Member;
use crate::{
    error::ApiError,
    graphql::{
        app,
        connection::{Listed, Scope, cost},
        request,
    },
    service::members,
};

/// Finding members.
#[derive(Default)]
pub struct MemberQuery;

#[Object]
impl MemberQuery {
    /// Who belongs to the workspace, may join it or did belong to it, the newest first.
    #[graphql(complexity = "cost(first, 50, child_complexity)")]
    async fn members(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(50)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Listed<Member>, ApiError> {
        let scope = Scope::new(ctx, "members", &(), first, 50, after.as_deref())?;
        let page = scope.page(parse_key)?;
        let page = members::list(app(ctx), request(ctx)?, &page).await?;
        Ok(scope.connection(
            page,
            |row| format!("{},{}", row.added_at, row.id),
            Member::from,
        ))
    }
}

fn parse_key(key: &str) -> Option<MemberKey> {
    let (added_at, id) = key.split_once(',')?;
    Some(MemberKey {
        added_at: added_at.parse().ok()?,
        id: id.to_owned(),
    })
}
