//! `tools.getById`: one tool.

use serde_json::{Value, json};

use super::Tool;
use crate::{
    http::{Problem, fields::Fields},
    rest::{Edge, failure::Failure, present::present},
    state::RequestContext,
};

pub(in crate::trpc) async fn handle(
    edge: Edge,
    ctx: RequestContext,
    input: Fields,
) -> Result<Value, Failure> {
    let tool = id(input)?;
    let row = present(&edge, &ctx, &tool).await?;
    Ok(json!(Tool::from(row)))
}

/// The one field `id`: a tool's number, id or name.
pub(super) fn id(mut input: Fields) -> Result<String, Problem> {
    let id = input.reference("id");
    match input.required("id", id) {
        Some(id) => Ok(id),
        None => Err(Problem::invalid(input.finish_open())),
    }
}
