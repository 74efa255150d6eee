//! Bodies of other forms than JSON.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use serde_json::{Map, Value};
use toolroom_domain::{Violation, tool::BodyType, tool::RestApi};

use super::request::has_body;
use crate::executor::{error::CallError, http::header_value};

/// A field of a multipart body that is a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    filename: String,
    content: String,
    content_type: Option<String>,
    #[serde(default)]
    encoding: Encoding,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Encoding {
    #[default]
    Text,
    Base64,
}

/// Checks that the body that a definition gives suits its type.
pub(super) fn check(api: &RestApi) -> Option<Violation> {
    let problem = match (api.body_type, &api.body) {
        (BodyType::Text, Some(Value::String(_))) | (BodyType::Json, _) => return None,
        (BodyType::Text, _) => "must be a text, as `body_type` says",
        (_, Some(Value::Object(_))) => return None,
        (_, None) if has_body(api.method) => return None,
        (_, None) => "is required: parameters of this method are the query",
        (_, Some(_)) => "must be an object, as `body_type` says",
    };
    Some(Violation::new("body", problem))
}

/// A body with its content type.
pub(super) fn encode(kind: BodyType, body: &Value) -> Result<(HeaderValue, Bytes), CallError> {
    let fields = || match body {
        Value::Object(fields) => Ok(fields),
        _ => Err(CallError::invalid(
            "`rest.api.body` must give an object, as `body_type` says",
        )),
    };
    match kind {
        BodyType::Json => {
            let json = HeaderValue::from_static("application/json");
            Ok((json, body.to_string().into()))
        }
        BodyType::Text => {
            let text = body
                .as_str()
                .map_or_else(|| body.to_string(), str::to_owned);
            let plain = HeaderValue::from_static("text/plain; charset=utf-8");
            Ok((plain, text.into()))
        }
        BodyType::Form => {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            for (name, value) in texts(fields()?)? {
                form.append_pair(name, &value);
            }
            let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
            Ok((kind, form.finish().into()))
        }
        BodyType::Multipart => multipart(fields()?),
    }
}

/// The fields as texts: a list repeats its name, nothing leaves it out.
fn texts(fields: &Map<String, Value>) -> Result<Vec<(&str, String)>, CallError> {
    let mut texts = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        let items = match value {
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        for item in items {
            if let Some(text) = text(name, item)? {
                texts.push((name.as_str(), text));
            }
        }
    }
    Ok(texts)
}

fn text(name: &str, value: &Value) -> Result<Option<String>, CallError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Bool(_) | Value::Number(_) => Ok(Some(value.to_string())),
        Value::Array(_) | Value::Object(_) => {
            Err(unfit(name, "must be a text, a number or a list of them"))
        }
    }
}

fn unfit(name: &str, problem: &str) -> CallError {
    let message = format!("a field of `rest.api.body` {problem}; see `details`");
    CallError::invalid(message).about(name)
}

/// One part: its headers and content.
fn multipart(fields: &Map<String, Value>) -> Result<(HeaderValue, Bytes), CallError> {
    let mut parts = Vec::new();
    for (name, value) in fields {
        let items = match value {
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        for item in items {
            parts.extend(part(name, item)?);
        }
    }
    // A digest of the parts lies in none of them, and the same request gets the same boundary: its
    // own digest tells whether it is the same.
    let digest = digest(&SHA256, &parts.concat());
    let boundary = URL_SAFE_NO_PAD.encode(&digest.as_ref()[..24]);
    let mut body = Vec::with_capacity(parts.iter().map(|part| part.len() + 64).sum());
    for part in parts {
        body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        body.extend_from_slice(&part);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let content_type = format!("multipart/form-data; boundary={boundary}");
    let content_type = header_value(&content_type)
        .ok_or_else(|| CallError::invalid("the multipart body could not be formed"))?;
    Ok((content_type, body.into()))
}

fn part(name: &str, value: &Value) -> Result<Option<Vec<u8>>, CallError> {
    let disposition = format!("Content-Disposition: form-data; name=\"{}\"", quoted(name));
    if !value.is_object() {
        let text = text(name, value)?;
        return Ok(text.map(|text| format!("{disposition}\r\n\r\n{text}").into_bytes()));
    }
    // The deserialiser's messages repeat values.
    let file = File::deserialize(value).map_err(|_| {
        unfit(
            name,
            "must be a file: {\"filename\", \"content\", \"content_type\", \"encoding\"}",
        )
    })?;
    let content_type = file.content_type.as_deref();
    let content_type = content_type.unwrap_or("application/octet-stream");
    if header_value(content_type).is_none() {
        return Err(unfit(name, "has a `content_type` that is none"));
    }
    let filename = quoted(&file.filename);
    let head =
        format!("{disposition}; filename=\"{filename}\"\r\nContent-Type: {content_type}\r\n\r\n");
    let mut part = head.into_bytes();
    match file.encoding {
        Encoding::Text => part.extend_from_slice(file.content.as_bytes()),
        Encoding::Base64 => {
            let content = BASE64.decode(file.content.trim());
            let problem = "says that its content is base64, which it is not";
            part.extend(content.map_err(|_| unfit(name, problem))?);
        }
    }
    Ok(Some(part))
}

/// A name within quotes, as browsers write it (WHATWG, multipart/form-data).
fn quoted(name: &str) -> String {
    name.replace('"', "%22")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn encoded(kind: BodyType, body: Value) -> (String, String) {
        let (content_type, body) = encode(kind, &body).unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        (content_type.to_str().unwrap().to_owned(), body)
    }

    #[test]
    fn a_form_repeats_lists_and_leaves_nothing_out_but_null() {
        let body = json!({"a b": "c&d=é", "list": [1, true], "none": null, "empty": ""});
        assert_eq!(
            encoded(BodyType::Form, body),
            (
                "application/x-www-form-urlencoded".to_owned(),
                "a+b=c%26d%3D%C3%A9&empty=&list=1&list=true".to_owned()
            )
        );
        for unfit in [
            json!({"a": {"b": 1}}),
            json!([1]),
            json!("a=b"),
            json!({"a": [[1]]}),
        ] {
            assert!(encode(BodyType::Form, &unfit).is_err(), "{unfit}");
        }
        // Without a `body`, the names are the input's.
        let named = json!({"ann@home.test": {"b": 1}});
        let error = encode(BodyType::Form, &named).unwrap_err();
        assert!(!error.message.contains("ann@"), "{error}");
        assert_eq!(error.details, Some(json!({"name": "ann@home.test"})));
    }

    #[test]
    fn parts_are_texts_and_files() {
        let body = json!({
            "note": "hé",
            "f\"\r\n": {"filename": "a\"b.bin", "content": "AAEC", "encoding": "base64"},
        });
        let (content_type, bytes) = encode(BodyType::Multipart, &body).unwrap();
        let boundary = content_type
            .to_str()
            .unwrap()
            .split_once("boundary=")
            .unwrap()
            .1;
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let expected = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"f%22%0D%0A\"; \
             filename=\"a%22b.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n\u{0}\u{1}\u{2}\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhé\r\n--{boundary}--\r\n"
        );
        assert_eq!(text, expected);
        assert_eq!(encode(BodyType::Multipart, &body).unwrap().1, bytes);
    }

    #[test]
    fn a_file_that_is_none_is_refused_without_its_content() {
        for file in [
            json!({"filename": "a", "content": "hunter2", "encoding": "base64"}),
            json!({"filename": "a", "content": "x", "content_type": "a\r\nhunter2: 1"}),
            json!({"filename": "a", "content": ["hunter2"]}),
            json!({"filename": "a", "content": "x", "hunter2": 1}),
            json!({"content": "hunter2"}),
        ] {
            let error = encode(BodyType::Multipart, &json!({ "f": file })).unwrap_err();
            assert!(!error.message.contains("hunter2"), "{error}");
            assert_eq!(error.details, Some(json!({"name": "f"})));
        }
    }

    #[test]
    fn a_text_is_sent_as_it_is() {
        let (content_type, body) = encoded(BodyType::Text, json!("<a/>"));
        assert_eq!(
            (content_type.as_str(), body.as_str()),
            ("text/plain; charset=utf-8", "<a/>")
        );
    }
}
