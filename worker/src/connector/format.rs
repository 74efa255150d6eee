//! A connector's file, as `connectors/schema.json` describes it. Texts are templates or expressions,
//! as it says there.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use toolroom_domain::{ErrorCategory, connector::ActionType};

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(rename = "$schema")]
    _schema: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) documentation: Option<String>,
    pub(super) credentials: Value,
    pub(super) config: Option<Value>,
    pub(super) base_url: Option<String>,
    #[serde(default)]
    pub(super) headers: TextMap,
    #[serde(default)]
    pub(super) auth: OneOrMany<Auth>,
    pub(super) rate_limit: Option<RateLimitFile>,
    #[serde(default)]
    pub(super) errors: Vec<ErrorEntry>,
    pub(super) actions: Vec<Action>,
    pub(super) test: Option<Test>,
    #[serde(rename = "shared")]
    _shared: Option<Map<String, Value>>,
}

/// One, or a list of them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl<T> OneOrMany<T> {
    pub(super) fn as_slice(&self) -> &[T] {
        match self {
            Self::Many(all) => all,
            Self::One(one) => std::slice::from_ref(one),
        }
    }
}

/// Names and values, or a template that gives them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum TextMap {
    Template(String),
    Fields(Map<String, Value>),
}

impl Default for TextMap {
    fn default() -> Self {
        Self::Fields(Map::new())
    }
}

/// How requests authenticate.
#[derive(Debug, Deserialize)]
pub(super) struct Auth {
    pub(super) method: String,
    pub(super) when: Option<String>,
    /// What the method needs; the schema says which method needs what.
    #[serde(flatten)]
    pub(super) parameters: Map<String, Value>,
}

/// How often the service may be called.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RateLimitFile {
    pub(super) requests: u32,
    pub(super) window_s: u32,
    #[serde(default)]
    pub(super) headers: LimitHeaders,
}

/// In which headers the service tells what is left.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitHeaders {
    pub(super) remaining: Option<String>,
    pub(super) reset_s: Option<String>,
    pub(super) reset_at: Option<String>,
    pub(super) retry_after: Option<String>,
}

/// What an error of the service means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ErrorEntry {
    pub(super) when: String,
    pub(super) category: ErrorCategory,
    pub(super) message: String,
    pub(super) retry_after_s: Option<String>,
}

/// Whether a call may be sent twice.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Idempotency {
    None,
    Natural,
    Header(String),
    Body(String),
}

/// One thing that can be done.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Action {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) action_type: ActionType,
    pub(super) input: Value,
    pub(super) output: Option<Value>,
    pub(super) idempotency: Option<Idempotency>,
    #[serde(default)]
    pub(super) harmless: bool,
    pub(super) needs: Option<String>,
    #[serde(default)]
    pub(super) errors: Vec<ErrorEntry>,
    #[serde(default)]
    pub(super) requests: Vec<Alternative>,
    pub(super) handler: Option<String>,
    pub(super) examples: Vec<Example>,
}

/// One way of doing it: several calls, or one.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Alternative {
    Steps(Steps),
    One(Box<Request>),
}

/// Several calls.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Steps {
    pub(super) when: Option<String>,
    pub(super) steps: Vec<Request>,
}

impl Alternative {
    pub(super) fn when(&self) -> Option<&str> {
        match self {
            Self::Steps(steps) => steps.when.as_deref(),
            Self::One(request) => request.when.as_deref(),
        }
    }

    pub(super) fn calls(&self) -> &[Request] {
        match self {
            Self::Steps(steps) => &steps.steps,
            Self::One(request) => std::slice::from_ref(request),
        }
    }

    /// Where its calls stand, relative to it.
    pub(super) fn place_of_call(&self, number: usize) -> String {
        match self {
            Self::Steps(_) => format!("steps.{number}."),
            Self::One(_) => String::new(),
        }
    }
}

/// One call.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    pub(super) id: Option<String>,
    pub(super) when: Option<String>,
    pub(super) method: Option<String>,
    pub(super) url: Option<String>,
    pub(super) path: Option<String>,
    #[serde(default)]
    pub(super) query: TextMap,
    #[serde(default)]
    pub(super) headers: TextMap,
    pub(super) body: Option<Body>,
    #[serde(default = "yes")]
    pub(super) auth: bool,
    pub(super) idempotency: Option<Idempotency>,
    #[serde(default)]
    pub(super) answer: AnswerForm,
    pub(super) success: Option<String>,
    pub(super) pages: Option<Pages>,
    pub(super) output: Option<Value>,
}

fn yes() -> bool {
    true
}

/// What is sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    pub(super) json: Option<Value>,
    pub(super) form: Option<TextMap>,
    pub(super) multipart: Option<Vec<Part>>,
    pub(super) text: Option<String>,
    pub(super) base64: Option<String>,
    pub(super) content_type: Option<String>,
}

/// One part of a `multipart/form-data` body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) text: Option<String>,
    pub(super) base64: Option<String>,
    pub(super) file_name: Option<String>,
    pub(super) content_type: Option<String>,
}

/// How an answer is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AnswerForm {
    #[default]
    Auto,
    Json,
    Text,
    None,
}

/// How a list goes on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pages {
    pub(super) next: String,
    pub(super) items: String,
    #[serde(default = "ten")]
    pub(super) max: u32,
}

fn ten() -> u32 {
    10
}

/// The harmless call.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Test {
    #[serde(default)]
    pub(super) requests: Vec<Alternative>,
    pub(super) handler: Option<String>,
    pub(super) message: Option<String>,
    pub(super) needs: Option<String>,
}

/// What a call could look like.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Example {
    pub(super) name: String,
    pub(super) credentials: Value,
    #[serde(default)]
    pub(super) config: Option<Value>,
    pub(super) input: Value,
    #[serde(default)]
    pub(super) answers: Vec<ExampleAnswer>,
}

/// What the service would answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExampleAnswer {
    #[serde(default = "ok")]
    pub(super) status: u16,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) body: Value,
}

fn ok() -> u16 {
    200
}
