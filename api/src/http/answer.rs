//! Gives every problem the body that its path's contract shows.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::Request,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{StatusCode, header};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use toolroom_domain::{Clock, ErrorCode};

use super::{
    Problem,
    media::{self, Answer},
    request_id::RequestId,
};
use crate::{error, trpc};

/// The path whose answers have GraphQL's shape.
pub(crate) const GRAPHQL_PATH: &str = "/graphql";

/// Gives answers that are problems their body.
pub(crate) async fn with_bodies(
    Extension(clock): Extension<Arc<dyn Clock>>,
    Extension(request_id): Extension<RequestId>,
    request: Request,
    next: Next,
) -> Response {
    let is_graphql = request.uri().path() == GRAPHQL_PATH;
    let wanted = is_graphql.then(|| media::wanted(request.headers()));
    let is_trpc = trpc::serves(request.uri().path());
    let mut response = next.run(request).await;
    let Some(problem) = take_problem(&mut response) else {
        return response;
    };
    let (content_type, body) = match wanted {
        None if is_trpc => (
            Answer::Json.content_type(),
            trpc::rejection(&problem, request_id.as_str()),
        ),
        Some(wanted) => (
            // An event stream has not begun yet, so this is told as any other request's error is.
            match wanted {
                Some(Answer::GraphqlResponse) => Answer::GraphqlResponse.content_type(),
                _ => Answer::Json.content_type(),
            },
            graphql_body(&problem, &request_id),
        ),
        None => (
            Answer::Json.content_type(),
            rest_body(&problem, &request_id, clock.now()),
        ),
    };
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(body.to_string());
    response
}

fn take_problem(response: &mut Response) -> Option<Arc<Problem>> {
    if let Some(problem) = response.extensions_mut().remove() {
        return Some(problem);
    }
    // The router itself answers so, without a body.
    (response.status() == StatusCode::METHOD_NOT_ALLOWED
        && !response.headers().contains_key(header::CONTENT_TYPE))
    .then(|| {
        // The router adds the header only after this.
        Arc::new(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            ErrorCode::InvalidRequest,
            "this path knows other methods: the header `Allow` names them",
        ))
    })
}

/// What no route knows.
pub(crate) async fn not_found(request: Request) -> Response {
    Problem::new(
        StatusCode::NOT_FOUND,
        ErrorCode::NotFound,
        format!(
            "there is nothing at this path for {}; the API is at {GRAPHQL_PATH}",
            request.method()
        ),
    )
    .into_response()
}

fn details(problem: &Problem) -> Value {
    problem
        .violations
        .iter()
        .map(|violation| json!({ "path": violation.path, "message": violation.message }))
        .collect()
}

/// The one error body of all REST contracts.
fn rest_body(problem: &Problem, request_id: &RequestId, now: Timestamp) -> Value {
    let mut body = Map::new();
    body.insert("error".into(), problem.message.as_ref().into());
    body.insert("detail".into(), problem.message.as_ref().into());
    body.insert("code".into(), problem.code.as_str().into());
    body.insert("details".into(), details(problem));
    body.insert("timestamp".into(), now.to_string().into());
    body.insert("requestId".into(), request_id.as_str().into());
    if let Some(job) = problem.job {
        body.insert("jobId".into(), job.to_string().into());
    }
    if !problem.candidates.is_empty() {
        body.insert("candidates".into(), json!(problem.candidates));
    }
    body.extend(Map::clone(&problem.beside));
    Value::Object(body)
}

fn graphql_body(problem: &Problem, request_id: &RequestId) -> Value {
    json!({ "errors": [{
        "message": problem.message,
        "extensions": graphql_extensions(problem, request_id),
    }] })
}

fn graphql_extensions(problem: &Problem, request_id: &RequestId) -> Map<String, Value> {
    let mut extensions = Map::new();
    extensions.insert("code".into(), problem.code.as_str().into());
    extensions.insert("category".into(), json!(error::category(problem.code)));
    extensions.insert("details".into(), details(problem));
    extensions.insert("requestId".into(), request_id.as_str().into());
    if let Some(after) = problem.retry_after {
        let ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        extensions.insert("retryAfterMs".into(), ms.into());
    }
    if !problem.candidates.is_empty() {
        extensions.insert("candidates".into(), json!(problem.candidates));
    }
    extensions
}
