//! `GET /api/v1/tools`: all tools, by number.

use axum::{
    Extension,
    extract::{OriginalUri, State},
    response::{IntoResponse as _, Response},
};
use serde_json::json;
use toolroom_projections::catalog::{ListTools, ToolFilter, ToolRow};

use super::tool::Listed;
use crate::{
    rest::{
        Edge,
        failure::Failure,
        paging::{self, Part},
    },
    service::tools,
    state::RequestContext,
};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Failure> {
    let part = Part::of(&uri)?;
    let read = |page| {
        let filter = ToolFilter::default();
        let (state, ctx) = (edge.state.clone(), ctx.clone());
        async move { tools::list(&state, &ctx, ListTools { filter, page }, None).await }
    };
    let (rows, total) = paging::gather(part, |row: &ToolRow| row.number, read)
        .await
        .map_err(|error| Failure::of(error, &ctx))?;
    let listed = |row| Listed::new(&edge.state, row);
    let tools: Vec<_> = rows.into_iter().map(listed).collect();
    let headers = paging::headers(uri.path(), part, total);
    Ok((headers, axum::Json(json!({"tools": tools}))).into_response())
}
