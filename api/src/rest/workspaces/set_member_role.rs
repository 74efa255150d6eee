//! `PATCH /api/v1/workspaces/{workspace_id}/members/{user_id}`: gives another role.

use axum::{
    Extension, Json,
    extract::{Path, Request, State},
};
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
    Path((workspace, user)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Member>, Failure> {
    let object = body::read_object(request, &edge.shell.options).await?;
    let change = (user.as_str(), read(Fields::new(object))?);
    let member = members::set_role(&edge.state, &ctx, &workspace, change, None).await;
    let member = member.map_err(|error| Failure::of(error, &ctx))?;
    Ok(Json(member.into()))
}

fn read(mut fields: Fields) -> Result<Role, Problem> {
    let role = fields.role("role");
    let role = fields.required("role", role);
    let violations = fields.finish();
    match role {
        Some(role) if violations.is_empty() => Ok(role),
        _ => Err(Problem::invalid(violations)),
    }
}
