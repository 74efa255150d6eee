//! `GET /api/v1/workspaces/{workspace_id}`: the selected workspace.

use axum::{
    Extension, Json,
    extract::{Path, State},
};

use super::workspace::Workspace;
use crate::{
    rest::{Edge, failure::Failure},
    service::workspaces,
    state::RequestContext,
};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    Path(workspace): Path<String>,
) -> Result<Json<Workspace>, Failure> {
    let of = |error| Failure::of(error, &ctx);
    let row = workspaces::get(&edge.state, &ctx, &workspace).await;
    let workspace = Workspace::new(&edge, row.map_err(of)?).await;
    workspace.map(Json).map_err(of)
}
