//! What a request calls, and with which inputs.

use axum::extract::Request;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Map, Value};
use toolroom_domain::ErrorCode;

use super::procedure::{self, Procedure};
use crate::{
    http::{HttpOptions, Problem, body, fields::Fields},
    rest::{Edge, failure::Failure},
    state::RequestContext,
};

/// Calls in one batch: a page that shows a hundred things at once. Each counts as a request.
const MAX_CALLS: usize = 100;

/// What of an unknown procedure's path is repeated in an error.
const SHOWN_CHARS: usize = 64;

/// The calls of one request.
#[derive(Debug)]
pub(super) struct Calls {
    /// Whether the answer is a list, as a batch of one is.
    pub(super) is_batch: bool,
    pub(super) each: Vec<Call>,
}

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    path: String,
    method: Method,
    /// What its procedure is given; none where the client gave nothing.
    input: Option<Value>,
    /// Its place in a batch.
    index: Option<usize>,
}

impl Calls {
    /// What a request calls.
    ///
    /// # Errors
    /// What concerns none of its calls alone.
    pub(super) async fn read(
        request: Request,
        path: &str,
        options: &HttpOptions,
    ) -> Result<Self, Problem> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let is_batch = parameter(&query, "batch").is_some_and(|batch| batch == "1");
        let paths: Vec<&str> = match is_batch {
            true => path.split(',').collect(),
            false => vec![path],
        };
        if paths.len() > MAX_CALLS {
            let problem = format!("a batch may hold at most {MAX_CALLS} calls");
            return Err(Problem::malformed(problem));
        }
        must_be_of_one_kind(&paths)?;
        let method = request.method().clone();
        let sent = match method {
            Method::GET => parameter(&query, "input").map(Bytes::from),
            _ => Some(body::read_json(request, options).await?),
        };
        // A call without input has no body, and one with an empty `input` none either.
        let sent = sent.filter(|bytes| !bytes.is_empty());
        let inputs = sent.map(|bytes| body::parse(&bytes)).transpose()?;
        let mut inputs = Inputs::of(inputs, is_batch)?;
        let each = paths.iter().enumerate().map(|(index, path)| Call {
            path: (*path).to_owned(),
            method: method.clone(),
            input: inputs.take(index),
            index: is_batch.then_some(index),
        });
        Ok(Self {
            is_batch,
            each: each.collect(),
        })
    }
}

/// The first value of a parameter of the URL.
fn parameter(query: &str, name: &str) -> Option<String> {
    let mut all = url::form_urlencoded::parse(query.as_bytes());
    let found = all.find(|(given, _)| given == name);
    found.map(|(_, value)| value.into_owned())
}

/// Queries are safe to repeat and mutations are not, so no request is both.
fn must_be_of_one_kind(paths: &[&str]) -> Result<(), Problem> {
    let mut kinds = Vec::new();
    for kind in paths
        .iter()
        .filter_map(|path| Some(procedure::find(path)?.kind))
    {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    match kinds.as_slice() {
        [] | [_] => Ok(()),
        several => {
            let several: Vec<_> = several.iter().map(|kind| kind.as_str()).collect();
            let several = several.join(", ");
            let problem = format!("cannot mix procedure types in one batch: {several}");
            Err(Problem::malformed(problem))
        }
    }
}

/// The inputs of a request, by the index of their call.
enum Inputs {
    None,
    One(Value),
    ByIndex(Map<String, Value>),
}

impl Inputs {
    fn of(sent: Option<Value>, is_batch: bool) -> Result<Self, Problem> {
        match (sent, is_batch) {
            (None, _) => Ok(Self::None),
            (Some(input), false) => Ok(Self::One(input)),
            (Some(Value::Object(inputs)), true) => Ok(Self::ByIndex(inputs)),
            (Some(_), true) => Err(Problem::malformed(
                "\"input\" needs to be an object when doing a batch call",
            )),
        }
    }

    fn take(&mut self, index: usize) -> Option<Value> {
        match self {
            Self::None => None,
            Self::One(input) => Some(input.take()),
            Self::ByIndex(inputs) => inputs.remove(&index.to_string()),
        }
    }
}

impl Call {
    /// Carries the call out, as far as its sender may.
    ///
    /// # Errors
    /// Why not, ready to be told: its path is with it.
    pub(super) async fn carry_out(
        self,
        edge: &Edge,
        ctx: &RequestContext,
    ) -> Result<Value, Problem> {
        let path = self.path.clone();
        let outcome = self.called(edge, ctx).await;
        outcome.map_err(|Failure(mut problem)| {
            let shown: String = path.chars().take(SHOWN_CHARS).collect();
            problem.beside.insert("path".to_owned(), shown.into());
            problem
        })
    }

    async fn called(self, edge: &Edge, ctx: &RequestContext) -> Result<Value, Failure> {
        let Some(procedure) = procedure::find(&self.path) else {
            let shown: String = self.path.chars().take(SHOWN_CHARS).collect();
            let message = format!("no procedure found on path \"{shown}\"");
            let status = StatusCode::NOT_FOUND;
            return Err(Problem::new(status, ErrorCode::NotFound, message).into());
        };
        must_suit(&self.method, procedure)?;
        let mut ctx = ctx.clone();
        ctx.require(procedure.operation)
            .map_err(|error| Failure::of(error, &ctx))?;
        ctx.operation = Some(procedure.operation);
        // One key names one command; each call of a batch is one of its own.
        if let (Some(key), Some(index)) = (&mut ctx.idempotency_key, self.index) {
            key.push_str(&format!("/{index}"));
        }
        let input = match self.input {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(input)) => input,
            Some(_) => return Err(Problem::malformed("the input must be an object").into()),
        };
        (procedure.handler)(edge.clone(), ctx, Fields::new(input)).await
    }
}

fn must_suit(method: &Method, procedure: &Procedure) -> Result<(), Problem> {
    let (kind, wanted) = (procedure.kind.as_str(), procedure.kind.method());
    if *method == wanted {
        return Ok(());
    }
    let path = procedure.path;
    let message = format!(
        "unsupported {method}-request to {kind} procedure at path \"{path}\"; send a {wanted}"
    );
    Err(Problem::method_not_allowed(wanted, message))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use serde_json::json;

    use super::*;

    async fn read(method: &str, target: &str, body: &str) -> Result<Calls, Problem> {
        let path = target.split('?').next().unwrap().to_owned();
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/trpc/{target}"))
            .header("content-type", "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap();
        Calls::read(request, &path, &HttpOptions::default()).await
    }

    fn inputs(calls: &Calls) -> Vec<Option<Value>> {
        calls.each.iter().map(|call| call.input.clone()).collect()
    }

    #[tokio::test]
    async fn a_call_has_its_input_in_the_url_or_the_body() {
        let query = read("GET", "tools.getById?input=%7B%22id%22%3A7%7D", "").await;
        let query = query.unwrap();
        assert_eq!(inputs(&query), [Some(json!({"id": 7}))]);
        assert!(!query.is_batch);
        let mutation = read("POST", "tools.delete", r#"{"id":7}"#).await.unwrap();
        assert_eq!(inputs(&mutation), [Some(json!({"id": 7}))]);
        for target in ["tools.getAll", "tools.getAll?input="] {
            assert_eq!(inputs(&read("GET", target, "").await.unwrap()), [None]);
        }
        assert_eq!(
            inputs(&read("POST", "tools.delete", "").await.unwrap()),
            [None]
        );
    }

    #[tokio::test]
    async fn a_batch_has_its_inputs_by_index() {
        let target = "tools.getAll,tools.getById?batch=1&input=%7B%221%22%3A%7B%22id%22%3A7%7D%7D";
        let batch = read("GET", target, "").await.unwrap();
        assert!(batch.is_batch);
        assert_eq!(inputs(&batch), [None, Some(json!({"id": 7}))]);
        let one = read("POST", "tools.delete?batch=1", r#"{"0":{"id":7}}"#).await;
        let one = one.unwrap();
        assert!(one.is_batch, "a batch of one is answered with a list");
        assert_eq!(inputs(&one), [Some(json!({"id": 7}))]);
    }

    #[tokio::test]
    async fn what_concerns_the_whole_request_refuses_it() {
        let many = vec!["tools.getAll"; MAX_CALLS + 1].join(",");
        for (method, target, body) in [
            ("GET", "tools.getAll?input=%7B", ""),
            ("POST", "tools.delete", "{"),
            ("POST", "tools.delete?batch=1", "[]"),
            ("GET", "tools.getAll,tools.delete?batch=1", ""),
            ("GET", &format!("{many}?batch=1"), ""),
        ] {
            let problem = read(method, target, body).await.unwrap_err();
            assert_eq!(problem.status, StatusCode::BAD_REQUEST, "{target}");
        }
    }
}
