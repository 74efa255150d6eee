//! `DELETE /session/{id}`: ends a session of the sender's own. Ending it twice is fine.

use axum::{
    Extension,
    extract::{Path, State},
};
use http::StatusCode;

use super::Edge;
use crate::{error::ApiError, rest::failure::Failure, state::RequestContext};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    let sessions = edge.state.auth.sessions();
    let is_theirs = match id.parse() {
        Ok(id) => sessions.end(&ctx.actor, id, edge.state.clock.now()).await,
        Err(_) => Ok(false),
    };
    match is_theirs {
        Ok(true) => Ok(StatusCode::NO_CONTENT),
        Ok(false) => Err(Failure::of(
            ApiError::not_found(
                "you have no session of this id; `GET /session` lists those you have",
            ),
            &ctx,
        )),
        Err(error) => Err(Failure::of(error, &ctx)),
    }
}
