//! The REST contracts: thin edges over the same commands and queries as GraphQL's.

mod actions;
mod api_keys;
mod dynamic_toolset;
pub(crate) mod failure;
mod job_values;
pub(crate) mod paging;
pub(crate) mod present;
pub(crate) mod probes;
mod routes;
mod secrets;
mod session;
mod tool_manager;
mod workspaces;

use axum::Router;

use crate::{http::Shell, state::AppState};

pub use routes::Route;
use routes::Routes;

fn all() -> Routes {
    let routes = dynamic_toolset::routes(tool_manager::routes(Routes::default()));
    let routes = job_values::routes(routes);
    let routes = api_keys::routes(workspaces::routes(routes));
    session::routes(secrets::routes(routes))
}

/// Every contract's routes.
pub(crate) fn routes(state: &AppState, shell: &Shell) -> Router {
    all().served(Edge {
        state: state.clone(),
        shell: shell.clone(),
    })
}

/// Every contract's routes, with the operation that each is.
pub fn listed() -> Vec<Route> {
    all().listed()
}

/// What an operation needs beside its request.
#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) state: AppState,
    pub(crate) shell: Shell,
}
