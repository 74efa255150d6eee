//! `tools.delete`: takes a tool out of the catalogue.

use serde_json::{Value, json};

use super::get_by_id::id;
use crate::{
    http::fields::Fields,
    rest::{Edge, failure::Failure, present::present},
    service::tools,
    state::RequestContext,
};

pub(in crate::trpc) async fn handle(
    edge: Edge,
    ctx: RequestContext,
    input: Fields,
) -> Result<Value, Failure> {
    let tool = id(input)?;
    let row = present(&edge, &ctx, &tool).await?;
    tools::delete(&edge.state, &ctx, &row.id.to_string(), None)
        .await
        .map_err(|error| Failure::of(error, &ctx))?;
    Ok(json!({"success": true}))
}
