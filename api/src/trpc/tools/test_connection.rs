//! `tools.testConnection`: makes a tool's harmless call.

use serde_json::{Value, json};

use super::get_by_id::id;
use crate::{
    http::fields::Fields,
    rest::{Edge, failure::Failure, present::present},
    service::tools::{self, ConnectionTest},
    state::RequestContext,
};

pub(in crate::trpc) async fn handle(
    edge: Edge,
    ctx: RequestContext,
    input: Fields,
) -> Result<Value, Failure> {
    let row = present(&edge, &ctx, &id(input)?).await?;
    let tool = row.id.to_string();
    let tested = tools::test_connection(&edge.state, &ctx, &tool);
    let ConnectionTest {
        success,
        message,
        details,
    } = tested.await.map_err(|error| Failure::of(error, &ctx))?;
    // The contract's details are an object, whatever there is to tell.
    let details = details.unwrap_or_else(|| json!({}));
    Ok(json!({"success": success, "message": message, "details": details}))
}
