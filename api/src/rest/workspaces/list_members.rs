//! `GET /api/v1/workspaces/{workspace_id}/members`: members and who is invited, the newest first.

use axum::{
    Extension,
    extract::{OriginalUri, Path, State},
    response::Response,
};
use toolroom_projections::members::MemberRow;

use super::member::Member;
use crate::{
    rest::{
        Edge,
        failure::Failure,
        paging::{self, Part},
    },
    service::members,
    state::RequestContext,
};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    Path(workspace): Path<String>,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Failure> {
    let part = Part::of(&uri)?;
    let read = |page| {
        let (state, ctx, workspace) = (edge.state.clone(), ctx.clone(), workspace.clone());
        async move { members::list_of(&state, &ctx, &workspace, &page).await }
    };
    let (rows, total) = paging::gather(part, MemberRow::key, read)
        .await
        .map_err(|error| Failure::of(error, &ctx))?;
    let shown: Vec<_> = rows.into_iter().map(Member::from).collect();
    Ok(paging::respond(uri.path(), part, total, &shown))
}
