//! `DELETE /api-keys/{key_id}`: has a key open nothing any more.

use axum::{
    Extension, Json,
    extract::{Path, State},
};

use super::key::Key;
use crate::{
    rest::{Edge, failure::Failure},
    service::keys,
    state::RequestContext,
};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    Path(key): Path<String>,
) -> Result<Json<Key>, Failure> {
    let revoked = keys::revoke(&edge.state, &ctx, &key, None).await;
    let revoked = revoked.map_err(|error| Failure::of(error, &ctx))?;
    Ok(Json(revoked.into()))
}
