//! The catalogue by integer id, and runs: `/tools…` and `POST /tool_usage`.

mod create_tool;
mod delete_tool;
mod get_tool;
mod list_tools;
mod tool;
mod update_tool;
mod use_tool;

use axum::{
    Router,
    routing::{get, post},
};

use super::Edge;

pub(super) fn routes(edge: Edge) -> Router {
    Router::new()
        .route("/tools", get(list_tools::handle).post(create_tool::handle))
        .route(
            "/tools/{tool_id}",
            get(get_tool::handle)
                .put(update_tool::handle)
                .delete(delete_tool::handle),
        )
        .route("/tool_usage", post(use_tool::handle))
        .with_state(edge)
}
