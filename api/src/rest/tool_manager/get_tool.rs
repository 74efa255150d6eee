//! `GET /tools/{tool_id}`: one tool, by id, number or name.

use axum::{
    Extension, Json,
    extract::{Path, State},
};
use toolroom_domain::tool::Error;
use toolroom_projections::catalog::ToolRow;

use super::tool::Tool;
use crate::{
    error::ApiError,
    rest::{Edge, failure::Failure},
    service::tools,
    state::RequestContext,
};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    Path(tool): Path<String>,
) -> Result<Json<Tool>, Failure> {
    let row = present(&edge, &ctx, &tool).await?;
    Ok(Json(Tool::new(&edge.state, row)))
}

/// A tool that is in the catalogue: this contract knows no others.
pub(super) async fn present(
    edge: &Edge,
    ctx: &RequestContext,
    tool: &str,
) -> Result<ToolRow, Failure> {
    let row = tools::get(&edge.state, ctx, tool)
        .await
        .map_err(|error| Failure::of(error, ctx))?;
    if row.is_deleted {
        return Err(Failure::of(ApiError::refused(&Error::Unknown), ctx));
    }
    Ok(row)
}
