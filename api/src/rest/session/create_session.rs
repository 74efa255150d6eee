//! `POST /session`: makes a session of the key or token in the request's headers.

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{StatusCode, header};

use super::{Edge, shown};
use crate::{
    auth::{
        Credential,
        sessions::{Holder, Made},
    },
    http::{Problem, client::Client, cookie},
    rest::failure::Failure,
    state::RequestContext,
};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    Extension(client): Extension<Client>,
) -> Result<Response, Failure> {
    let holder = match &ctx.credential {
        Credential::Key { id, prefix } => Holder::Key {
            id: *id,
            prefix: prefix.clone(),
        },
        Credential::Token { user, .. } => Holder::User(user.clone()),
        Credential::Session { .. } | Credential::Local | Credential::None => {
            return Err(Problem::malformed(
                "a session is made of an API key or a token: send one as `Authorization: Bearer …`, or an API key as `X-API-Key`",
            )
            .into());
        }
    };
    let made = Made {
        holder,
        workspace: ctx.workspace,
        email: ctx.email.clone(),
        ip: ctx.ip.clone(),
        user_agent: ctx.user_agent.clone(),
    };
    let sessions = edge.state.auth.sessions();
    let (token, session) = sessions
        .create(made, edge.state.clock.now())
        .await
        .map_err(|error| Failure::of(error, &ctx))?;
    let mut body = shown(&session, true);
    body["csrfToken"] = sessions.csrf(&token).into();
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    if let Some(cookie) = cookie::set(client, &sessions.cookie(&token)) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
