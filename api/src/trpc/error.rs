//! The protocol's error envelope.
//!
//! `code` is JSON-RPC's number and `data.code` the protocol's word for it, both by the HTTP status;
//! what Toolroom says everywhere else stands beside them in `data`: `errorCode`, `category`,
//! `retryable`, `details`, `requestId`.

use http::StatusCode;
use serde_json::{Map, Value, json};
use toolroom_domain::ErrorCategory;

use crate::{error, http::Problem};

/// The protocol's word and number for each status that it has one for: `TRPC_ERROR_CODES_BY_KEY`
/// and `JSONRPC2_TO_HTTP_CODE` of `@trpc/server` 11.
const CODES: [(u16, &str, i32); 17] = [
    (400, "BAD_REQUEST", -32600),
    (401, "UNAUTHORIZED", -32001),
    (403, "FORBIDDEN", -32003),
    (404, "NOT_FOUND", -32004),
    (405, "METHOD_NOT_SUPPORTED", -32005),
    (408, "TIMEOUT", -32008),
    (409, "CONFLICT", -32009),
    (412, "PRECONDITION_FAILED", -32012),
    (413, "PAYLOAD_TOO_LARGE", -32013),
    (415, "UNSUPPORTED_MEDIA_TYPE", -32015),
    (422, "UNPROCESSABLE_CONTENT", -32022),
    (429, "TOO_MANY_REQUESTS", -32029),
    (500, "INTERNAL_SERVER_ERROR", -32603),
    (501, "NOT_IMPLEMENTED", -32603),
    (502, "BAD_GATEWAY", -32603),
    (503, "SERVICE_UNAVAILABLE", -32603),
    (504, "GATEWAY_TIMEOUT", -32603),
];

fn code(status: StatusCode) -> (&'static str, i32) {
    let known = CODES.iter().find(|(known, ..)| *known == status.as_u16());
    known.map_or(("INTERNAL_SERVER_ERROR", -32603), |(_, word, number)| {
        (word, *number)
    })
}

/// A category in the contract's words.
pub(super) fn category(category: ErrorCategory) -> &'static str {
    match category {
        ErrorCategory::Network => "network",
        ErrorCategory::Authentication => "authentication",
        ErrorCategory::Authorization => "authorization",
        ErrorCategory::RateLimit => "rate_limit",
        ErrorCategory::Validation => "validation",
        ErrorCategory::Timeout => "timeout",
        ErrorCategory::ServerError => "server_error",
        ErrorCategory::Unknown => "unknown",
    }
}

/// The answer of a call that came to nothing.
pub(crate) fn rejection(problem: &Problem, request_id: &str) -> Value {
    let (word, number) = code(problem.status);
    let details: Vec<_> = problem
        .violations
        .iter()
        .map(|violation| json!({"path": violation.path, "message": violation.message}))
        .collect();
    let mut data = Map::from_iter([
        ("code".to_owned(), word.into()),
        ("httpStatus".to_owned(), problem.status.as_u16().into()),
        ("errorCode".to_owned(), problem.code.as_str().into()),
        (
            "category".to_owned(),
            category(error::category(problem.code)).into(),
        ),
        ("retryable".to_owned(), problem.retry_after.is_some().into()),
        ("details".to_owned(), details.into()),
        ("requestId".to_owned(), request_id.into()),
    ]);
    if let Some(after) = problem.retry_after {
        let ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        data.insert("retryAfterMs".to_owned(), ms.into());
    }
    if let Some(job) = problem.job {
        data.insert("jobId".to_owned(), job.to_string().into());
    }
    if !problem.candidates.is_empty() {
        data.insert("candidates".to_owned(), json!(problem.candidates));
    }
    data.extend(Map::clone(&problem.beside));
    json!({"error": {"message": problem.message, "code": number, "data": data}})
}

#[cfg(test)]
mod tests {
    use toolroom_domain::{ErrorCode, Violation};

    use super::*;
    use crate::error::ApiError;

    #[test]
    fn every_status_of_ours_has_a_word_of_the_protocols() {
        for code in ErrorCode::ALL {
            let status = error::status(*code).as_u16();
            let known = CODES.iter().any(|(known, ..)| *known == status);
            assert!(known, "{code:?}: {status}");
        }
    }

    #[test]
    fn a_rejection_has_the_protocols_shape_and_our_words() {
        let error = ApiError::invalid(vec![Violation::new("id", "is required")]);
        let told = rejection(&error.into(), "request-1");
        let expected = json!({"error": {
            "message": "`id` is required",
            "code": -32600,
            "data": {
                "code": "BAD_REQUEST",
                "httpStatus": 400,
                "errorCode": "VALIDATION_FAILED",
                "category": "validation",
                "retryable": false,
                "details": [{"path": "id", "message": "is required"}],
                "requestId": "request-1",
            },
        }});
        assert_eq!(told, expected);
    }
}
