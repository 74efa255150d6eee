//! A service on loopback: it looks at what it is sent as the vendor would, answers in the vendor's
//! shapes, and keeps what it saw.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Request, Response},
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

/// A request, as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    /// Without its query; still percent-encoded.
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// The content type without its parameters.
    pub(super) fn content_type(&self) -> &str {
        let whole = self.header("content-type");
        whole.split(';').next().unwrap_or_default().trim()
    }

    /// The body, if it says that it is JSON and is.
    pub(super) fn json(&self) -> Option<Value> {
        let is_json = self.content_type() == "application/json";
        is_json
            .then(|| serde_json::from_slice(&self.body).ok())
            .flatten()
    }

    /// A field of a form, if the body is one.
    pub(super) fn form(&self, name: &str) -> Option<String> {
        let is_form = self.content_type() == "application/x-www-form-urlencoded";
        let mut fields = is_form.then(|| url::form_urlencoded::parse(&self.body))?;
        fields.find_map(|(key, value)| (key == name).then(|| value.into_owned()))
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// `POST /path`, which vendors go by.
    pub(super) fn place(&self) -> (&str, &str) {
        (&self.method, &self.path)
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(status: u16, body: Value) -> Self {
        Self {
            status,
            headers: vec![("content-type", "application/json; charset=utf-8".to_owned())],
            body: body.to_string().into_bytes(),
        }
    }

    pub(super) fn text(status: u16, body: &str) -> Self {
        Self {
            status,
            headers: vec![("content-type", "text/plain; charset=utf-8".to_owned())],
            body: body.as_bytes().to_vec(),
        }
    }

    pub(super) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

/// How a vendor answers.
pub(super) trait Vendor: Send + Sync + 'static {
    /// To a request on an ordinary day. `base` is where the vendor is.
    fn answer(&self, seen: &Seen, base: &str) -> Answer;

    /// To anybody who asks too often.
    fn busy(&self) -> Answer;

    /// On a bad day.
    fn broken(&self) -> Answer {
        Answer::text(503, "upstream connect error")
    }
}

/// What kind of day it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Day {
    #[default]
    Ordinary,
    Busy,
    Broken,
}

/// The service. It ends with the story.
pub(super) struct StandIn {
    /// `http://127.0.0.1:port`
    pub(super) base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    day: Arc<Mutex<Day>>,
    task: JoinHandle<()>,
}

impl StandIn {
    pub(super) async fn start(vendor: impl Vendor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (seen, day) = (
            Arc::<Mutex<Vec<Seen>>>::default(),
            Arc::<Mutex<Day>>::default(),
        );
        let (vendor, kept, today) = (Arc::new(vendor), Arc::clone(&seen), Arc::clone(&day));
        let here = base.clone();
        let handler = move |request: Request<Body>| {
            let (vendor, kept, today) =
                (Arc::clone(&vendor), Arc::clone(&kept), Arc::clone(&today));
            let here = here.clone();
            async move {
                let request = read(request).await;
                kept.lock().unwrap().push(request.clone());
                let day = *today.lock().unwrap();
                written(match day {
                    Day::Ordinary => vendor.answer(&request, &here),
                    Day::Busy => vendor.busy(),
                    Day::Broken => vendor.broken(),
                })
            }
        };
        let task = tokio::spawn(async move {
            axum::serve(listener, Router::new().fallback(handler))
                .await
                .unwrap();
        });
        Self {
            base,
            seen,
            day,
            task,
        }
    }

    pub(super) fn is_on(&self, day: Day) {
        *self.day.lock().unwrap() = day;
    }

    /// All requests so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The last one.
    pub(super) fn last(&self) -> Seen {
        self.seen().pop().expect("nothing was asked")
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(request: Request<Body>) -> Seen {
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    Seen {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect(),
        headers: head.headers,
        body: axum::body::to_bytes(body, 32 * 1024 * 1024).await.unwrap(),
    }
}

fn written(answer: Answer) -> Response<Body> {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(answer.body)).unwrap()
}
