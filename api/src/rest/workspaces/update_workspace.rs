//! `PATCH /api/v1/workspaces/{workspace_id}`: changes the fields that it names.

use axum::{
    Extension, Json,
    extract::{Path, Request, State},
};

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
    Path(workspace): Path<String>,
    request: Request,
) -> Result<Json<Workspace>, Failure> {
    let object = body::read_object(request, &edge.shell.options).await?;
    let mut fields = Fields::new(object);
    let change = (fields.text("name"), fields.text("time_zone"));
    let violations = fields.finish();
    if !violations.is_empty() {
        return Err(Problem::invalid(violations).into());
    }
    let of = |error| Failure::renamed(error, &ctx, renamed);
    let row = workspaces::update(&edge.state, &ctx, &workspace, change, None).await;
    let workspace = Workspace::new(&edge, row.map_err(of)?).await;
    workspace.map(Json).map_err(of)
}
