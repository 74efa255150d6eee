//! A request, and by what the other side can tell it from its repetition.

use bytes::Bytes;
use reqwest::{
    Method,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde_json::Value;
use toolroom_domain::JobId;
use url::Url;

/// The header that is sent along in any case: it helps where the other side knows it, and where it
/// is not known nothing is built on it.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// One call within a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step(String);

impl Step {
    pub(crate) fn numbered(job: JobId, number: u32) -> Self {
        match number {
            1 => Self(job.to_string()),
            number => Self(format!("{job}/{number}")),
        }
    }

    pub(super) fn named(job: JobId, name: &str) -> Self {
        Self(format!("{job}/{name}"))
    }

    /// Whether it is a call of the tool itself, not one beside it such as fetching a token.
    pub(crate) fn is_numbered(&self) -> bool {
        let number = self.0.rsplit_once('/').map(|(_, number)| number);
        number.is_none_or(|number| number.bytes().all(|b| b.is_ascii_digit()))
    }

    /// The idempotency key: the same in each attempt of the job.
    pub(crate) fn key(&self) -> &str {
        &self.0
    }
}

/// A request to send.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
    /// The URL in the words of the tool's definition or the connector's file, before anything was
    /// filled in. Without it receipts tell the origin alone in the clear.
    pub(crate) written: Option<String>,
    /// Which call of the run it is.
    pub(crate) step: Step,
    /// Whether repeating it changes nothing, or the other side knows a repetition by its key.
    pub(crate) repeatable: bool,
}

impl Outgoing {
    /// A request that asks for JSON. It is safe to repeat if its method says so (RFC 9110,
    /// section 9.2.2).
    pub(crate) fn new(method: Method, url: Url, step: Step) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Ok(key) = HeaderValue::from_str(step.key()) {
            headers.insert(IDEMPOTENCY_KEY, key);
        }
        Self {
            repeatable: method.is_idempotent(),
            method,
            url,
            headers,
            body: None,
            written: None,
            step,
        }
    }

    /// The same request, whose URL is written like this before anything is filled in.
    #[must_use]
    pub(crate) fn written_as(mut self, written: impl Into<String>) -> Self {
        self.written = Some(written.into());
        self
    }

    /// The same request with its key in the header by which the other side knows repetitions.
    #[must_use]
    pub(crate) fn with_idempotency_header(mut self, name: HeaderName) -> Self {
        if let Ok(key) = HeaderValue::from_str(self.step.key()) {
            self.headers.remove(IDEMPOTENCY_KEY);
            self.headers.insert(name, key);
            self.repeatable = true;
        }
        self
    }

    /// The same request as another call of the run.
    #[must_use]
    pub(crate) fn with_step(mut self, step: Step) -> Self {
        let former = std::mem::replace(&mut self.step, step);
        if let Ok(key) = HeaderValue::from_str(self.step.key()) {
            for value in self.headers.values_mut() {
                if value.as_bytes() == former.key().as_bytes() {
                    *value = key.clone();
                }
            }
        }
        self
    }

    /// The same request, of which it is known that repeating it changes nothing.
    #[must_use]
    pub(crate) fn safe_to_repeat(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// The same request with a JSON body.
    #[must_use]
    pub(crate) fn with_json(self, body: &Value) -> Self {
        let body = Bytes::from(body.to_string());
        self.with_body(HeaderValue::from_static("application/json"), body)
    }

    /// The same request with a body; a content type that it has already stays.
    #[must_use]
    pub(crate) fn with_body(mut self, content_type: HeaderValue, body: Bytes) -> Self {
        self.body = Some(body);
        self.headers.entry(CONTENT_TYPE).or_insert(content_type);
        self
    }
}
