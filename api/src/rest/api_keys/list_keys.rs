//! `GET /api-keys`: the workspace's API keys, the newest first.

use axum::{
    Extension,
    extract::{OriginalUri, State},
    response::Response,
};

use super::key::Key;
use crate::{
    rest::{
        Edge,
        failure::Failure,
        paging::{self, Part},
    },
    service::keys::{self, KeyView},
    state::RequestContext,
};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Failure> {
    let part = Part::of(&uri)?;
    let key = |view: &KeyView| view.row.key();
    let read = |page| {
        let (state, ctx) = (edge.state.clone(), ctx.clone());
        async move { keys::list(&state, &ctx, &page).await }
    };
    let (rows, total) = paging::gather(part, key, read)
        .await
        .map_err(|error| Failure::of(error, &ctx))?;
    let shown: Vec<_> = rows.into_iter().map(Key::from).collect();
    Ok(paging::respond(uri.path(), part, total, &shown))
}
