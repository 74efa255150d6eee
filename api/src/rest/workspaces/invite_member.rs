//! `POST /api/v1/workspaces/{workspace_id}/members`: lets somebody join.

use axum::{
    Extension, Json,
    extract::{Path, Request, State},
};
use http::StatusCode;
use toolroom_domain::Role;

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
    Path(workspace): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<Member>), Failure> {
    let object = body::read_object(request, &edge.shell.options).await?;
    let whom = read(Fields::new(object))?;
    let invited = members::invite(&edge.state, &ctx, &workspace, whom, None).await;
    let invited = invited.map_err(|error| Failure::of(error, &ctx))?;
    Ok((StatusCode::CREATED, Json(invited.into())))
}

fn read(mut fields: Fields) -> Result<(String, Role), Problem> {
    let (email, role) = (fields.text("email"), fields.role("role"));
    let email = fields.required("email", email);
    let role = fields.required("role", role);
    let violations = fields.finish();
    match (email, role) {
        (Some(email), Some(role)) if violations.is_empty() => Ok((email, role)),
        _ => Err(Problem::invalid(violations)),
    }
}
