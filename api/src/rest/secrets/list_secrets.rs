//! `GET /api/v1/secrets`: the workspace's secrets by name.

use axum::{
    Extension,
    extract::{OriginalUri, State},
    response::Response,
};
use toolroom_projections::secrets::SecretRow;

use super::secret::Secret;
use crate::{
    rest::{
        Edge,
        failure::Failure,
        paging::{self, Part},
    },
    service::secrets,
    state::RequestContext,
};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Failure> {
    let part = Part::of(&uri)?;
    let key = |row: &SecretRow| row.name.clone();
    let read = |page| {
        let (state, ctx) = (edge.state.clone(), ctx.clone());
        async move { secrets::list(&state, &ctx, &page).await }
    };
    let (rows, total) = paging::gather(part, key, read)
        .await
        .map_err(|error| Failure::of(error, &ctx))?;
    let shown: Vec<_> = rows.into_iter().map(Secret::from).collect();
    Ok(paging::respond(uri.path(), part, total, &shown))
}
