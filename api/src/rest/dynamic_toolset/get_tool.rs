//! `GET /api/v1/tools/{tool_id}`: one tool, by name, number or id.

use axum::{
    Extension, Json,
    extract::{Path, State},
};

use super::tool::Tool;
use crate::{
    rest::{Edge, failure::Failure, present::present},
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
