//! What an answer means: read by its content type, judged by the connector's `errors`.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value};
use toolroom_domain::ErrorCategory;

use super::{
    fill::{Filler, Names},
    format::{AnswerForm, ErrorEntry, RateLimitFile, Request},
};
use crate::executor::{
    error::{CallError, beginning},
    http::Answer,
    journal::Announced,
    secrets::Secrets,
};

/// Bytes of a message that a connector makes of an answer.
const MESSAGE_BYTES: usize = 500;
/// The longest wait that is believed.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// An answer as templates see it.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Value,
    pub(super) body: Value,
}

impl Reply {
    /// Reads an answer. What is no success is read as well as can be.
    ///
    /// # Errors
    /// When a successful answer is not what it says it is.
    pub(super) async fn of(answer: &Answer, form: AnswerForm) -> Result<Self, CallError> {
        let body = match form {
            AnswerForm::None => Value::Null,
            AnswerForm::Text => Value::from(answer.text()),
            AnswerForm::Json => Self::json(answer).await?,
            AnswerForm::Auto => {
                let essence = answer.content_type();
                if answer.body.is_empty() {
                    Value::Null
                } else if essence.ends_with("/json") || essence.ends_with("+json") {
                    Self::json(answer).await?
                } else if is_text(&essence) {
                    Value::from(answer.text())
                } else {
                    Value::from(BASE64.encode(&answer.body))
                }
            }
        };
        Ok(Self {
            status: answer.status.as_u16(),
            headers: shown_headers(&answer.headers),
            body,
        })
    }

    async fn json(answer: &Answer) -> Result<Value, CallError> {
        match answer.parsed().await {
            Ok(value) => Ok(value),
            // A gateway's page, or the beginning of something long.
            Err(_) if !answer.status.is_success() => Ok(Value::from(answer.text())),
            Err(problem) => {
                let message = format!("the service's answer is not valid JSON: {problem}");
                Err(answer.failed(ErrorCategory::ServerError, message))
            }
        }
    }
}

fn is_text(essence: &str) -> bool {
    let known = [
        "",
        "application/xml",
        "application/javascript",
        "application/x-www-form-urlencoded",
    ];
    essence.starts_with("text/") || essence.ends_with("+xml") || known.contains(&essence)
}

fn shown_headers(headers: &HeaderMap) -> Value {
    let mut shown = Map::new();
    for name in headers.keys() {
        let values = headers.get_all(name).iter();
        let values: Vec<_> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        shown.insert(name.as_str().to_owned(), Value::from(values.join(", ")));
    }
    Value::Object(shown)
}

/// Where judging takes its rules from: the action's, then the connector's.
pub(super) struct Rules<'a> {
    /// Each with the place of its list in the file.
    pub(super) errors: Vec<(String, &'a [ErrorEntry])>,
}

/// Whether a call succeeded.
///
/// # Errors
/// What the answer says, if it did not.
pub(super) fn judge(
    mut answer: Answer,
    request: &Request,
    rules: &Rules<'_>,
    (reply, filler): (&Reply, &Filler<'_>),
    secrets: &Secrets,
) -> Result<(), CallError> {
    // Answers come in more shapes than a file foresees: what cannot be asked of one does not hold.
    let holds = |source: &str| filler.holds("when", Some(source)).unwrap_or(false);
    if request.success.as_deref().is_some_and(holds) {
        return Ok(());
    }
    for (place, entries) in &rules.errors {
        let Some((i, entry)) = entries.iter().enumerate().find(|(_, e)| holds(&e.when)) else {
            continue;
        };
        if is_refusal(entry.category) {
            answer.not_carried_out();
        }
        let place = format!("{place}.{i}");
        let message = filler
            .seeing(&told_in_the_clear(reply))
            .text(&format!("{place}.message"), &entry.message)
            .unwrap_or_else(|_| format!("the service answered {}", answer.status.as_u16()));
        let message = secrets.mask(&message);
        let mut error = answer
            .failed(entry.category, beginning(&message, MESSAGE_BYTES))
            .with_details(answer.said(secrets));
        if let Some(source) = &entry.retry_after_s {
            let told = filler.value(&format!("{place}.retry_after_s"), source).ok();
            error.retry_after = told.as_ref().and_then(seconds).or(error.retry_after);
        }
        return Err(error);
    }
    match (&request.success, answer.status.is_success()) {
        (None, true) => Ok(()),
        (Some(_), true) => {
            let message = "the service's answer is not what success looks like; see `details`";
            let error = answer.failed(ErrorCategory::Unknown, message);
            Err(error.with_details(answer.said(secrets)))
        }
        (_, false) => answer.successful(secrets).map(drop),
    }
}

/// What a message may read of an answer. Messages stay in the log in the clear, and what a service
/// says of a failure repeats what it was given, so of its texts only codes are left; `details`, which
/// are sealed, hold the rest.
fn told_in_the_clear(reply: &Reply) -> Names {
    let mut names = Names::default();
    names.set("status", &Value::from(reply.status));
    names.set("headers", &codes(&reply.headers));
    names.set("body", &codes(&reply.body));
    names
}

/// What stands in the place of a text that is no code.
const UNTOLD: &str = "…";
/// Characters of a code.
const CODE_CHARS: usize = 64;
/// Digits of a code that is a number: those of services have six at most, telephone numbers ten and
/// more.
const CODE_DIGITS: usize = 8;

/// A value of which nothing is left but codes: words such as `channel_not_found` and small numbers.
fn codes(value: &Value) -> Value {
    match value {
        Value::String(text) if !is_code(text) => Value::from(UNTOLD),
        Value::Number(number) if !is_code(&number.to_string()) => Value::from(UNTOLD),
        Value::Array(items) => items.iter().map(codes).collect(),
        Value::Object(fields) => {
            let named = fields.iter().filter(|(name, _)| is_code(name));
            let fields = named.map(|(name, field)| (name.clone(), codes(field)));
            Value::Object(fields.collect())
        }
        short => short.clone(),
    }
}

fn is_code(text: &str) -> bool {
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return (1..=CODE_DIGITS).contains(&text.len());
    }
    let is_of_words = |b: u8| b.is_ascii_alphanumeric() || b"_.:,-".contains(&b);
    text.len() <= CODE_CHARS
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(is_of_words)
}

/// Whether an error of this kind says that the service turned the call away.
fn is_refusal(category: ErrorCategory) -> bool {
    match category {
        ErrorCategory::Authentication
        | ErrorCategory::Authorization
        | ErrorCategory::RateLimit
        | ErrorCategory::Validation => true,
        ErrorCategory::Network
        | ErrorCategory::Timeout
        | ErrorCategory::ServerError
        | ErrorCategory::Unknown => false,
    }
}

fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    let wait = Duration::try_from_secs_f64(seconds).ok()?;
    Some(wait.min(LONGEST_WAIT))
}

/// What the headers of an answer say of the rate limit; none where they say nothing. What is left is
/// left for the file's window at the most, where they do not say for how long.
pub(super) fn announced(
    headers: &HeaderMap,
    limit: &RateLimitFile,
    now: Timestamp,
) -> Option<Announced> {
    let names = &limit.headers;
    let text = |name: &Option<String>| -> Option<&str> {
        headers.get(name.as_deref()?)?.to_str().ok().map(str::trim)
    };
    let in_seconds = |text: &str| seconds(&Value::from(text));
    let remaining = text(&names.remaining).and_then(|text| text.parse::<f64>().ok());
    let reset_after = text(&names.reset_s)
        .and_then(in_seconds)
        .or_else(|| text(&names.reset_at).and_then(|text| until(text, now)));
    let window = Duration::from_secs(u64::from(limit.window_s));
    let reset_after = reset_after.or(remaining.map(|_| window));
    let retry_after = text(&names.retry_after).and_then(in_seconds);
    let told = Announced {
        // Not a number, and what is below zero, becomes 0.
        remaining: remaining.map(|left| left as u64),
        reset_after,
        retry_after,
    };
    (told != Announced::default()).then_some(told)
}

/// From now until a moment in seconds since 1970 or RFC 3339; nothing if it has passed.
fn until(text: &str, now: Timestamp) -> Option<Duration> {
    let at = match text.parse::<f64>() {
        Ok(seconds) => Timestamp::from_millisecond((seconds * 1000.0) as i64).ok()?,
        Err(_) => text.parse().ok()?,
    };
    let wait = Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO);
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use reqwest::header::{HeaderName, HeaderValue};

    use super::{super::format::LimitHeaders, *};

    #[test]
    fn of_what_a_service_says_only_codes_are_left() {
        let body = json!({
            "code": 21211, "status": 400, "error": "channel_not_found", "needed": "chat:write,users:read",
            "as text": "21211", "text_code": "20404", "wait": 1.5, "ok": false, "none": null,
            "message": "The 'To' number +15550001111 is not a valid phone number",
            "to": "+15550001111", "number": 15_550_001_111_u64, "digits": "15550001111", "empty": "",
            "ann@home.test": ["ann@home.test", "REQUIRED", { "at": "1 Long Street" }],
        });
        let left = json!({
            "code": 21211, "status": 400, "error": "channel_not_found", "needed": "chat:write,users:read",
            "text_code": "20404", "wait": 1.5, "ok": false, "none": null,
            "message": "…", "to": "…", "number": "…", "digits": "…", "empty": "…",
        });
        assert_eq!(codes(&body), left);
        let list = json!(["ann@home.test", "REQUIRED", { "at": "1 Long Street" }]);
        assert_eq!(codes(&list), json!(["…", "REQUIRED", { "at": "…" }]));
    }

    #[test]
    fn limits_are_read_in_each_way_in_which_services_tell_them() {
        let now: Timestamp = "2026-07-01T12:00:00Z".parse().unwrap();
        let headers: HeaderMap = [
            ("x-left", "3"),
            ("x-reset-after", "1.5"),
            ("x-reset", "1782907230"),
            ("x-reset-date", "2026-07-01T12:00:10Z"),
            ("x-garbage", "soon"),
        ]
        .into_iter()
        .map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        })
        .collect();
        let told = |remaining: &str, reset_s: &str, reset_at: &str| {
            let name = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let limit = RateLimitFile {
                requests: 10,
                window_s: 7,
                headers: LimitHeaders {
                    remaining: name(remaining),
                    reset_s: name(reset_s),
                    reset_at: name(reset_at),
                    retry_after: name(reset_s),
                },
            };
            announced(&headers, &limit, now).map(|a| (a.remaining, a.reset_after))
        };
        let after = |ms: u64| Some(Duration::from_millis(ms));
        assert_eq!(
            told("x-left", "x-reset-after", ""),
            Some((Some(3), after(1500)))
        );
        assert_eq!(
            told("x-left", "", "x-reset"),
            Some((Some(3), after(30_000)))
        );
        assert_eq!(told("x-left", "", ""), Some((Some(3), after(7_000))));
        assert_eq!(told("", "", "x-reset-date"), Some((None, after(10_000))));
        assert_eq!(told("x-garbage", "x-garbage", "x-none"), None);
    }
}
