//! An answer: read within a bound, judged by its status, and taken for JSON.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use reqwest::{
    Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde_json::{Value, json};
use tokio::time::Instant;
use toolroom_domain::{
    ErrorCategory, job::Progress, limits, measure::has_too_many_values, tool::depth,
};
use url::Url;

use super::{
    Effects,
    header::{header_name, header_value},
    retry_after::retry_after,
    send::unreachable,
    unknown, worth_repeating,
};
use crate::executor::{
    error::{CallError, DETAILS_BYTES, beginning},
    journal::Journal,
    secrets::Secrets,
};

/// The largest answer that is read, after decompression: as large as a job's output may be. Read and
/// parsed it takes some times as much memory.
pub(in crate::executor) const ANSWER_BYTES: usize = limits::JOB_VALUE_BYTES;
/// How much of an error's answer is read; more than is kept, so that masking sees whole secrets.
const ERROR_BYTES: usize = 64 * 1024;
/// Bytes of a content type that is told of.
const TYPE_BYTES: usize = 100;
/// From this size on an answer is parsed on a thread where it may take its time.
pub(in crate::executor) const PARSE_INLINE_BYTES: usize = 256 * 1024;
/// Between two reports of a download: as often as an eye can follow.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// What the other side answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// What was read: all of a successful answer, the beginning of another.
    pub(crate) body: Bytes,
    /// What gave the answer, after redirects.
    pub(crate) url: Url,
    /// Whether the request may be repeated.
    pub(crate) repeatable: bool,
    pub(super) received_at: Timestamp,
    /// Where the call counts as carried out, if it must not be doubled.
    pub(super) counted: Option<Arc<Effects>>,
}

impl Answer {
    pub(super) fn new(response: &Response, url: Url, repeatable: bool) -> Self {
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            body: Bytes::new(),
            url,
            repeatable,
            received_at: Timestamp::UNIX_EPOCH,
            counted: None,
        }
    }

    /// An answer that no service gave: text is a text, all else JSON, unless `headers` say it.
    ///
    /// # Errors
    /// When it could not have come over HTTP.
    pub(crate) fn made_up(
        status: u16,
        headers: &BTreeMap<String, String>,
        body: &Value,
    ) -> Result<Self, CallError> {
        let impossible = |what: &str| CallError::invalid(format!("no answer has such a {what}"));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let header = header_name(name).zip(header_value(value));
            let (name, value) = header.ok_or_else(|| impossible("header"))?;
            map.insert(name, value);
        }
        let (bytes, content_type) = match body {
            Value::Null => (Bytes::new(), None),
            Value::String(text) => (Bytes::from(text.clone()), Some("text/plain")),
            json => (Bytes::from(json.to_string()), Some("application/json")),
        };
        if let Some(content_type) = content_type {
            let value = HeaderValue::from_static(content_type);
            map.entry(CONTENT_TYPE).or_insert(value);
        }
        Ok(Self {
            status: StatusCode::from_u16(status).map_err(|_| impossible("status"))?,
            headers: map,
            body: bytes,
            url: Url::parse("about:blank").map_err(|_| impossible("address"))?,
            repeatable: true,
            received_at: Timestamp::UNIX_EPOCH,
            counted: None,
        })
    }

    /// Reads the body.
    pub(super) async fn read(
        &mut self,
        response: Response,
        download: Download<'_>,
    ) -> Result<(), CallError> {
        let mut body = BytesMut::new();
        if !self.status.is_success() {
            // What it said is a help, not a need: an answer that breaks off is told as far as it
            // came.
            let _ = read(response, &mut body, ERROR_BYTES).await;
        } else if self.read_whole(response, &mut body, download).await? == Read::Cut {
            let mebibytes = ANSWER_BYTES / 1024 / 1024;
            return Err(CallError::too_large(format!(
                "the endpoint's answer is larger than {mebibytes} MiB"
            )));
        }
        self.body = body.freeze();
        Ok(())
    }

    async fn read_whole(
        &self,
        response: Response,
        body: &mut BytesMut,
        download: Download<'_>,
    ) -> Result<Read, CallError> {
        read_telling(response, body, ANSWER_BYTES, download)
            .await
            .map_err(|error| {
                if self.repeatable {
                    error
                } else {
                    unknown(error)
                }
            })
    }

    /// The body as text, by the charset that the answer names; UTF-8 where it names none.
    pub(crate) fn text(&self) -> String {
        self.text_or(None)
    }

    /// The body as text, by the charset that the answer names, or else by this one.
    pub(in crate::executor) fn text_or(&self, charset: Option<&str>) -> String {
        let label = self.parameter("charset").or(charset).unwrap_or_default();
        let encoding = encoding_rs::Encoding::for_label(label.as_bytes());
        let (text, _, _) = encoding.unwrap_or(encoding_rs::UTF_8).decode(&self.body);
        text.into_owned()
    }

    /// The content type without its parameters, in lower case; empty where none is named.
    pub(crate) fn content_type(&self) -> String {
        let named = self.content_type_header();
        let essence = named.split(';').next().unwrap_or_default();
        essence.trim().to_ascii_lowercase()
    }

    /// The content type as it may stand in an error's details. One that no service would give is left
    /// out: cut, it could hold the beginning of a secret, which nobody would recognise.
    pub(in crate::executor) fn told_type(&self) -> &str {
        let named = self.content_type_header();
        let essence = named.split(';').next().unwrap_or_default().trim();
        match essence.len() <= TYPE_BYTES {
            true => essence,
            false => "(too long to be told)",
        }
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let mut parameters = self.content_type_header().split(';').skip(1);
        parameters.find_map(|parameter| {
            let (key, value) = parameter.split_once('=')?;
            let is_it = key.trim().eq_ignore_ascii_case(name);
            is_it.then(|| value.trim().trim_matches('"'))
        })
    }

    fn content_type_header(&self) -> &str {
        let named = self.headers.get(CONTENT_TYPE);
        named.and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON; `null` where there is none.
    ///
    /// # Errors
    /// When it is not JSON.
    pub(crate) async fn json(self) -> Result<Value, CallError> {
        // Some services send JSON as text or as mere bytes; the parser will tell.
        let essence = self.content_type();
        let may_be_json = essence.ends_with("/json")
            || essence.ends_with("+json")
            || matches!(
                essence.as_str(),
                "" | "text/plain" | "application/octet-stream"
            );
        if !may_be_json {
            let problem = "the endpoint answered with something that is not JSON; it must answer \
                           `application/json`";
            let error = self.failed(ErrorCategory::ServerError, problem);
            return Err(error.with_details(json!({ "contentType": self.told_type() })));
        }
        self.parsed().await.map_err(|problem| {
            let message = format!("the endpoint's answer is not valid JSON: {problem}");
            self.failed(ErrorCategory::ServerError, message)
        })
    }

    /// The body as JSON, whatever its type; `null` where there is none.
    ///
    /// # Errors
    /// Why it is none, without anything of it.
    pub(crate) async fn parsed(&self) -> Result<Value, String> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        let body = self.body.clone();
        if body.len() <= PARSE_INLINE_BYTES {
            return parse(&body);
        }
        tokio::task::spawn_blocking(move || parse(&body))
            .await
            .unwrap_or_else(|_| Err("it could not be parsed".to_owned()))
    }

    /// The answer itself, if its status is one of success.
    ///
    /// # Errors
    /// What the status says, with the beginning of what was said, if it is not.
    pub(crate) fn successful(self, secrets: &Secrets) -> Result<Self, CallError> {
        if self.status.is_success() {
            return Ok(self);
        }
        let message = format!("the endpoint answered {}", self.status.as_u16());
        let category = category(self.status);
        let error = match self.status {
            // The gateway, not the endpoint, says so: the endpoint may be at it still.
            StatusCode::GATEWAY_TIMEOUT if !self.repeatable => {
                unknown(CallError::failed(category, message))
            }
            // The endpoint has not got the request.
            StatusCode::REQUEST_TIMEOUT => CallError::failed(category, message),
            _ => self.failed(category, message),
        };
        Err(error.with_details(self.said(secrets)))
    }

    /// A failure that the answer tells of. It is worth repeating if its category says so and the
    /// call may be repeated, and if the other side says when, then.
    pub(crate) fn failed(&self, category: ErrorCategory, message: impl Into<String>) -> CallError {
        CallError {
            retryable: worth_repeating(category, self.repeatable),
            retry_after: self.retry_after(),
            ..CallError::failed(category, message)
        }
    }

    /// Takes the other side at its word that it did not carry the call out, although its status
    /// does not say so: what a body such as `{"ok": false}` is for. The run may be repeated then.
    pub(crate) fn not_carried_out(&mut self) {
        if let Some(effects) = self.counted.take() {
            effects.take_back();
        }
    }

    /// For how long the other side wants to be left alone, counted from its answer.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers, self.received_at)
    }

    /// Status and beginning of the body, for an error's details.
    pub(crate) fn said(&self, secrets: &Secrets) -> Value {
        let said = secrets.mask(&self.text());
        json!({
            "status": self.status.as_u16(),
            "body": beginning(&said, DETAILS_BYTES),
        })
    }
}

fn parse(body: &[u8]) -> Result<Value, String> {
    if has_too_many_values(body) {
        return Err(format!("it holds more than {} values", limits::JSON_VALUES));
    }
    // The parser's messages name places and expectations, never what the answer holds.
    let value: Value = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    if depth(&value) > limits::JSON_DEPTH {
        return Err(format!("it nests more than {} levels", limits::JSON_DEPTH));
    }
    Ok(value)
}

fn category(status: StatusCode) -> ErrorCategory {
    match status.as_u16() {
        401 => ErrorCategory::Authentication,
        403 => ErrorCategory::Authorization,
        408 | 504 => ErrorCategory::Timeout,
        429 => ErrorCategory::RateLimit,
        400..=499 => ErrorCategory::Validation,
        500..=599 => ErrorCategory::ServerError,
        _ => ErrorCategory::Unknown,
    }
}

/// How much of an answer was read.
#[derive(PartialEq)]
pub(in crate::executor) enum Read {
    Whole,
    Cut,
}

/// Reads an answer as it is decompressed, and stops at the bound.
pub(in crate::executor) async fn read(
    response: Response,
    into: &mut BytesMut,
    bound: usize,
) -> Result<Read, CallError> {
    read_telling(response, into, bound, Download::untold()).await
}

async fn read_telling(
    mut response: Response,
    into: &mut BytesMut,
    bound: usize,
    mut download: Download<'_>,
) -> Result<Read, CallError> {
    while let Some(chunk) = response.chunk().await.map_err(|e| unreachable(&e))? {
        let room = bound - into.len();
        into.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok(Read::Cut);
        }
        download.has_read(into.len());
    }
    Ok(Read::Whole)
}

/// Tells how far a download is, at most every [`REPORT_INTERVAL`]; of a quick one nothing.
pub(super) struct Download<'a> {
    journal: Option<&'a dyn Journal>,
    total: Option<u64>,
    told_at: Instant,
}

impl<'a> Download<'a> {
    pub(super) fn of(response: &Response, journal: &'a dyn Journal) -> Self {
        // Of a packed answer, the client takes the length away: it is not that of what is read.
        let length = response.headers().get(CONTENT_LENGTH);
        let total = length.and_then(|v| v.to_str().ok()?.parse().ok());
        Self {
            journal: Some(journal),
            total: total.filter(|total| *total > 0),
            told_at: Instant::now(),
        }
    }

    fn untold() -> Self {
        Self {
            journal: None,
            total: None,
            told_at: Instant::now(),
        }
    }

    fn has_read(&mut self, bytes: usize) {
        let Some(journal) = self.journal else { return };
        if self.told_at.elapsed() < REPORT_INTERVAL {
            return;
        }
        self.told_at = Instant::now();
        let read = bytes as f64;
        let step = match self.total {
            Some(total) => format!("received {} of {}", size(read), size(total as f64)),
            None => format!("received {}", size(read)),
        };
        journal.progress(Progress {
            step: Some(step),
            percentage: self
                .total
                .map(|total| (read / total as f64 * 100.0).min(100.0)),
        });
    }
}

fn size(bytes: f64) -> String {
    if bytes < 1024.0 * 1024.0 {
        format!("{:.1} KiB", bytes / 1024.0)
    } else {
        format!("{:.1} MiB", bytes / 1024.0 / 1024.0)
    }
}
