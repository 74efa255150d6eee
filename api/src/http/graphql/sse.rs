//! GraphQL over event streams: `graphql-sse`, one operation a connection.

use std::convert::Infallible;

use async_graphql::{Response as GraphqlResponse, Value};
use axum::response::{
    IntoResponse as _, Response, Sse,
    sse::{Event, KeepAlive},
};
use futures::{
    Stream, StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use http::HeaderMap;

use super::{response, session, standing::Lost};
use crate::http::{Problem, Shell, request_id::RequestId};

/// Digits of a position at the most: those of the largest 64-bit number.
const POSITION_DIGITS: usize = 19;

/// The fields by which payloads tell their place in the log.
const POSITION_FIELDS: [&str; 2] = ["position", "lastEvent"];

/// The position that the client saw last, when it comes back.
pub(super) fn last_event(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    match value.to_str() {
        // A browser that has seen no id yet may send an empty one.
        Ok("") => Ok(None),
        Ok(id) if id.len() <= POSITION_DIGITS && id.bytes().all(|b| b.is_ascii_digit()) => {
            Ok(Some(id.to_owned()))
        }
        _ => Err(Problem::malformed(
            "`Last-Event-ID` must be a position as the stream's event ids give it",
        )),
    }
}

/// The stream of an operation's responses, which ends early when the server does: clients then
/// come back with the last event's id.
pub(super) fn stream(
    responses: BoxStream<'static, GraphqlResponse>,
    lost: BoxFuture<'static, Lost>,
    request_id: RequestId,
    shell: &Shell,
) -> Response {
    let heartbeat = KeepAlive::new().interval(shell.options.live.heartbeat);
    let shutdown = shell.shutdown.clone();
    let events = events(until(responses, lost), request_id)
        .map(Ok::<_, Infallible>)
        .take_until(shutdown.cancelled_owned());
    Sse::new(events).keep_alive(heartbeat).into_response()
}

/// The responses, until their receiver may not have them any more, which is told last.
fn until(
    responses: BoxStream<'static, GraphqlResponse>,
    lost: BoxFuture<'static, Lost>,
) -> impl Stream<Item = GraphqlResponse> + Send + 'static {
    stream::unfold(Some((responses, lost)), async |open| {
        let (mut responses, mut lost) = open?;
        tokio::select! {
            biased;
            lost = &mut lost => Some((session::refused(&lost.error().into()), None)),
            response = responses.next() => Some((response?, Some((responses, lost)))),
        }
    })
}

fn events(
    responses: impl Stream<Item = GraphqlResponse> + Send + 'static,
    request_id: RequestId,
) -> impl Stream<Item = Event> + Send {
    responses
        .map(move |mut response| {
            response::complete(&mut response, &request_id);
            let event = Event::default()
                .event("next")
                .data(response::to_json(&response));
            match position(&response.data) {
                Some(position) => event.id(position),
                None => event,
            }
        })
        // Browsers drop an event without data, so it has some.
        .chain(stream::once(async {
            Event::default().event("complete").data("null")
        }))
}

/// Where in the log a payload stands, if its document asked for that.
fn position(data: &Value) -> Option<&str> {
    let Value::Object(fields) = data else {
        return None;
    };
    let Some(Value::Object(payload)) = fields.values().next() else {
        return None;
    };
    POSITION_FIELDS
        .into_iter()
        .find_map(|field| match payload.get(field) {
            Some(Value::String(position))
                if position.len() <= POSITION_DIGITS
                    && position.bytes().all(|b| b.is_ascii_digit()) =>
            {
                Some(position.as_str())
            }
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use async_graphql::value;

    use super::*;

    #[test]
    fn an_event_is_known_by_the_position_in_its_payload() {
        let audit = value!({ "auditEvents": { "type": "ToolRegistered", "position": "7" } });
        assert_eq!(position(&audit), Some("7"));
        let job = value!({ "renamed": { "lastEvent": "12" } });
        assert_eq!(position(&job), Some("12"));
        for none in [
            value!({ "jobProgress": { "position": "a\nid: 1" } }),
            value!({ "jobProgress": { "position": "" , "other": 1 } }),
            value!({ "count": 1 }),
            value!(null),
        ] {
            assert!(position(&none).is_none_or(str::is_empty), "{none}");
        }
    }

    #[test]
    fn only_a_position_is_resumed_from() {
        let from = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("last-event-id", id.parse().unwrap());
            last_event(&headers)
        };
        assert_eq!(from("42"), Ok(Some("42".to_owned())));
        assert_eq!(from(""), Ok(None));
        assert!(from("4 2").is_err());
        assert!(from(&"1".repeat(20)).is_err());
    }
}
