//! Test mode: a request that is shown in the place of, or beside, what it does.

use std::sync::{Mutex, MutexGuard, PoisonError};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};
use toolroom_domain::connector::MASK;

use super::{error::CallError, http::Outgoing, secrets::Secrets};

/// What a run in test mode would send, of tools whose definition says nothing else: requests that
/// read go out (RFC 9110, section 9.2.1), the first that does not ends the run.
#[derive(Debug, Default)]
pub(crate) struct Rehearsal(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    first: Option<Value>,
    ended: bool,
}

impl Rehearsal {
    /// Takes note of a request that is about to leave.
    ///
    /// # Errors
    /// When it must not.
    pub(crate) fn meet(&self, outgoing: &Outgoing, secrets: &Secrets) -> Result<(), CallError> {
        // Fetching a token changes nothing of what the tool is about, and is no part of it.
        if !outgoing.step.is_numbered() {
            return Ok(());
        }
        let mut noted = self.noted();
        if noted.first.is_none() {
            noted.first = Some(shown(outgoing, secrets));
        }
        if outgoing.method.is_safe() {
            return Ok(());
        }
        noted.ended = true;
        Err(CallError::invalid("in test mode the request is not sent"))
    }

    /// What the run answers: that it was ended is no failure.
    ///
    /// # Errors
    /// Why it failed otherwise.
    pub(crate) fn end(&self, outcome: Result<Value, CallError>) -> Result<Value, CallError> {
        let mut noted = self.noted();
        let request = noted.first.take().unwrap_or(Value::Null);
        match outcome {
            Err(_) if noted.ended => Ok(answer(request, &[], None)),
            outcome => Ok(answer(request, &[], Some(outcome?))),
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request with its secrets masked: method, URL, headers and body.
pub(crate) fn shown(outgoing: &Outgoing, secrets: &Secrets) -> Value {
    let mut shown = Map::new();
    let mut insert = |name: &str, value: Value| shown.insert(name.to_owned(), value);
    insert("method", Value::from(outgoing.method.as_str()));
    insert("url", Value::from(outgoing.url.as_str()));
    let headers: Vec<(String, String)> = outgoing
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), header(name, value)))
        .collect();
    insert("headers", pairs(&headers));
    if let Some(bytes) = &outgoing.body {
        insert("body", body(&outgoing.headers, bytes));
    }
    let mut shown = Value::Object(shown);
    mask(secrets, &mut shown);
    shown
}

/// A header's value; of one that carries a credential at most the scheme, where it surely is one: in
/// other headers a word before a space may be a signature, or the beginning of a key.
fn header(name: &HeaderName, value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
    if !value.is_sensitive() {
        return text;
    }
    match text.split_once(' ') {
        Some((scheme @ ("Basic" | "Bearer"), _)) if name == AUTHORIZATION => {
            format!("{scheme} {MASK}")
        }
        _ => MASK.to_owned(),
    }
}

fn body(headers: &HeaderMap, bytes: &[u8]) -> Value {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let content_type = String::from_utf8_lossy(content_type.unwrap_or_default());
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.ends_with("json")
        && let Ok(json) = serde_json::from_slice(bytes)
    {
        return json;
    }
    if essence == "application/x-www-form-urlencoded" {
        let fields: Vec<_> = url::form_urlencoded::parse(bytes).into_owned().collect();
        return pairs(&fields);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => Value::from(format!("({} bytes)", bytes.len())),
    }
}

/// Names and texts as an object; a repeated name has a list.
fn pairs(pairs: &[(String, String)]) -> Value {
    let mut shown = Map::new();
    for (name, text) in pairs {
        match shown.get_mut(name) {
            None => {
                shown.insert(name.clone(), Value::from(text.as_str()));
            }
            Some(Value::Array(items)) => items.push(Value::from(text.as_str())),
            Some(first) => *first = Value::Array(vec![first.take(), Value::from(text.as_str())]),
        }
    }
    Value::Object(shown)
}

/// Masks all texts of a value.
pub(crate) fn mask(secrets: &Secrets, value: &mut Value) {
    match value {
        Value::String(text) => *text = secrets.mask(text),
        Value::Array(items) => items.iter_mut().for_each(|item| mask(secrets, item)),
        Value::Object(fields) => fields.values_mut().for_each(|field| mask(secrets, field)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The answer of a run in test mode: whether anything was sent, the request, which steps would
/// follow it, and what came of it.
pub(crate) fn answer(request: Value, later: &[String], output: Option<Value>) -> Value {
    let mut answer = Map::new();
    answer.insert("sent".to_owned(), Value::Bool(output.is_some()));
    answer.insert("request".to_owned(), request);
    if !later.is_empty() {
        answer.insert("laterSteps".to_owned(), Value::from(later));
    }
    if let Some(output) = output {
        answer.insert("output".to_owned(), output);
    }
    Value::Object(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_credential_in_a_header_only_a_scheme_is_shown() {
        for (name, value, told) in [
            ("authorization", "Bearer abc", "Bearer ***"),
            ("authorization", "Basic YTpi", "Basic ***"),
            ("authorization", "first second", "***"),
            ("authorization", "abc", "***"),
            ("x-api-key", "Bearer abc", "***"),
            ("x-api-key", "first second", "***"),
            ("webhook-signature", "v1,one v1,two", "***"),
        ] {
            let name = HeaderName::from_static(name);
            let mut sensitive = HeaderValue::from_static(value);
            sensitive.set_sensitive(true);
            assert_eq!(header(&name, &sensitive), told, "{name}: {value}");
            let plain = HeaderValue::from_static(value);
            assert_eq!(header(&name, &plain), value);
        }
    }
}
