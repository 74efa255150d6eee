//! Tools as contracts know them that know no deleted ones.

use toolroom_domain::tool::Error;
use toolroom_projections::catalog::ToolRow;

use super::{Edge, failure::Failure};
use crate::{error::ApiError, service::tools, state::RequestContext};

/// A tool that is in the catalogue.
pub(crate) async fn present(
    edge: &Edge,
    ctx: &RequestContext,
    tool: &str,
) -> Result<ToolRow, Failure> {
    let row = tools::get(&edge.state, ctx, tool)
        .await
        .map_err(|error| Failure::of(error, ctx))?;
    if row.is_deleted {
        return Err(Failure::of(ApiError::refused(&Error::Unknown), ctx));
    }
    Ok(row)
}
