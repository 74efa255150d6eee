//! Reading the audit.

use std::sync::Arc;

use async_graphql::{Context, Enum, Object, SimpleObject};
use toolroom_projections::audit::{self as read_model, AuditQuery as Listing};

use super::object::{AuditConnectionName, AuditEvent, AuditFilter, events, hex};
use crate::{
    error::ApiError,
    graphql::{
        app,
        connection::{Listed, Scope, cost},
        request,
        scalar::{DateTime, Position},
    },
    service::{audit, operations},
};

/// In which direction a list is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum Order {
    /// The oldest first.
    Asc,
    /// The newest first.
    Desc,
}

/// The newest link of the hash chain.
#[derive(SimpleObject)]
pub struct LogHead {
    /// Its place in the global log; 0 when nothing has happened yet.
    position: Position,
    /// The link, in hexadecimal digits.
    hash: String,
    /// When it was logged; when the server started, while nothing has happened yet.
    logged_at: DateTime,
}

/// Reading the audit.
#[derive(Default)]
pub struct AuditQuery;

#[Object]
impl AuditQuery {
    /// What has happened in the workspace, the oldest first.
    #[graphql(complexity = "cost(first, 50, child_complexity)")]
    async fn audit_log(
        &self,
        ctx: &Context<'_>,
        filter: Option<AuditFilter>,
        #[graphql(default_with = "Some(Order::Asc)")] order: Option<Order>,
        #[graphql(default_with = "Some(50)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Listed<AuditEvent, AuditConnectionName>, ApiError> {
        let filter = filter.unwrap_or_default();
        let order = match order {
            Some(Order::Desc) => read_model::Order::Descending,
            Some(Order::Asc) | None => read_model::Order::Ascending,
        };
        let bound = (&filter, order == read_model::Order::Descending);
        let scope = Scope::new(ctx, "auditLog", &bound, first, 50, after.as_deref())?;
        let listing = Listing {
            page: scope.page(|key| key.parse().ok())?,
            filter: filter.into(),
            order,
        };
        let page = audit::list(app(ctx), request(ctx)?, &listing).await?;
        events(&scope, page)
    }

    /// One event by its place in the log.
    async fn audit_event(
        &self,
        ctx: &Context<'_>,
        position: Position,
    ) -> Result<Option<AuditEvent>, ApiError> {
        let state = app(ctx);
        let position = position.0.value_in(state.epoch().await?)?;
        let row = audit::event(state, request(ctx)?, position).await?;
        row.map(|row| AuditEvent::try_new(Arc::new(row.event), Some(row.previous_hash)))
            .transpose()
    }

    /// The newest link of the hash chain.
    async fn log_head(&self, ctx: &Context<'_>) -> Result<LogHead, ApiError> {
        let state = app(ctx);
        let head = operations::log_head(state).await?;
        Ok(LogHead {
            position: Position(state.position(head.position).await?),
            hash: hex(&head.hash),
            logged_at: head.logged_at.unwrap_or(state.options.started_at).into(),
        })
    }
}
