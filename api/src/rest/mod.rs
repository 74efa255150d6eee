//! The REST contracts: thin edges over the same commands and queries as GraphQL's.

mod failure;
mod paging;
pub(crate) mod probes;
mod tool_manager;

use axum::Router;

use crate::{http::Shell, state::AppState};

/// Every contract's routes.
pub(crate) fn routes(state: &AppState, shell: &Shell) -> Router {
    tool_manager::routes(Edge {
        state: state.clone(),
        shell: shell.clone(),
    })
}

/// What an operation needs beside its request.
#[derive(Clone)]
struct Edge {
    state: AppState,
    shell: Shell,
}
