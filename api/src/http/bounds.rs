//! Keeps one request, or many at once, from taking all there is.

use std::{any::Any, sync::Arc};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, error::Elapsed},
};
use toolroom_domain::{ErrorCode, access::Caller};

use super::{Problem, Shell, body};
use crate::state::RequestContext;

/// Turns away what is too much at once, and gives up what takes too long.
pub(crate) async fn bounded(State(shell): State<Shell>, request: Request, next: Next) -> Response {
    let context = request.extensions().get::<RequestContext>();
    let is_stranger = context.is_some_and(|context| context.caller == Caller::Anonymous);
    let places = match is_stranger {
        true => &shell.strangers,
        false => &shell.requests,
    };
    let Ok(_place) = Arc::clone(places).try_acquire_owned() else {
        return Problem::busy(
            "the server answers as many requests already as it does at once; try again in a moment",
        )
        .into_response();
    };
    let bytes = body::announced(request.headers()).unwrap_or_default();
    let Ok(_large) = room_for_body(&shell, bytes, is_stranger).await else {
        return Problem::busy(
            "the server takes as many large bodies already as it does at once; try again in a moment",
        )
        .into_response();
    };
    let timeout = shell.options.request_timeout;
    match tokio::time::timeout(timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            ErrorCode::ServiceUnavailable,
            format!(
                "the request was not answered within {} s; a command may still take effect, so repeat it under the same id",
                timeout.as_secs()
            ),
        )
        .into_response(),
    }
}

/// Waits for a place, if so many bytes are announced that the body is large; it is given up when dropped. A stranger
/// gets none: nothing that they may ask for is large, and whoever reads the body refuses it.
async fn room_for_body(
    shell: &Shell,
    bytes: usize,
    is_stranger: bool,
) -> Result<Option<OwnedSemaphorePermit>, Elapsed> {
    let range = shell.options.usual_body_bytes + 1..=shell.options.max_body_bytes;
    if is_stranger || !range.contains(&bytes) {
        return Ok(None);
    }
    let place = Arc::clone(&shell.large).acquire_owned();
    let place = tokio::time::timeout(shell.options.body_read_timeout, place).await?;
    // The semaphore is never closed.
    Ok(place.ok())
}

/// What a request becomes whose handler panicked; the panic hook has logged why.
pub(crate) fn after_panic(_: Box<dyn Any + Send + 'static>) -> Response {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::InternalError,
        "internal error",
    )
    .into_response()
}

/// Measures each request by route, never by path: paths are without number.
pub(crate) async fn measured(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = method_label(request.method());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    metrics::histogram!(
        "toolroom_http_request_seconds",
        "method" => method,
        "route" => route,
        "status" => response.status().as_str().to_owned(),
    )
    .record(started.elapsed());
    response
}

/// Methods are the sender's words too; those that nobody serves share a label.
fn method_label(method: &http::Method) -> &'static str {
    match *method {
        http::Method::GET => "GET",
        http::Method::POST => "POST",
        http::Method::PUT => "PUT",
        http::Method::DELETE => "DELETE",
        http::Method::HEAD => "HEAD",
        _ => "other",
    }
}
