//! A secret: all but its value.

use async_graphql::{Context, Object};
use toolroom_domain::access::Operation;
use toolroom_projections::secrets::SecretRow;

use crate::{
    error::ApiError,
    graphql::{
        app,
        audit::{AuditConnectionName, AuditEvent, events},
        connection::{Listed, Scope, cost, saturated},
        request,
        scalar::DateTime,
    },
    service::secrets,
};

/// A named secret, to which tool definitions refer as `${NAME}`. Its value is never shown.
pub struct Secret(pub(super) SecretRow);

/// A named secret, to which tool definitions refer as `${NAME}`. Its value is never shown.
#[Object]
impl Secret {
    /// What tool definitions call it.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Grows with each value that the name was given; none comes twice.
    async fn version(&self) -> i32 {
        saturated(self.0.version.into())
    }

    /// When it was created.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When its value was set last.
    async fn updated_at(&self) -> DateTime {
        self.0.updated_at.into()
    }

    /// When a job was given a secret of this name last.
    async fn last_used_at(&self) -> Option<DateTime> {
        self.0.last_used_at.map(DateTime::from)
    }

    /// Which jobs were given a secret of this name, the newest first: for whoever may read the audit.
    #[graphql(complexity = "cost(first, 20, child_complexity)")]
    async fn usages(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(20)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Listed<AuditEvent, AuditConnectionName>, ApiError> {
        let sender = request(ctx)?;
        sender.require(Operation::AuditLog)?;
        let scope = Scope::new(ctx, "usages", &self.0.name, first, 20, after.as_deref())?;
        let page = scope.page(|key| key.parse().ok())?;
        let page = secrets::usages(app(ctx), sender, &self.0.name, &page).await?;
        events(&scope, page)
    }
}
