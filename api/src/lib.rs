//! The edges: GraphQL and REST over commands and queries.

mod asked;
pub mod auth;
pub mod denial;
pub mod error;
pub mod graphql;
pub mod http;
pub mod limit;
pub mod metrics;
pub mod rest;
pub mod service;
pub mod state;
pub mod trpc;

use std::{io, sync::Arc};

use axum::{Router, middleware::from_fn_with_state};
use tokio::net::TcpListener;

pub use error::ApiError;
pub use http::{HttpOptions, LiveOptions, Shell};
pub use metrics::Metrics;
pub use state::{ApiOptions, AppState, Parts, RequestContext};

/// Everything that is served at one address.
pub fn router(state: AppState, shell: &Shell, metrics: Metrics) -> Router {
    let clock = Arc::clone(&state.clock);
    let auth = Arc::clone(&state.auth) as Arc<dyn auth::Identify>;
    let schema = graphql::schema(state.clone());
    let graphql = http::graphql::routes(schema, Arc::clone(&auth), shell.clone());
    let limited = from_fn_with_state(state.clone(), limit::http::limited);
    let contracts = rest::routes(&state, shell)
        .merge(trpc::routes(&state, shell))
        .merge(graphql)
        .layer(limited);
    let bounded = http::bounded(contracts, shell);
    let routes = bounded
        .merge(http::graphiql::routes())
        .merge(http::invitation::routes())
        .merge(rest::probes::routes(state, metrics));
    http::layered(routes, shell, auth, clock)
}

/// Serves on every listener until the shell's shutdown, and then until what is in flight has
/// ended, for a bounded time.
///
/// # Errors
/// When a part of the server panicked.
pub async fn serve(listeners: Vec<TcpListener>, state: AppState, shell: Shell) -> io::Result<()> {
    let metrics = Metrics::install();
    let sampling = tokio::spawn(metrics::sample(
        metrics.clone(),
        state.log.clone(),
        shell.shutdown.clone(),
    ));
    let denials = state.denials.clone();
    let recording = tokio::spawn(denials.record(state.log.bus.clone(), shell.shutdown.clone()));
    let limits = state.limits.clone();
    let served = http::serve(listeners, router(state, &shell, metrics), &shell).await;
    sampling.abort();
    limits.give_back().await;
    if let Err(error) = recording.await {
        tracing::error!(%error, "refusals were not recorded to the end");
    }
    served
}
