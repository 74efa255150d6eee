//! What calls are answered with.

use std::{collections::HashSet, fmt::Write as _};

use axum::{
    Json,
    extract::Request,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::error::rejection;
use crate::http::Problem;

/// The header by which a client of version 11 asks for lines, unless it does by `Accept`.
const TRPC_ACCEPT: &str = "trpc-accept";

const LINES: &str = "application/jsonl";

/// How the answers of a batch are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As one list.
    List,
    /// As lines, for `httpBatchStreamLink`.
    Lines,
}

impl Form {
    /// What the sender of a request reads.
    pub(super) fn of(request: &Request) -> Self {
        let header = |name| Some(request.headers().get(name)?.to_str().ok()?.to_owned());
        let wants_lines = match header(TRPC_ACCEPT) {
            Some(wanted) => wanted == LINES,
            None => header(header::ACCEPT.as_str())
                .is_some_and(|accepted| accepted.split(',').any(|one| one.trim() == LINES)),
        };
        if wants_lines { Self::Lines } else { Self::List }
    }
}

/// The response to the calls of one request, in their order.
pub(super) fn respond(
    outcomes: Vec<Result<Value, Problem>>,
    is_batch: bool,
    form: Form,
    request_id: &str,
) -> Response {
    if !is_batch {
        // A call by itself: its problem has headers of its own.
        return match outcomes.into_iter().next() {
            Some(Ok(data)) => varying(Json(success(data)).into_response()),
            Some(Err(problem)) => varying(problem.into_response()),
            None => StatusCode::NO_CONTENT.into_response(),
        };
    }
    let status = status(&outcomes);
    let answers = outcomes.into_iter().map(|outcome| match outcome {
        Ok(data) => success(data),
        Err(problem) => rejection(&problem, request_id),
    });
    varying(match form {
        Form::List => (status, Json(answers.collect::<Value>())).into_response(),
        Form::Lines => {
            let kind = HeaderValue::from_static("application/json");
            ([(header::CONTENT_TYPE, kind)], lines(answers)).into_response()
        }
    })
}

fn success(data: Value) -> Value {
    json!({"result": {"data": data}})
}

/// The status that all calls have, or 207 where they differ.
fn status(outcomes: &[Result<Value, Problem>]) -> StatusCode {
    let each = outcomes.iter().map(|outcome| match outcome {
        Ok(_) => StatusCode::OK,
        Err(problem) => problem.status,
    });
    let mut distinct = each.collect::<HashSet<_>>().into_iter();
    match (distinct.next(), distinct.next()) {
        (Some(only), None) => only,
        _ => StatusCode::MULTI_STATUS,
    }
}

/// The lines in which version 11 streams a batch: first that each call is still to come, under a
/// number of its own, then each with its answer. The status is 200 whatever they are.
fn lines(answers: impl ExactSizeIterator<Item = Value>) -> String {
    const TO_COME: u8 = 0;
    const FULFILLED: u8 = 0;
    let head = (0..answers.len())
        .map(|index| (index.to_string(), json!([[0], [null, TO_COME, index]])))
        .collect::<serde_json::Map<_, _>>();
    let mut lines = format!("{}\n", Value::Object(head));
    for (index, answer) in answers.enumerate() {
        let _ = writeln!(lines, "{}", json!([index, FULFILLED, [[answer]]]));
    }
    lines
}

/// What an answer depends on beside its URL.
fn varying(mut response: Response) -> Response {
    let names = HeaderValue::from_static("trpc-accept, accept");
    response.headers_mut().append(header::VARY, names);
    response
}

#[cfg(test)]
mod tests {
    use toolroom_domain::ErrorCode;

    use super::*;

    fn missing() -> Problem {
        Problem::new(StatusCode::NOT_FOUND, ErrorCode::NotFound, "no such tool")
    }

    #[test]
    fn a_batch_has_the_status_of_its_calls_or_207() {
        assert_eq!(status(&[Ok(json!(1)), Ok(json!(2))]), StatusCode::OK);
        let all_missing = [Err(missing()), Err(missing())];
        assert_eq!(status(&all_missing), StatusCode::NOT_FOUND);
        let mixed = [Ok(json!(1)), Err(missing())];
        assert_eq!(status(&mixed), StatusCode::MULTI_STATUS);
    }

    #[test]
    fn lines_announce_each_call_and_then_answer_it() {
        let answers = vec![success(json!(1)), json!({"error": {}})];
        let lines = lines(answers.into_iter());
        let expected = concat!(
            r#"{"0":[[0],[null,0,0]],"1":[[0],[null,0,1]]}"#,
            "\n",
            r#"[0,0,[[{"result":{"data":1}}]]]"#,
            "\n",
            r#"[1,0,[[{"error":{}}]]]"#,
            "\n",
        );
        assert_eq!(lines, expected);
    }

    #[test]
    fn lines_are_given_to_who_asks_for_them() {
        let form = |name: &str, value: &str| {
            let request = Request::builder().header(name, value);
            Form::of(&request.body(axum::body::Body::empty()).unwrap())
        };
        assert_eq!(form("trpc-accept", "application/jsonl"), Form::Lines);
        assert_eq!(form("accept", "*/*, application/jsonl"), Form::Lines);
        assert_eq!(form("accept", "*/*"), Form::List);
    }
}
