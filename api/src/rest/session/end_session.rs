//! `DELETE /session`: ends the session that the request uses.

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{StatusCode, header};

use super::Edge;
use crate::{
    auth::Credential,
    http::{Problem, client::Client, cookie},
    rest::failure::Failure,
    state::RequestContext,
};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    Extension(client): Extension<Client>,
) -> Result<Response, Failure> {
    let Credential::Session { id, .. } = &ctx.credential else {
        return Err(Problem::malformed(
            "this request uses no session; to end one by its id, send `DELETE /session/{id}`",
        )
        .into());
    };
    let sessions = edge.state.auth.sessions();
    sessions
        .end(&ctx.actor, *id, edge.state.clock.now())
        .await
        .map_err(|error| Failure::of(error, &ctx))?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(cookie) = cookie::remove(client) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
