//! The contract of tools defined by JSON: `/api/v1/tools…`.
//!
//! A tool's id is its name; a number or an id finds it too. What was saved is the catalogue itself,
//! so `/api/v1/tools/saved…` is the same under another name.

mod create_tool;
mod delete_tool;
mod execute_tool;
mod get_tool;
mod list_tools;
mod tool;
mod update_tool;

use toolroom_domain::access::Operation as O;

use super::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    let routes = of_catalogue(routes, "/api/v1/tools", "/api/v1/tools/{tool_id}");
    of_catalogue(
        routes,
        "/api/v1/tools/saved",
        "/api/v1/tools/saved/{tool_id}",
    )
    .post(
        "/api/v1/tools/{tool_id}/execute",
        O::ExecuteTool,
        execute_tool::handle,
    )
}

fn of_catalogue(routes: Routes, all: &'static str, one: &'static str) -> Routes {
    routes
        .get(all, O::Tools, list_tools::handle)
        .post(all, O::RegisterTool, create_tool::handle)
        .get(one, O::Tool, get_tool::handle)
        .put(one, O::UpdateTool, update_tool::handle)
        .patch(one, O::UpdateTool, update_tool::handle)
        .delete(one, O::DeleteTool, delete_tool::handle)
}
