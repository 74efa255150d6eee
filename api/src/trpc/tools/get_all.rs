//! `tools.getAll`: the tools of the workspace by number.

use serde_json::{Value, json};
use toolroom_projections::catalog::{ListTools, ToolFilter, ToolRow};

use super::Tool;
use crate::{
    http::{Problem, fields::Fields},
    rest::{
        Edge,
        failure::Failure,
        paging::{self, Part},
    },
    service::tools::{self, SEARCH_CHARS},
    state::RequestContext,
};

/// Rows of a list of which nothing is said, as in the contract's example.
const USUAL: usize = 100;

/// Rows of a part of the list.
const MAX_LIMIT: usize = 1_000;

/// Rows that may be passed over.
const MAX_OFFSET: usize = 1_000_000;

pub(in crate::trpc) async fn handle(
    edge: Edge,
    ctx: RequestContext,
    input: Fields,
) -> Result<Value, Failure> {
    let (filter, part) = read(input)?;
    let read = |page| {
        let list = ListTools {
            filter: filter.clone(),
            page,
        };
        let (state, ctx) = (edge.state.clone(), ctx.clone());
        async move { tools::list(&state, &ctx, list, None).await }
    };
    let (rows, total) = paging::gather(part, |row: &ToolRow| row.number, read)
        .await
        .map_err(|error| Failure::of(error, &ctx))?;
    let tools: Vec<_> = rows.into_iter().map(Tool::from).collect();
    Ok(json!({"tools": tools, "total": total}))
}

fn read(mut input: Fields) -> Result<(ToolFilter, Part), Problem> {
    let limit = input.number("limit", 1..=MAX_LIMIT);
    let offset = input.number("offset", 0..=MAX_OFFSET);
    let filter = ToolFilter {
        search: input.text("search"),
        tool_type: input.text("type").map(|text| text.to_ascii_uppercase()),
        is_active: input.flag("isActive"),
        ..ToolFilter::default()
    };
    let search = filter.search.as_deref().unwrap_or_default();
    if search.chars().count() > SEARCH_CHARS {
        let problem = format!("must have at most {SEARCH_CHARS} characters");
        input.refuse("search", problem);
    }
    let violations = input.finish_open();
    if !violations.is_empty() {
        return Err(Problem::invalid(violations));
    }
    let part = Part {
        offset: offset.unwrap_or(0),
        limit: limit.unwrap_or(USUAL),
    };
    Ok((filter, part))
}
