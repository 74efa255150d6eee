//! A small schema and what is sent to it.

use std::{sync::Arc, time::Duration};

use async_graphql::{Object, Schema, SimpleObject, Subscription};
use async_trait::async_trait;
use axum::{Router, body::Body, response::Response, routing::get};
use futures::{Stream, StreamExt as _, stream};
use http::{Request, header};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use toolroom_domain::{Clock, ErrorCode};
use tower::ServiceExt as _;

use crate::http::{HttpOptions, Problem, Shell, bounded, graphiql, graphql, layered};
use crate::{
    auth::{Identify, Identity, Presented, Standing},
    error::ApiError,
    state::RequestContext,
};

pub(super) struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

/// Takes everybody for the local owner, and says whether that is meant.
pub(super) struct Trusting {
    pub(super) is_local: bool,
}

#[async_trait]
impl Identify for Trusting {
    fn is_local(&self) -> bool {
        self.is_local
    }

    async fn identify(&self, _: &Presented) -> Result<Identity, ApiError> {
        Ok(Identity::local())
    }

    async fn standing(&self, _: &RequestContext) -> Standing {
        Standing::Same
    }
}

pub(super) struct Query;

#[Object]
impl Query {
    async fn hello(&self, name: Option<String>) -> String {
        format!("hello {}", name.as_deref().unwrap_or("world"))
    }

    async fn fails(&self) -> async_graphql::Result<Option<i32>> {
        Err("it failed".into())
    }

    async fn away(&self) -> async_graphql::Result<i32> {
        use async_graphql::ErrorExtensions as _;
        Err(async_graphql::Error::new("away").extend_with(|_, e| {
            e.set("code", ErrorCode::ServiceUnavailable.as_str());
            e.set("retryAfterMs", 2_500);
        }))
    }
}

pub(super) struct Mutation;

#[Object]
impl Mutation {
    async fn change(&self) -> bool {
        true
    }
}

#[derive(SimpleObject)]
struct Tick {
    position: String,
}

pub(super) struct Live;

#[Subscription]
impl Live {
    /// Three events after `after`.
    async fn ticks(&self, after: Option<String>) -> impl Stream<Item = Tick> {
        let after: i64 = after.and_then(|after| after.parse().ok()).unwrap_or(0);
        stream::iter(after + 1..=after + 3).map(|position| Tick {
            position: position.to_string(),
        })
    }

    async fn never(&self) -> impl Stream<Item = i32> {
        stream::pending()
    }
}

/// A shell around the small schema, and a few routes of the tests' own.
pub(super) fn router_with(options: HttpOptions) -> (Router, Shell) {
    router_for(options, Arc::new(Trusting { is_local: true }))
}

/// As [`router_with`], with others than the local owner.
pub(super) fn router_for(options: HttpOptions, auth: Arc<dyn Identify>) -> (Router, Shell) {
    let shell = Shell::new(options, CancellationToken::new());
    let schema = Schema::build(Query, Mutation, Live).finish();
    let routes = Router::new()
        .merge(graphql::routes(schema, Arc::clone(&auth), shell.clone()))
        .route("/panic", get(async || -> () { panic!("a secret") }))
        .route("/slow", get(async || std::future::pending::<()>().await))
        .route("/busy", get(async || -> Problem { Problem::busy("busy") }));
    let routes = bounded(routes, &shell).merge(graphiql::routes());
    (layered(routes, &shell, auth, Arc::new(StoppedClock)), shell)
}

pub(super) fn router() -> Router {
    router_with(HttpOptions::default()).0
}

/// Bounds that are soon reached.
pub(super) fn tight() -> HttpOptions {
    let mut options = HttpOptions {
        max_body_bytes: 200,
        max_concurrent_requests: 1,
        request_timeout: Duration::from_millis(50),
        body_read_timeout: Duration::from_millis(50),
        shutdown_grace: Duration::from_secs(5),
        ..HttpOptions::default()
    };
    options.live.init_timeout = Duration::from_millis(50);
    options.live.max_subscriptions = 2;
    options
}

/// A local program's request.
pub(super) fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost:8000")
}

pub(super) fn post(body: impl Into<Body>) -> Request<Body> {
    request("POST", "/graphql")
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.into())
        .unwrap()
}

/// A POST that asks for the GraphQL media type.
pub(super) fn strict(body: &str) -> Request<Body> {
    let mut request = post(body.to_owned());
    request.headers_mut().insert(
        header::ACCEPT,
        "application/graphql-response+json".parse().unwrap(),
    );
    request
}

pub(super) fn get_path(path: &str) -> Request<Body> {
    request("GET", path).body(Body::empty()).unwrap()
}

pub(super) async fn send(router: &Router, request: Request<Body>) -> Response {
    router.clone().oneshot(request).await.unwrap()
}

pub(super) async fn text(response: Response) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(super) async fn json(response: Response) -> Value {
    serde_json::from_str(&text(response).await).unwrap()
}

pub(super) fn content_type(response: &Response) -> &str {
    header_of(response, "content-type")
}

pub(super) fn header_of<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}
