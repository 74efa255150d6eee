//! What an invitation's link shows: how to accept. Opening it changes nothing, and asks the database
//! nothing: programs that read mail before people do open links too.

use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::get,
};
use http::header;

use crate::service::members::ACCEPT_PATH;

/// The page does nothing at all.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// The page.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route(ACCEPT_PATH, get(page))
}

async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // The address holds the token: nobody is to keep it, nor to be told of it.
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    let page = include_str!("../../assets/invitation.html");
    (headers, page).into_response()
}
