//! `DELETE /tools/{tool_id}`: takes a tool out of the catalogue.

use axum::{
    Extension, Json,
    extract::{Path, State},
};
use serde_json::{Value, json};

use crate::{
    rest::{Edge, failure::Failure, present::present},
    service::tools,
    state::RequestContext,
};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    Path(tool): Path<String>,
) -> Result<Json<Value>, Failure> {
    let row = present(&edge, &ctx, &tool).await?;
    tools::delete(&edge.state, &ctx, &row.id.to_string(), None)
        .await
        .map_err(|error| Failure::of(error, &ctx))?;
    let message = format!("Tool '{}' deleted successfully", row.name);
    Ok(Json(json!({ "message": message })))
}
