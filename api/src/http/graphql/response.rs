//! Writes GraphQL responses.

use async_graphql::{Name, PathSegment, Response as GraphqlResponse, ServerError, Value};
use axum::{body::Body, response::Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use toolroom_domain::ErrorCode;

use crate::{
    error,
    http::{media::Answer, problem::CHALLENGE, request_id::RequestId},
};

/// When to come again if the error does not say.
const RETRY_AFTER_SECONDS: u64 = 1;

#[derive(Serialize)]
struct Written<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [ServerError],
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    extensions: &'a std::collections::BTreeMap<String, Value>,
}

/// The HTTP response in the form that was asked for.
pub(super) fn respond(
    mut response: GraphqlResponse,
    answer: Answer,
    request_id: &RequestId,
) -> Response {
    complete(&mut response, request_id);
    let mut http = Response::new(Body::from(to_json(&response)));
    *http.status_mut() = status(&response, answer);
    let is_unknown = http.status() == StatusCode::UNAUTHORIZED;
    let headers = http.headers_mut();
    headers.insert(header::CONTENT_TYPE, answer.content_type());
    if is_unknown {
        let challenge = HeaderValue::from_static(CHALLENGE);
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if let Some(error) = unavailable(&response) {
        let after = retry_after_seconds(error);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(after));
    }
    headers.extend(std::mem::take(&mut response.http_headers));
    http
}

/// The response as JSON. A request that was not executed has no `data`, not even null.
pub(super) fn to_json(response: &GraphqlResponse) -> String {
    let body = Written {
        errors: &response.errors,
        data: (!was_refused(response)).then_some(&response.data),
        extensions: &response.extensions,
    };
    // Values are strings, numbers, lists and maps with string keys: there is nothing to fail.
    serde_json::to_string(&body).unwrap_or_default()
}

/// Gives errors of the library's own, in parsing and validation, what our errors have, and fields
/// that failed their null.
pub(super) fn complete(response: &mut GraphqlResponse, request_id: &RequestId) {
    for error in &mut response.errors {
        set_null(&mut response.data, &error.path);
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            let code = ErrorCode::InvalidRequest;
            extensions.set("code", code.as_str());
            extensions.set("category", error_category(code));
        }
        if extensions.get("requestId").is_none() {
            extensions.set("requestId", request_id.as_str());
        }
    }
}

fn error_category(code: ErrorCode) -> Value {
    async_graphql::to_value(error::category(code)).unwrap_or_default()
}

/// The library leaves a field that failed out of its object, where GraphQL has null.
fn set_null(data: &mut Value, path: &[PathSegment]) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    match (data, first) {
        (Value::List(items), PathSegment::Index(index)) => {
            if let Some(item) = items.get_mut(*index) {
                set_null(item, rest);
            }
        }
        (Value::Object(fields), PathSegment::Field(name)) => match fields.get_mut(name.as_str()) {
            Some(field) => set_null(field, rest),
            None => {
                fields.insert(Name::new(name), Value::Null);
            }
        },
        _ => {}
    }
}

/// Whether nothing was executed: the document, its operation or its variables were at fault. The
/// errors of a field have a path.
fn was_refused(response: &GraphqlResponse) -> bool {
    response.data == Value::Null
        && !response.errors.is_empty()
        && response.errors.iter().all(|error| error.path.is_empty())
}

fn status(response: &GraphqlResponse, answer: Answer) -> StatusCode {
    if unavailable(response).is_some() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    if !was_refused(response) {
        return StatusCode::OK;
    }
    let has = |code: ErrorCode| {
        let code = Value::from(code.as_str());
        let extensions = response.errors.iter().filter_map(|e| e.extensions.as_ref());
        extensions.into_iter().any(|e| e.get("code") == Some(&code))
    };
    match answer {
        // Not for the sake of GraphQL, whose clients read errors, but of all that stands between.
        _ if has(ErrorCode::Unauthenticated) => StatusCode::UNAUTHORIZED,
        Answer::GraphqlResponse if has(ErrorCode::Forbidden) => StatusCode::FORBIDDEN,
        Answer::GraphqlResponse => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

/// The error that says that nothing could be done now.
fn unavailable(response: &GraphqlResponse) -> Option<&ServerError> {
    let code = Value::from(ErrorCode::ServiceUnavailable.as_str());
    response.errors.iter().find(|error| {
        response.data == Value::Null
            && error
                .extensions
                .as_ref()
                .is_some_and(|extensions| extensions.get("code") == Some(&code))
    })
}

fn retry_after_seconds(error: &ServerError) -> u64 {
    let extensions = error.extensions.as_ref();
    match extensions.and_then(|extensions| extensions.get("retryAfterMs")) {
        Some(Value::Number(ms)) => ms
            .as_u64()
            .map_or(RETRY_AFTER_SECONDS, |ms| ms.div_ceil(1000).max(1)),
        _ => RETRY_AFTER_SECONDS,
    }
}
