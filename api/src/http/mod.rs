//! The HTTP shell: what stands between a socket and the commands and queries, whatever the
//! contract: bounds, names, guards, errors.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod bounds;
pub(crate) mod context;
pub(crate) mod fields;
pub(crate) mod graphiql;
pub(crate) mod graphql;
pub(crate) mod guard;
mod media;
pub(crate) mod nesting;
mod options;
mod problem;
pub(crate) mod request_id;
mod server;
mod shell;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Extension, Router,
    middleware::{from_fn, from_fn_with_state},
};
use toolroom_domain::Clock;
use tower_http::catch_panic::CatchPanicLayer;

use crate::auth::Identify;

pub use options::{HttpOptions, LiveOptions};
pub use problem::Problem;
pub use server::serve;
pub use shell::Shell;

/// What a contract serves: as many at once, and as long each, as the shell's bounds say.
pub(crate) fn bounded(routes: Router, shell: &Shell) -> Router {
    routes.layer(from_fn_with_state(shell.clone(), bounds::bounded))
}

/// What every request passes, probes included. The last layer is the outermost.
pub(crate) fn layered(
    routes: Router,
    shell: &Shell,
    auth: Arc<dyn Identify>,
    clock: Arc<dyn Clock>,
) -> Router {
    let is_local = auth.is_local();
    let routes = routes
        .fallback(answer::not_found)
        .layer(CatchPanicLayer::custom(bounds::after_panic))
        .layer(from_fn_with_state(auth, context::with_context));
    let guarded = match is_local {
        true => routes.layer(from_fn_with_state(shell.clone(), guard::only_local_callers)),
        false => routes,
    };
    guarded
        .layer(from_fn(answer::with_bodies))
        .layer(Extension(clock))
        .layer(from_fn(request_id::name_requests))
        .layer(from_fn(bounds::measured))
        .layer(from_fn(answer::with_security_headers))
}
