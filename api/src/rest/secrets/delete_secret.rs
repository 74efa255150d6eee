//! `DELETE /api/v1/secrets/{name}`: erases a secret's value for good.

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
    let deleted = secrets::delete(&edge.state, &ctx, &name, None).await;
    let deleted = deleted.map_err(|error| Failure::of(error, &ctx))?;
    Ok(Json(deleted.into()))
}
