//! `GET /session`: the sender's open sessions, and the CSRF token of the one they use.

use axum::{Extension, Json, extract::State};
use serde_json::{Value, json};

use super::{Edge, shown};
use crate::{
    auth::{Credential, Presented},
    rest::failure::Failure,
    state::RequestContext,
};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    Extension(presented): Extension<Presented>,
) -> Result<Json<Value>, Failure> {
    let sessions = edge.state.auth.sessions();
    let current = match &ctx.credential {
        Credential::Session { id, .. } => Some(*id),
        _ => None,
    };
    let cookie = presented.cookie.filter(|_| current.is_some());
    let token = cookie.and_then(|cookie| sessions.token(&cookie.value));
    let open = sessions
        .of(&ctx.actor, edge.state.clock.now())
        .await
        .map_err(|error| Failure::of(error, &ctx))?;
    let listed: Vec<Value> = open
        .iter()
        .map(|session| shown(session, current == Some(session.id)))
        .collect();
    Ok(Json(json!({
        "csrfToken": token.map(|token| sessions.csrf(&token)),
        "sessions": listed,
    })))
}
