//! The catalogue by integer id, and runs: `/tools…` and `POST /tool_usage`.

mod create_tool;
mod delete_tool;
mod get_tool;
mod list_tools;
mod tool;
mod update_tool;
mod use_tool;

use toolroom_domain::access::Operation as O;

use super::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/tools", O::Tools, list_tools::handle)
        .post("/tools", O::RegisterTool, create_tool::handle)
        .get("/tools/{tool_id}", O::Tool, get_tool::handle)
        .put("/tools/{tool_id}", O::UpdateTool, update_tool::handle)
        .delete("/tools/{tool_id}", O::DeleteTool, delete_tool::handle)
        .post("/tool_usage", O::ExecuteTool, use_tool::handle)
}
