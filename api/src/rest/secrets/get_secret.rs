//! `GET /api/v1/secrets/{name}`: one secret.

use axum::{
    Extension, Json,
    extract::{Path, State},
};

use super::secret::Secret;
use crate::{
    rest::{Edge, failure::Failure},
    service::secrets,
    state::RequestContext,
};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    Path(name): Path<String>,
) -> Result<Json<Secret>, Failure> {
    let found = secrets::get(&edge.state, &ctx, &name).await;
    let found = found.map_err(|error| Failure::of(error, &ctx))?;
    Ok(Json(found.into()))
}
