//! `GET /api/v1/workspaces`: the workspaces that the sender may select, the newest first.

use axum::{
    Extension,
    extract::{OriginalUri, State},
    response::Response,
};
use toolroom_projections::workspaces::WorkspaceRow;

use super::workspace::Workspace;
use crate::{
    rest::{
        Edge,
        failure::Failure,
        paging::{self, Part},
    },
    service::workspaces,
    state::RequestContext,
};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Failure> {
    let part = Part::of(&uri)?;
    let of = |error| Failure::of(error, &ctx);
    let read = |page| {
        let (state, ctx) = (edge.state.clone(), ctx.clone());
        async move { workspaces::list(&state, &ctx, &page).await }
    };
    let (rows, total) = paging::gather(part, WorkspaceRow::key, read)
        .await
        .map_err(of)?;
    let mut shown = Vec::with_capacity(rows.len());
    for row in rows {
        shown.push(Workspace::new(&edge, row).await.map_err(of)?);
    }
    Ok(paging::respond(uri.path(), part, total, &shown))
}
