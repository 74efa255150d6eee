//! The HTTP shell: what stands between a socket and the commands and queries, whatever the
//! contract: bounds, names, guards, errors.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod bounds;
pub(crate) mod client;
pub(crate) mod context;
pub(crate) mod cookie;
mod cors;
pub(crate) mod fields;
pub(crate) mod graphiql;
pub(crate) mod graphql;
pub(crate) mod guard;
pub(crate) mod invitation;
mod media;
pub(crate) mod nesting;
mod options;
mod problem;
pub(crate) mod request_id;
mod security;
mod server;
mod shell;
mod tls;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Extension, Router,
    middleware::{from_fn, from_fn_with_state},
};
use toolroom_domain::Clock;
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;

use crate::auth::Identify;

pub use client::{ForwardedBy, Network, Proxies};
pub use cors::{AllowedOrigin, Cors};
pub use options::{HttpOptions, LiveOptions};
pub use problem::Problem;
pub use server::serve;
pub use shell::Shell;
pub use tls::{Tls, TlsError};

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
    let recognition = context::Recognition {
        auth: Arc::clone(&auth),
        shell: shell.clone(),
    };
    let guard = guard::Guard {
        shell: shell.clone(),
        is_local: auth.is_local(),
    };
    routes
        .fallback(answer::not_found)
        .layer(CatchPanicLayer::custom(bounds::after_panic))
        .layer(from_fn_with_state(recognition, context::with_context))
        .layer(from_fn_with_state(guard, guard::only_own_pages))
        .layer(from_fn(answer::with_bodies))
        .layer(Extension(clock))
        .layer(option_layer(shell.options.cors.layer()))
        .layer(from_fn(request_id::name_requests))
        .layer(from_fn(bounds::measured))
        .layer(from_fn(security::with_headers))
        .layer(from_fn_with_state(shell.clone(), client::located))
}
