//! `/graphql`: GraphQL over HTTP (the GraphQL Foundation's draft), over WebSockets
//! (`graphql-transport-ws`) and over event streams (`graphql-sse`, distinct connections).

mod introduction;
mod request;
mod response;
mod session;
mod sse;
pub(crate) mod standing;
mod websocket;

use std::sync::Arc;

use async_graphql::{Executor, Request as GraphqlRequest, parser::types::OperationType};
use axum::{
    Extension, Router,
    extract::{Request, State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{HeaderMap, Method, StatusCode, header};
use toolroom_domain::{ErrorCode, access::Caller};

use self::introduction::Opener;
use super::{
    Problem, Shell,
    answer::GRAPHQL_PATH,
    body,
    media::{self, Answer},
    request_id::RequestId,
    shell::Place,
};
use crate::{
    auth::{Identify, Presented},
    error::ApiError,
    state::RequestContext,
};

/// Bytes of a document of somebody who is not known: a whole introspection has some 2,000. Reading a
/// larger one takes time that nobody pays for.
const STRANGERS_DOCUMENT_BYTES: usize = 16 * 1024;

#[derive(Clone)]
struct Endpoint<E> {
    executor: E,
    auth: Arc<dyn Identify>,
    shell: Shell,
}

/// The endpoint, which asks `executor`.
pub(crate) fn routes<E, S>(executor: E, auth: Arc<dyn Identify>, shell: Shell) -> Router<S>
where
    E: Executor,
    S: Clone + Send + Sync + 'static,
{
    let endpoint = Endpoint {
        executor,
        auth,
        shell,
    };
    Router::new()
        .route(GRAPHQL_PATH, get(by_get::<E>).post(by_post::<E>))
        .with_state(endpoint)
}

async fn by_post<E: Executor>(
    State(endpoint): State<Endpoint<E>>,
    Extension(context): Extension<RequestContext>,
    Extension(request_id): Extension<RequestId>,
    request: Request,
) -> Result<Response, Problem> {
    let answer = acceptable(request.headers())?;
    let last_event = sse::last_event(request.headers())?;
    let object = body::read_object(request, &endpoint.shell.options).await?;
    let request = request::from_object(object)?;
    endpoint
        .answer(
            request,
            Method::POST,
            answer,
            last_event,
            context,
            &request_id,
        )
        .await
}

async fn by_get<E: Executor>(
    State(endpoint): State<Endpoint<E>>,
    Extension(context): Extension<RequestContext>,
    Extension(presented): Extension<Presented>,
    Extension(request_id): Extension<RequestId>,
    place: Option<Extension<Place>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    request: Request,
) -> Result<Response, Problem> {
    if request.headers().contains_key(header::UPGRADE) {
        let upgrade = upgrade.map_err(|error| Problem::malformed(error.body_text()))?;
        let place = place.map(|Extension(place)| place);
        return Ok(websocket::upgrade(
            upgrade,
            endpoint.executor,
            Opener {
                auth: endpoint.auth,
                presented,
                context,
            },
            request_id,
            &endpoint.shell,
            place,
        ));
    }
    let answer = acceptable(request.headers())?;
    let last_event = sse::last_event(request.headers())?;
    let query = request.uri().query().unwrap_or_default();
    let request = request::from_query_string(query)?;
    endpoint
        .answer(
            request,
            Method::GET,
            answer,
            last_event,
            context,
            &request_id,
        )
        .await
}

fn acceptable(headers: &HeaderMap) -> Result<Answer, Problem> {
    media::wanted(headers).ok_or_else(|| {
        not_acceptable(
            "answers are application/graphql-response+json, application/json or text/event-stream; accept one of them",
        )
    })
}

fn not_acceptable(message: &str) -> Problem {
    Problem::new(
        StatusCode::NOT_ACCEPTABLE,
        ErrorCode::InvalidRequest,
        message,
    )
}

impl<E: Executor> Endpoint<E> {
    async fn answer(
        self,
        mut request: GraphqlRequest,
        method: Method,
        answer: Answer,
        last_event: Option<String>,
        context: RequestContext,
        request_id: &RequestId,
    ) -> Result<Response, Problem> {
        if context.caller == Caller::Anonymous && request.query.len() > STRANGERS_DOCUMENT_BYTES {
            return Err(ApiError::new(
                ErrorCode::Unauthenticated,
                format!(
                    "a document of more than {STRANGERS_DOCUMENT_BYTES} bytes needs a credential: send an API key or token as `Authorization: Bearer …`, or an API key as `X-API-Key`"
                ),
            )
            .into());
        }
        let limit = self.shell.options.usual_body_bytes;
        if request.query.len() > limit {
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                ErrorCode::PayloadTooLarge,
                format!(
                    "a document must have at most {limit} bytes; send what is large in `variables`"
                ),
            ));
        }
        let kind = request::operation_type(&mut request);
        if method == Method::GET && kind == Some(OperationType::Mutation) {
            return Err(Problem::method_not_allowed(
                "POST",
                "a mutation changes something, which GET must not; send it by POST",
            ));
        }
        request.data.insert(context.clone());
        if answer == Answer::EventStream {
            if let Some(last_event) = last_event {
                request::resume_after(&mut request, &last_event);
            }
            let events = self.executor.execute_stream(request, None);
            let lost = standing::lost(self.auth, context);
            return Ok(sse::stream(events, lost, request_id.clone(), &self.shell));
        }
        if kind == Some(OperationType::Subscription) {
            return Err(not_acceptable(
                "a subscription's answer is a stream; accept text/event-stream, or use a WebSocket with the protocol graphql-transport-ws",
            ));
        }
        let response = self.executor.execute(request).await;
        Ok(response::respond(response, answer, request_id).into_response())
    }
}
