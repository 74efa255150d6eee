//! Makes of a request's headers what commands and queries need to know of their sender.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use toolroom_domain::Violation;
use toolroom_eventlog::{Position, position::ParsePositionError};

use super::{Problem, Shell, client::Client, cookie, request_id::RequestId};
use crate::{
    auth::{Identify, Identity, Presented},
    state::RequestContext,
};

const MIN_POSITION: HeaderName = HeaderName::from_static("x-min-position");
const POSITION: HeaderName = HeaderName::from_static("x-toolroom-position");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Characters of a program's name that are kept with its events; browsers send some 200.
const USER_AGENT_CHARS: usize = 400;

/// By what senders are recognised.
#[derive(Clone)]
pub(crate) struct Recognition {
    pub(crate) auth: Arc<dyn Identify>,
    pub(crate) shell: Shell,
}

/// Gives each request its [`RequestContext`], and the answer to a command its position.
pub(crate) async fn with_context(
    State(recognition): State<Recognition>,
    Extension(request_id): Extension<RequestId>,
    Extension(client): Extension<Client>,
    mut request: Request,
    next: Next,
) -> Response {
    let presented = Presented::of(request.headers()).map(|presented| Presented {
        cookie: cookie::shown(&request, client, &recognition.shell.options),
        address: client.address,
        ..presented
    });
    let presented = match presented {
        Ok(presented) => presented,
        Err(problem) => return problem.into_response(),
    };
    let sender = recognition.auth.identify(&presented).await;
    let sender = sender.map_err(Problem::from);
    let context = match sender.and_then(|s| context(s, &request_id, request.headers(), client)) {
        Ok(context) => context,
        Err(problem) => return problem.into_response(),
    };
    let written = context.written.clone();
    request.extensions_mut().insert(context);
    request.extensions_mut().insert(presented);
    // What comes slowly is acted upon only for who is still there when it has come.
    request
        .extensions_mut()
        .insert(Arc::clone(&recognition.auth));
    let mut response = next.run(request).await;
    if let Some(position) = written.get()
        && let Ok(value) = HeaderValue::try_from(position.to_string())
    {
        response.headers_mut().insert(POSITION, value);
    }
    response
}

fn context(
    sender: Identity,
    request_id: &RequestId,
    headers: &HeaderMap,
    client: Client,
) -> Result<RequestContext, Problem> {
    let mut context = RequestContext::of(sender, request_id.as_str());
    context.ip = client.address.map(|address| address.to_string());
    context.user_agent = headers
        .get(http::header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .map(|agent| agent.chars().take(USER_AGENT_CHARS).collect());
    context.min_position = min_position(headers)?;
    context.idempotency_key = match headers.get(IDEMPOTENCY_KEY) {
        None => None,
        Some(key) => Some(key.to_str().map(str::to_owned).map_err(|_| {
            Problem::malformed("`Idempotency-Key` must hold only visible ASCII characters")
        })?),
    };
    Ok(context)
}

fn min_position(headers: &HeaderMap) -> Result<Option<Position>, Problem> {
    let Some(value) = headers.get(MIN_POSITION) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    text.parse().map(Some).map_err(|error: ParsePositionError| {
        Problem::invalid(vec![Violation::new("X-Min-Position", error.to_string())])
    })
}
