//! The tRPC edge: the procedures of the tool actions' contract over the tRPC HTTP protocol, as
//! `@trpc/client` 10 and 11 speak it without a transformer.
//!
//! A query is a GET with its input as JSON in `?input=`, a mutation a POST with its input as body.
//! A batch names its procedures with commas between them, says `?batch=1`, and gives its inputs by
//! index; its answers come in the same order. Each procedure is an operation of the one table of
//! roles, and does what GraphQL's operation of that name does.

mod answer;
mod call;
mod error;
mod events;
mod procedure;
mod tool_action_logs;
mod tools;

use axum::{
    Extension, Router,
    extract::{Path, Request, State},
    response::{IntoResponse as _, Response},
    routing::any,
};
use futures::{StreamExt as _, stream};
use http::{Method, StatusCode};

use crate::{
    http::{Problem, Shell, request_id::RequestId},
    rest::Edge,
    state::{AppState, RequestContext},
};
use call::Calls;

pub(crate) use error::rejection;
pub use procedure::{Kind, PROCEDURES, Procedure};

/// Calls of one batch that are carried out at once: the batch holds one place among the requests that
/// the server carries out.
const CALLS_AT_ONCE: usize = 8;

/// Where procedures are called.
const PREFIX: &str = "/api/trpc/";

/// Whether answers at this path have the shape of this protocol.
pub(crate) fn serves(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// The one route of all procedures.
pub(crate) fn routes(state: &AppState, shell: &Shell) -> Router {
    Router::new()
        .route("/api/trpc/{*path}", any(handle))
        .with_state(Edge {
            state: state.clone(),
            shell: shell.clone(),
        })
}

async fn handle(
    State(edge): State<Edge>,
    Extension(ctx): Extension<RequestContext>,
    Extension(request_id): Extension<RequestId>,
    Path(path): Path<String>,
    request: Request,
) -> Response {
    if request.method() == Method::HEAD {
        // So that a client can see whether there is a server, as the protocol has it.
        return StatusCode::NO_CONTENT.into_response();
    }
    let accepts = answer::Form::of(&request);
    let calls = match Calls::read(request, &path, &edge.shell.options).await {
        Ok(calls) => calls,
        Err(problem) => return problem.into_response(),
    };
    let is_batch = calls.is_batch;
    // The first was counted with the request.
    for _ in calls.each.iter().skip(1) {
        if let Some(refused) = edge.state.limits.admit_request(&ctx).await.refused {
            return Problem::from(refused).into_response();
        }
    }
    let outcomes = stream::iter(calls.each)
        .map(|call| call.carry_out(&edge, &ctx))
        .buffered(CALLS_AT_ONCE)
        .collect()
        .await;
    answer::respond(outcomes, is_batch, accepts, request_id.as_str())
}
