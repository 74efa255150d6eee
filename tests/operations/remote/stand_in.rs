//! A server that answers as a test says, once a request has proven to fit the schema.

use std::sync::{Arc, Mutex};

use apollo_compiler::{
    ExecutableDocument, Schema, request::coerce_variable_values, validation::Valid,
};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    response::{IntoResponse as _, Response},
    routing::post,
};
use hyper::{HeaderMap, StatusCode, header};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::Operator;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The name of its operation.
    pub operation: String,
    pub variables: Value,
    pub authorization: Option<String>,
    pub workspace: Option<String>,
}

type Answers = dyn Fn(&Seen) -> Response + Send + Sync;

/// The server. Ends when dropped.
pub struct StandIn {
    pub url: String,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    schema: Valid<Schema>,
    answers: Box<Answers>,
    seen: Mutex<Vec<Seen>>,
    misfits: Mutex<Vec<String>>,
}

impl StandIn {
    /// Answers each request with what `answers` makes of it.
    pub async fn new(answers: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            schema: schema(),
            answers: Box::new(answers),
            seen: Mutex::default(),
            misfits: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new()
            .route("/graphql", post(receive))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("serves");
        });
        Self { url, shared, task }
    }

    /// Answers each request with the data that `data` makes of it.
    pub async fn with_data(data: impl Fn(&Seen) -> Value + Send + Sync + 'static) -> Self {
        Self::new(move |seen| json(StatusCode::OK, &serde_json::json!({"data": data(seen)}))).await
    }

    /// What has come so far, which must all have fitted the schema.
    pub fn seen(&self) -> Vec<Seen> {
        let misfits = self.shared.misfits.lock().unwrap();
        assert!(misfits.is_empty(), "{}", misfits.join("\n"));
        self.shared.seen.lock().unwrap().clone()
    }

    /// The names of the operations that have come so far.
    pub fn operations(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.operation).collect()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer in JSON.
pub fn json(status: StatusCode, body: &Value) -> Response {
    let content_type = [(header::CONTENT_TYPE, "application/graphql-response+json")];
    (status, content_type, body.to_string()).into_response()
}

fn schema() -> Valid<Schema> {
    let path = "tests/snapshots/schema.graphql";
    let committed = std::fs::read_to_string(path).expect("the schema is there");
    let builder = Schema::builder().parse(&committed, path);
    let schema = builder.build().expect("the schema can be read");
    schema.validate().expect("the schema is sound")
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let body: Value = serde_json::from_slice(&body).expect("the body is JSON");
    let operation = match fitting(&shared.schema, &body) {
        Ok(operation) => operation,
        Err(misfit) => {
            shared.misfits.lock().unwrap().push(misfit);
            return StatusCode::BAD_REQUEST.into_response();
        }
    };
    assert_eq!(text("content-type").as_deref(), Some("application/json"));
    let seen = Seen {
        operation,
        variables: body["variables"].clone(),
        authorization: text("authorization"),
        workspace: text("x-workspace-id"),
    };
    shared.seen.lock().unwrap().push(seen.clone());
    (shared.answers)(&seen)
}

/// The name of the operation that is asked for, if the request fits the schema.
fn fitting(schema: &Valid<Schema>, body: &Value) -> Result<String, String> {
    let query = body["query"].as_str().ok_or("there is no query")?;
    let document = ExecutableDocument::parse_and_validate(schema, query, "query")
        .map_err(|invalid| invalid.errors.to_string())?;
    let operation = document
        .operations
        .get(None)
        .map_err(|e| format!("{e:?}"))?;
    let variables = serde_json::from_value(body["variables"].clone()).map_err(|e| e.to_string())?;
    coerce_variable_values(schema, operation, &variables).map_err(|e| format!("{e:?}"))?;
    let name = operation.name.as_ref().ok_or("the operation has no name")?;
    Ok(name.to_string())
}

impl Operator {
    /// A command of a client, which keeps its keys in the operator's folder.
    pub fn client(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = self.command(arguments);
        command.env("XDG_CONFIG_HOME", self.path("config"));
        command
    }
}
