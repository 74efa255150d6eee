//! `GET /tools`: all tools, by number.

use axum::{
    Extension,
    extract::{OriginalUri, State},
    response::Response,
};
use toolroom_projections::{
    PageRequest,
    catalog::{ListTools, ToolFilter},
    page::MAX_ROWS,
};

use super::tool::Tool;
use crate::{
    rest::{
        Edge,
        failure::Failure,
        paging::{self, Part},
    },
    service::tools,
    state::RequestContext,
};

pub(super) async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Failure> {
    let part = Part::of(&uri)?;
    let mut rows = Vec::new();
    let mut seen = 0;
    let mut total = 0;
    let mut after = None;
    while seen < part.end() {
        let left = i64::try_from(part.end() - seen).unwrap_or(MAX_ROWS);
        let page = PageRequest {
            first: left.min(MAX_ROWS),
            with_total: after.is_none(),
            after,
        };
        let filter = ToolFilter::default();
        let page = tools::list(&edge.state, &ctx, ListTools { filter, page }, None)
            .await
            .map_err(|error| Failure::of(error, &ctx))?;
        if let Some(counted) = page.total_count {
            total = usize::try_from(counted).unwrap_or(0);
        }
        after = page.rows.last().map(|row| row.number);
        let passed_over = part.offset.saturating_sub(seen);
        seen += page.rows.len();
        rows.extend(page.rows.into_iter().skip(passed_over));
        if !page.has_next {
            break;
        }
    }
    let rows: Vec<_> = rows
        .into_iter()
        .map(|row| Tool::new(&edge.state, row))
        .collect();
    Ok(paging::respond("/tools", part, total, &rows))
}
