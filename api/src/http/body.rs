//! Reads a request's JSON within its bounds.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, extract::Request};
use bytes::Bytes;
use http::{Extensions, HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value};
use tokio::time::Instant;
use toolroom_domain::{
    ErrorCode, Violation,
    access::Caller,
    limits::{JSON_DEPTH, JSON_VALUES},
    measure::has_too_many_values,
};

use super::{HttpOptions, Problem, graphql::standing::Lost, media, nesting};
use crate::{auth::Identify, state::RequestContext};

/// Levels of a whole body. What it carries is held to [`JSON_DEPTH`] where its place is known, and
/// lies some levels deep; the parser itself stops at 128.
const BODY_DEPTH: usize = 120;

/// How much of a body that is too large is taken and thrown away before the answer.
const DISCARD_BYTES: usize = 64 * 1024 * 1024;

/// How many times as long as another a large body may take.
const LARGE_BODY_TIMES: u32 = 4;

/// For how long.
const DISCARD_WITHIN: Duration = Duration::from_secs(3);

/// A body that takes longer than this came after its sender was recognised: they may have lost
/// their key or role since.
const AT_ONCE: Duration = Duration::from_millis(100);

/// The JSON object that a request's body holds.
///
/// # Errors
/// When the body is not said to be JSON, is too large, too slow, too deep, or no object; when its
/// sender is not who they were before it came.
pub(crate) async fn read_object(
    request: Request,
    options: &HttpOptions,
) -> Result<Map<String, Value>, Problem> {
    parse_object(&read_json(request, options).await?)
}

/// A request's body, which is said to be JSON, as it came.
///
/// # Errors
/// As [`read_object`], but for what only its content tells.
pub(crate) async fn read_json(request: Request, options: &HttpOptions) -> Result<Bytes, Problem> {
    if !media::is_json(request.headers()) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorCode::InvalidRequest,
            "the body must be JSON in UTF-8; send it with `Content-Type: application/json`",
        ));
    }
    let (parts, body) = request.into_parts();
    let began = Instant::now();
    let is_stranger = parts
        .extensions
        .get::<RequestContext>()
        .is_some_and(|sender| sender.caller == Caller::Anonymous);
    let limit = limit(&parts.headers, is_stranger, options);
    let bytes = read(&parts.headers, body, limit, options).await?;
    if began.elapsed() >= AT_ONCE {
        must_still_be_there(&parts.extensions).await?;
    }
    Ok(bytes)
}

/// Asks anew for who was let in when only the headers had come.
async fn must_still_be_there(extensions: &Extensions) -> Result<(), Problem> {
    let (Some(auth), Some(sender)) = (
        extensions.get::<Arc<dyn Identify>>(),
        extensions.get::<RequestContext>(),
    ) else {
        return Ok(());
    };
    match Lost::of(auth.standing(sender).await) {
        None => Ok(()),
        Some(lost) => Err(lost.error().into()),
    }
}

/// Bytes of a body as its sender announces them.
pub(crate) fn announced(headers: &HeaderMap) -> Option<usize> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// A large body has a place among a few, which is taken by what is announced and not by strangers.
fn limit(headers: &HeaderMap, is_stranger: bool, options: &HttpOptions) -> usize {
    match is_stranger || announced(headers).is_none() {
        true => options.usual_body_bytes.min(options.max_body_bytes),
        false => options.max_body_bytes,
    }
}

async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    options: &HttpOptions,
) -> Result<Bytes, Problem> {
    let announced = announced(headers);
    if announced.is_some_and(|length| length > limit) {
        let _ = tokio::time::timeout(DISCARD_WITHIN, discard(body)).await;
        return Err(too_large(limit, options));
    }
    let within = match announced.is_some_and(|length| length > options.usual_body_bytes) {
        true => options.body_read_timeout * LARGE_BODY_TIMES,
        false => options.body_read_timeout,
    };
    let collected = Limited::new(body, limit).collect();
    match tokio::time::timeout(within, collected).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() || is_length_error(error.as_ref()) => {
            Err(too_large(limit, options))
        }
        Ok(Err(_)) => Err(Problem::malformed("the body broke off")),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            ErrorCode::InvalidRequest,
            format!("the body did not arrive within {} s", within.as_secs()),
        )),
    }
}

/// Takes what a client is sending although it is too much: one that only reads the answer after it
/// has sent all would else find the connection closed, and never learn why.
async fn discard(mut body: Body) {
    let mut taken = 0;
    while let Some(Ok(frame)) = body.frame().await {
        taken += frame.data_ref().map_or(0, Bytes::len);
        if taken > DISCARD_BYTES {
            return;
        }
    }
}

fn is_length_error(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(error.source(), |error| error.source())
        .any(|error| error.is::<LengthLimitError>())
}

fn too_large(limit: usize, options: &HttpOptions) -> Problem {
    let told = match limit < options.max_body_bytes {
        false => format!("the body must have at most {limit} bytes"),
        true => format!(
            "a body that is not announced by `Content-Length`, or comes without a credential, must have at most {limit} bytes; others may have {}",
            options.max_body_bytes
        ),
    };
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::PayloadTooLarge,
        told,
    )
}

/// A JSON object, refused before parsing if it nests too deep.
pub(crate) fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    match parse(bytes)? {
        Value::Object(object) => Ok(object),
        Value::Array(_) => Err(Problem::malformed(
            "the body must be one JSON object, not an array; send each request by itself",
        )),
        _ => Err(Problem::malformed("the body must be a JSON object")),
    }
}

/// Any JSON value, refused before parsing if it nests too deep.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    if let Some(field) = nesting::too_deep_field(BODY_DEPTH, bytes) {
        let problem = format!("must nest at most {JSON_DEPTH} levels");
        return Err(Problem::invalid(vec![Violation::new(field, problem)]));
    }
    if has_too_many_values(bytes) {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::PayloadTooLarge,
            format!("a body of more than 2 MiB must hold at most {JSON_VALUES} values"),
        ));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let place = place_of(&error);
        Problem::malformed(format!("the body is no valid JSON: {place}"))
    })
}

/// Where a text stops being JSON; never what stands there, which may be secret.
fn place_of(error: &serde_json::Error) -> String {
    let what = if error.is_eof() {
        "it ends early"
    } else {
        "syntax error"
    };
    format!("{what} at line {}, column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_json_is_refused_before_it_is_parsed() {
        let deep = format!("{}{}", "[".repeat(2_000_000), "]".repeat(2_000_000));
        let problem = parse_object(deep.as_bytes()).unwrap_err();
        assert_eq!(problem.code, ErrorCode::ValidationFailed);
        let allowed = format!("{{\"a\":{}{}}}", "[".repeat(119), "]".repeat(119));
        assert!(parse_object(allowed.as_bytes()).is_ok());
    }

    #[test]
    fn broken_json_is_told_by_its_place_without_its_text() {
        let problem = parse_object(b"{\"token\": s3cret}").unwrap_err();
        assert!(
            problem.message.contains("line 1, column"),
            "{}",
            problem.message
        );
        assert!(!problem.message.contains("s3cret"));
    }

    #[test]
    fn only_an_object_is_a_request() {
        for text in ["[]", "1", "\"a\"", "null", ""] {
            assert!(parse_object(text.as_bytes()).is_err(), "{text}");
        }
    }
}
