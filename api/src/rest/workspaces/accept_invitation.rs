//! `POST /api/v1/invitations/accept`: joins the workspace of an invitation.

use axum::{
    Extension, Json,
    extract::{Request, State},
};

use super::member::Member;
use crate::{
    http::{Problem, body, fields::Fields},
    rest::{Edge, failure::Failure},
    service::members,
    state::RequestContext,
};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    request: Request,
) -> Result<Json<Member>, Failure> {
    let object = body::read_object(request, &edge.shell.options).await?;
    let token = read(Fields::new(object))?;
    let member = members::accept(&edge.state, &ctx, &token, None).await;
    let member = member.map_err(|error| Failure::of(error, &ctx))?;
    Ok(Json(member.into()))
}

fn read(mut fields: Fields) -> Result<String, Problem> {
    let token = fields.text("token");
    let token = fields.required("token", token);
    let violations = fields.finish();
    match token {
        Some(token) if violations.is_empty() => Ok(token),
        _ => Err(Problem::invalid(violations)),
    }
}
