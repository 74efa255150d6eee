//! `DELETE /api/v1/workspaces/{workspace_id}/members/{user_id}`: ends a membership, or withdraws an
//! invitation.

use axum::{
    Extension, Json,
    extract::{Path, State},
};

use super::member::Member;
use crate::{
    rest::{Edge, failure::Failure},
    service::members,
    state::RequestContext,
};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    Path((workspace, user)): Path<(String, String)>,
) -> Result<Json<Member>, Failure> {
    let member = members::remove(&edge.state, &ctx, &workspace, &user, None).await;
    let member = member.map_err(|error| Failure::of(error, &ctx))?;
    Ok(Json(member.into()))
}
