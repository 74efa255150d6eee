//! `POST /api/v1/workspaces`: makes a workspace.

use axum::{
    Extension, Json,
    extract::{Request, State},
};
use http::StatusCode;

use super::workspace::{Workspace, renamed};
use crate::{
    http::{Problem, body, fields::Fields},
    rest::{Edge, failure::Failure},
    service::workspaces,
    state::RequestContext,
};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    request: Request,
) -> Result<(StatusCode, Json<Workspace>), Failure> {
    let object = body::read_object(request, &edge.shell.options).await?;
    let name = read(Fields::new(object))?;
    let of = |error| Failure::renamed(error, &ctx, renamed);
    let row = workspaces::create(&edge.state, &ctx, name, None)
        .await
        .map_err(of)?;
    let workspace = Workspace::new(&edge, row).await.map_err(of)?;
    Ok((StatusCode::CREATED, Json(workspace)))
}

fn read(mut fields: Fields) -> Result<String, Problem> {
    let name = fields.text("name");
    let name = fields.required("name", name);
    let violations = fields.finish();
    match name {
        Some(name) if violations.is_empty() => Ok(name),
        _ => Err(Problem::invalid(violations)),
    }
}
