//! `GET /api/v1/jobs/{job_id}/input` and `/output`: the JSON itself, or a part of it.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use toolroom_domain::JobId;

use super::range::{self, Wanted};
use crate::{
    error::ApiError,
    http::Problem,
    rest::failure::Failure,
    service::jobs::{self, Fetched, Field},
    state::{AppState, RequestContext},
};

pub(super) async fn answer(
    state: &AppState,
    ctx: &RequestContext,
    job: &str,
    field: Field,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let id: JobId = job.parse().map_err(|_| {
        let problem = "is not a job's id; it has the form `job_` followed by 32 hexadecimal digits";
        Failure::of(ApiError::invalid_field("job_id", problem), ctx)
    })?;
    let known = |digest: &str| names(headers, header::IF_NONE_MATCH, digest);
    let fetched = jobs::fetch(state, ctx, id, field, known);
    let fetched = fetched.await.map_err(|error| Failure::of(error, ctx))?;
    let (status, digest, json, part) = match fetched {
        Fetched::Same(digest) => (StatusCode::NOT_MODIFIED, digest, None, None),
        Fetched::Json(json, digest) => {
            // A part of another value than the one that was begun would fit nothing.
            let resumes = match headers.contains_key(header::IF_RANGE) {
                true => names(headers, header::IF_RANGE, &digest),
                false => true,
            };
            let wanted = match resumes {
                true => range::wanted(headers, json.len()),
                false => Wanted::All,
            };
            match wanted {
                Wanted::All => (StatusCode::OK, digest, Some(json), None),
                Wanted::Part(part) => {
                    let told = format!("bytes {}-{}/{}", part.start, part.end - 1, json.len());
                    let json = json.slice(part);
                    (StatusCode::PARTIAL_CONTENT, digest, Some(json), Some(told))
                }
                Wanted::Nothing => return Err(unsatisfiable(json.len()).into()),
            }
        }
    };
    let mut response = Response::new(json.map_or_else(Body::empty, Body::from));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let mut set = |name, value: Result<HeaderValue, _>| {
        if let Ok(value) = value {
            headers.insert(name, value);
        }
    };
    set(header::ETAG, HeaderValue::try_from(format!("\"{digest}\"")));
    set(header::ACCEPT_RANGES, Ok(HeaderValue::from_static("bytes")));
    // It never changes, but may be erased, and is not everybody's.
    set(
        header::CACHE_CONTROL,
        Ok(HeaderValue::from_static("private, no-cache")),
    );
    if status != StatusCode::NOT_MODIFIED {
        set(
            header::CONTENT_TYPE,
            Ok(HeaderValue::from_static("application/json")),
        );
    }
    if let Some(part) = part {
        set(header::CONTENT_RANGE, HeaderValue::try_from(part));
    }
    Ok(response)
}

fn unsatisfiable(length: usize) -> Problem {
    Problem::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        toolroom_domain::ErrorCode::InvalidRequest,
        format!("the value has {length} bytes; ask for a range within them"),
    )
}

/// Whether a header names the entity of this digest.
fn names(headers: &HeaderMap, header: header::HeaderName, digest: &str) -> bool {
    headers.get_all(header).iter().any(|value| {
        let tags = value.to_str().unwrap_or_default().split(',');
        tags.map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"'))
            .any(|tag| tag == digest || tag == "*")
    })
}
