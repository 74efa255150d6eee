//! The rules of `graphql-transport-ws` for one WebSocket, which the library leaves open.

use std::{
    collections::HashSet,
    sync::{Arc, OnceLock},
};

use async_graphql::{Data, Executor, Request, Response, ServerError, http::ClientMessage};
use futures::{
    FutureExt as _, StreamExt as _,
    stream::{self, BoxStream},
};
use http::StatusCode;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{json, value::RawValue};
use tokio::sync::Semaphore;
use toolroom_domain::ErrorCode;

use super::{request, response, standing::Lost};
use crate::{
    auth::Identify,
    http::{Problem, request_id::RequestId},
    state::RequestContext,
};

/// Why a WebSocket is closed: the protocol's code, and a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Closing(pub u16, pub String);

/// What one client has asked for and what it was told.
#[derive(Default)]
pub(super) struct Session {
    initialised: bool,
    acknowledged: bool,
    active: HashSet<String>,
    /// Completed by the client, whose completion the library is about to echo. An echo that came
    /// after the id's next use would end that one.
    stopping: HashSet<String>,
    /// Refused before they began, which ends them for the client; the library is about to complete
    /// them.
    refused: HashSet<String>,
}

#[derive(Deserialize)]
struct ServerMessage {
    r#type: String,
    id: Option<String>,
}

/// A message that may tell why an operation did not begin.
#[derive(Deserialize)]
struct Next<'a> {
    id: String,
    #[serde(borrow)]
    payload: NextPayload<'a>,
}

#[derive(Deserialize)]
struct NextPayload<'a> {
    data: Option<IgnoredAny>,
    #[serde(borrow, default)]
    errors: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Located {
    path: Option<IgnoredAny>,
}

impl Session {
    /// Whether the client may subscribe.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.acknowledged
    }

    /// What the library shall be told of a client's message, if anything.
    ///
    /// # Errors
    /// The close that the protocol demands.
    pub(super) fn admit(&mut self, text: &[u8]) -> Result<Option<ClientMessage>, Closing> {
        // The parser stops at 128 levels by itself.
        let message = ClientMessage::from_bytes(text).map_err(|_| invalid())?;
        match &message {
            ClientMessage::ConnectionInit { .. } => {
                if std::mem::replace(&mut self.initialised, true) {
                    return Err(Closing(4429, "Too many initialisation requests".into()));
                }
            }
            ClientMessage::Start { id, .. } => {
                if !self.acknowledged {
                    return Err(Closing(4401, "Unauthorized".into()));
                }
                if !self.active.insert(id.clone()) {
                    // A close frame's reason has at most 123 bytes.
                    let id: String = id.chars().take(20).collect();
                    return Err(Closing(4409, format!("Subscriber for {id} already exists")));
                }
            }
            ClientMessage::Stop { id } => {
                if !self.active.remove(id) {
                    return Ok(None);
                }
                self.stopping.insert(id.clone());
            }
            ClientMessage::ConnectionTerminate => return Err(invalid()),
            ClientMessage::Ping { .. } | ClientMessage::Pong { .. } => {}
        }
        Ok(Some(message))
    }

    /// Whether the library owes no completion of an operation that was refused: until then the
    /// client's next message waits, lest it use the id again before.
    pub(super) fn is_settled(&self) -> bool {
        self.refused.is_empty()
    }

    /// Notes what the library answers; what the client shall have of it, if anything.
    pub(super) fn note(&mut self, text: String) -> Option<String> {
        if text.starts_with(r#"{"type":"next""#) {
            return Some(self.refusal(&text).unwrap_or(text));
        }
        let Ok(message) = serde_json::from_str::<ServerMessage>(&text) else {
            return Some(text);
        };
        match (message.r#type.as_str(), message.id) {
            ("connection_ack", _) => self.acknowledged = true,
            ("complete", Some(id)) => {
                if self.stopping.remove(&id) {
                    return None;
                }
                self.active.remove(&id);
                if self.refused.remove(&id) {
                    return None;
                }
            }
            _ => {}
        }
        Some(text)
    }

    /// The protocol's `error`, for an operation that did not begin: one whose errors belong to no
    /// field. The library answers it as if it had run.
    fn refusal(&mut self, text: &str) -> Option<String> {
        if !text.contains(r#""errors""#) {
            return None;
        }
        let next: Next = serde_json::from_str(text).ok()?;
        let errors = next.payload.errors;
        let of_a_field = |error: &&RawValue| {
            serde_json::from_str(error.get()).is_ok_and(|at: Located| at.path.is_some())
        };
        if next.payload.data.is_some() || errors.is_empty() || errors.iter().any(of_a_field) {
            return None;
        }
        let error = json!({"type": "error", "id": next.id, "payload": errors});
        self.refused.insert(next.id);
        Some(error.to_string())
    }
}

fn invalid() -> Closing {
    Closing(4400, "Invalid message received".into())
}

/// An executor for one WebSocket: bounds its subscriptions, completes its errors, and does nothing
/// for a sender who is not who they were.
#[derive(Clone)]
pub(super) struct SessionExecutor<E> {
    pub(super) inner: E,
    pub(super) auth: Arc<dyn Identify>,
    /// Who speaks, once they have said so.
    pub(super) sender: Arc<OnceLock<RequestContext>>,
    pub(super) places: Arc<Semaphore>,
    pub(super) max_subscriptions: usize,
    pub(super) request_id: RequestId,
}

impl<E: Executor> Executor for SessionExecutor<E> {
    async fn execute(&self, request: Request) -> Response {
        match self.sender.get() {
            Some(sender) => self.inner.execute(request.data(sender.clone())).await,
            None => refused(&unknown()),
        }
    }

    fn execute_stream(
        &self,
        request: Request,
        session_data: Option<Arc<Data>>,
    ) -> BoxStream<'static, Response> {
        let request_id = self.request_id.clone();
        let complete = move |mut response: Response| {
            response::complete(&mut response, &request_id);
            response
        };
        if let Err(problem) = request::check_depth(&request.query) {
            return stream::once(async move { refused(&problem) })
                .map(complete)
                .boxed();
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let problem = Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                ErrorCode::RateLimitExceeded,
                format!(
                    "this connection has {} subscriptions already; complete one or open another connection",
                    self.max_subscriptions
                ),
            );
            return stream::once(async move { refused(&problem) })
                .map(complete)
                .boxed();
        };
        let (inner, auth) = (self.inner.clone(), Arc::clone(&self.auth));
        let sender = self.sender.get().cloned();
        let begun = async move {
            let Some(sender) = sender else {
                return stream::iter([refused(&unknown())]).boxed();
            };
            // The socket will be closed for it in a moment; until then nothing more is done.
            if let Some(lost) = Lost::of(auth.standing(&sender).await) {
                return stream::iter([refused(&lost.error().into())]).boxed();
            }
            inner.execute_stream(request.data(sender), session_data)
        };
        let release = async move { drop(place) };
        stream::once(begun)
            .flatten()
            .map(complete)
            .chain(release.map(|()| stream::empty()).flatten_stream())
            .boxed()
    }
}

fn unknown() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        ErrorCode::Unauthenticated,
        "nobody has introduced themselves on this connection",
    )
}

/// The response to what was not begun.
pub(super) fn refused(problem: &Problem) -> Response {
    let mut error = ServerError::new(problem.message.to_string(), None);
    error
        .extensions
        .get_or_insert_default()
        .set("code", problem.code.as_str());
    Response::from_errors(vec![error])
}

#[cfg(test)]
mod tests {
    use super::*;

    const INIT: &[u8] = br#"{"type":"connection_init"}"#;
    const COMPLETE: &[u8] = br#"{"type":"complete","id":"1"}"#;
    const SUBSCRIBE: &[u8] = br#"{"type":"subscribe","id":"1","payload":{"query":"{a}"}}"#;

    fn closing(session: &mut Session, text: &[u8]) -> Option<u16> {
        session.admit(text).err().map(|closing| closing.0)
    }

    const COMPLETED: &str = r#"{"type":"complete","id":"1"}"#;

    fn told(session: &mut Session, text: &str) -> Option<String> {
        session.note(text.to_owned())
    }

    #[test]
    fn what_did_not_begin_is_an_error_and_nothing_after() {
        let mut session = acknowledged();
        assert_eq!(closing(&mut session, SUBSCRIBE), None);
        let next = r#"{"type":"next","id":"1","payload":{"data":null,"errors":[{"message":"no such field"}]}}"#;
        let error: serde_json::Value =
            serde_json::from_str(&told(&mut session, next).unwrap()).unwrap();
        assert_eq!(
            error,
            json!({"type": "error", "id": "1", "payload": [{"message": "no such field"}]})
        );
        assert!(!session.is_settled());
        assert_eq!(told(&mut session, COMPLETED), None);
        assert!(session.is_settled());
        assert_eq!(closing(&mut session, SUBSCRIBE), None);
    }

    #[test]
    fn an_event_whose_field_failed_is_an_event() {
        let mut session = acknowledged();
        assert_eq!(closing(&mut session, SUBSCRIBE), None);
        let next = r#"{"type":"next","id":"1","payload":{"data":null,"errors":[{"message":"m","path":["a"]}]}}"#;
        assert_eq!(told(&mut session, next).as_deref(), Some(next));
        assert!(told(&mut session, COMPLETED).is_some());
    }

    fn acknowledged() -> Session {
        let mut session = Session::default();
        assert!(session.admit(INIT).is_ok());
        assert!(told(&mut session, r#"{"type":"connection_ack"}"#).is_some());
        session
    }

    #[test]
    fn a_client_initialises_once_and_first() {
        let mut session = Session::default();
        assert_eq!(closing(&mut session, SUBSCRIBE), Some(4401));
        assert_eq!(closing(&mut session, INIT), None);
        assert_eq!(closing(&mut session, INIT), Some(4429));
    }

    #[test]
    fn an_id_names_one_subscription_at_a_time() {
        let mut session = acknowledged();
        assert_eq!(closing(&mut session, SUBSCRIBE), None);
        assert_eq!(closing(&mut session, SUBSCRIBE), Some(4409));
        assert!(told(&mut session, COMPLETED).is_some());
        assert_eq!(closing(&mut session, SUBSCRIBE), None);
    }

    #[test]
    fn the_echo_of_a_completion_does_not_end_the_ids_next_use() {
        let mut session = acknowledged();
        assert_eq!(closing(&mut session, SUBSCRIBE), None);
        assert!(session.admit(COMPLETE).is_ok_and(|told| told.is_some()));
        assert_eq!(closing(&mut session, SUBSCRIBE), None);
        assert_eq!(told(&mut session, COMPLETED), None);
        assert_eq!(closing(&mut session, SUBSCRIBE), Some(4409));
    }

    #[test]
    fn completing_what_is_not_there_is_nothing() {
        let mut session = acknowledged();
        assert!(session.admit(COMPLETE).is_ok_and(|told| told.is_none()));
    }

    #[test]
    fn what_is_no_message_closes() {
        let mut session = acknowledged();
        assert_eq!(closing(&mut session, b"hello"), Some(4400));
        assert_eq!(closing(&mut session, br#"{"type":"dance"}"#), Some(4400));
        let deep = format!(r#"{{"type":"ping","payload":{}"#, "[".repeat(100_000));
        assert_eq!(closing(&mut session, deep.as_bytes()), Some(4400));
    }
}
