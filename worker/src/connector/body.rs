//! A request's body, of whichever kind.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use serde_json::{Map, Value};

use super::{
    fill::{Filler, faulty},
    format::{Body, Part},
};
use crate::executor::error::CallError;

/// Bytes of one body: what a blob may be, and a little around it.
const BODY_BYTES: usize = 24 * 1024 * 1024;

/// A body, and what it is.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) bytes: Bytes,
    pub(super) content_type: String,
}

/// The body of a request, with an idempotency key at a dotted place of its fields.
///
/// # Errors
/// What cannot be filled in, naming its place in the file.
pub(super) fn build(
    filler: &Filler<'_>,
    place: &str,
    body: &Body,
    key: Option<(&str, &str)>,
) -> Result<Option<Built>, CallError> {
    let built = of_any_kind(filler, place, body, key)?;
    if built.as_ref().is_some_and(|b| b.bytes.len() > BODY_BYTES) {
        let mebibytes = BODY_BYTES / 1024 / 1024;
        return Err(CallError::too_large(format!(
            "the request's body is larger than {mebibytes} MiB"
        )));
    }
    Ok(built)
}

fn of_any_kind(
    filler: &Filler<'_>,
    place: &str,
    body: &Body,
    key: Option<(&str, &str)>,
) -> Result<Option<Built>, CallError> {
    let content_type = |default: &str| -> Result<String, CallError> {
        let Some(source) = &body.content_type else {
            return Ok(default.to_owned());
        };
        let given = filler.optional(&format!("{place}.content_type"), source)?;
        Ok(given.unwrap_or_else(|| default.to_owned()))
    };
    if let Some(json) = &body.json {
        let mut filled = filler.json(&format!("{place}.json"), json)?;
        if !filled.is_null() {
            if let Some((path, key)) = key {
                insert(&mut filled, path, key);
            }
            return Ok(Some(Built {
                bytes: filled.to_string().into(),
                content_type: content_type("application/json")?,
            }));
        }
    }
    if let Some(form) = &body.form
        && let Some(mut pairs) = filler.pairs(&format!("{place}.form"), form)?
    {
        if let Some((name, key)) = key {
            pairs.push((name.to_owned(), key.to_owned()));
        }
        return Ok(Some(Built {
            bytes: encoded(&pairs).into(),
            content_type: "application/x-www-form-urlencoded".to_owned(),
        }));
    }
    if let Some(parts) = &body.multipart {
        return multipart(filler, &format!("{place}.multipart"), parts).map(Some);
    }
    if let Some(text) = &body.text
        && let Some(text) = filler.optional(&format!("{place}.text"), text)?
    {
        return Ok(Some(Built {
            content_type: content_type("text/plain; charset=utf-8")?,
            bytes: text.into(),
        }));
    }
    if let Some(base64) = &body.base64
        && let Some(text) = filler.optional(&format!("{place}.base64"), base64)?
    {
        let bytes = decoded(&format!("{place}.base64"), &text)?;
        return Ok(Some(Built {
            content_type: content_type("application/octet-stream")?,
            bytes: bytes.into(),
        }));
    }
    Ok(None)
}

fn encoded(pairs: &[(String, String)]) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(pairs);
    form.finish()
}

fn decoded(place: &str, text: &str) -> Result<Vec<u8>, CallError> {
    let decoded = BASE64.decode(text.trim());
    decoded.map_err(|_| faulty(place, "must give base64"))
}

/// Puts a text at a dotted place, making objects on the way.
fn insert(value: &mut Value, path: &str, text: &str) {
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    let Value::Object(fields) = value else { return };
    if rest.is_empty() {
        fields.insert(name.to_owned(), Value::from(text));
    } else {
        let inner = fields
            .entry(name)
            .or_insert_with(|| Value::Object(Map::new()));
        insert(inner, rest, text);
    }
}

fn multipart(filler: &Filler<'_>, place: &str, parts: &[Part]) -> Result<Built, CallError> {
    let mut filled = Vec::with_capacity(parts.len());
    for (i, part) in parts.iter().enumerate() {
        let place = format!("{place}.{i}");
        if let Some(part) = filled_part(filler, &place, part)? {
            filled.push(part);
        }
    }
    let boundary = boundary(&filled);
    let mut bytes = Vec::new();
    for part in &filled {
        bytes.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        let mut disposition = format!("form-data; name=\"{}\"", quoted(&part.name));
        if let Some(file_name) = &part.file_name {
            disposition.push_str(&format!("; filename=\"{}\"", quoted(file_name)));
        }
        bytes.extend_from_slice(format!("Content-Disposition: {disposition}\r\n").as_bytes());
        if let Some(content_type) = &part.content_type {
            bytes.extend_from_slice(format!("Content-Type: {content_type}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&part.bytes);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok(Built {
        bytes: bytes.into(),
        content_type: format!("multipart/form-data; boundary={boundary}"),
    })
}

struct FilledPart {
    name: String,
    bytes: Vec<u8>,
    file_name: Option<String>,
    content_type: Option<String>,
}

/// One part; none where its content is null.
fn filled_part(
    filler: &Filler<'_>,
    place: &str,
    part: &Part,
) -> Result<Option<FilledPart>, CallError> {
    let optional = |field: &str, source: &Option<String>| match source {
        Some(source) => filler.optional(&format!("{place}.{field}"), source),
        None => Ok(None),
    };
    let bytes = match (
        optional("text", &part.text)?,
        optional("base64", &part.base64)?,
    ) {
        (Some(text), _) => text.into_bytes(),
        (None, Some(text)) => decoded(&format!("{place}.base64"), &text)?,
        (None, None) => return Ok(None),
    };
    let content_type = optional("content_type", &part.content_type)?;
    if content_type
        .as_ref()
        .is_some_and(|text| text.chars().any(char::is_control))
    {
        let place = format!("{place}.content_type");
        return Err(faulty(&place, "must not give control characters"));
    }
    Ok(Some(FilledPart {
        name: filler.text(&format!("{place}.name"), &part.name)?,
        bytes,
        file_name: optional("file_name", &part.file_name)?,
        content_type,
    }))
}

/// As the HTML standard says: quotes and line breaks are percent-encoded.
fn quoted(text: &str) -> String {
    text.replace('"', "%22")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A boundary that no part holds, the same for the same parts: a repeated call is the same call.
fn boundary(parts: &[FilledPart]) -> String {
    let mut number = 0_u64;
    loop {
        let boundary = format!("toolroom-{number:016x}");
        let is_within = |part: &FilledPart| {
            let wanted = boundary.as_bytes();
            part.bytes.windows(wanted.len()).any(|w| w == wanted)
        };
        if !parts.iter().any(is_within) {
            return boundary;
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{connector::fill::Names, executor::rest::Templates};

    fn built(body: Value, input: Value) -> Result<Option<Built>, CallError> {
        let body: Body = serde_json::from_value(body).unwrap();
        let (templates, mut names) = (Templates::new(), Names::default());
        names.set("input", &input);
        build(
            &Filler::new(&templates, &names),
            "body",
            &body,
            Some(("meta.key", "k1")),
        )
    }

    fn text(body: Value, input: Value) -> String {
        String::from_utf8(built(body, input).unwrap().unwrap().bytes.to_vec()).unwrap()
    }

    #[test]
    fn fields_that_come_to_null_are_left_out_and_nulls_that_were_given_stay() {
        let body = json!({"json": {
            "a": "{{ input.a }}", "b": "{{ input.b | default(none) }}", "c": null,
            "list": ["{{ input.b | default(none) }}", "x{{ input.a.n }}"],
        }});
        let sent = text(body, json!({"a": {"n": 1, "null": null}}));
        assert_eq!(
            serde_json::from_str::<Value>(&sent).unwrap(),
            json!({"a": {"n": 1, "null": null}, "c": null, "list": ["x1"], "meta": {"key": "k1"}})
        );
    }

    #[test]
    fn a_form_repeats_the_names_of_lists() {
        let body = json!({"form": {"To": "{{ input.to }}", "Media": "{{ input.media }}", "N": 1}});
        let sent = text(body, json!({"to": "+1 2", "media": ["a&b", "c"]}));
        assert_eq!(sent, "Media=a%26b&Media=c&N=1&To=%2B1+2&meta.key=k1");
    }

    #[test]
    fn of_several_kinds_the_first_that_is_not_null_is_sent() {
        let body = json!({
            "json": "{{ input.json | default(none) }}",
            "form": "{{ input.form | default(none) }}",
            "text": "{{ input.text | default(none) }}",
            "content_type": "{{ input.type | default(none) }}",
        });
        assert!(built(body.clone(), json!({})).unwrap().is_none());
        let sent = built(body.clone(), json!({"text": "hi", "type": "text/csv"}));
        let sent = sent.unwrap().unwrap();
        assert_eq!(
            (&*sent.bytes, &*sent.content_type),
            (&b"hi"[..], "text/csv")
        );
        assert_eq!(
            text(body, json!({"form": {"a": [1, 2]}})),
            "a=1&a=2&meta.key=k1"
        );
    }

    #[test]
    fn parts_of_a_form_cannot_forge_another_part() {
        let body = json!({"multipart": [
            {"name": "file", "base64": "{{ input.data }}", "file_name": "{{ input.name }}"},
            {"name": "note", "text": "{{ input.note | default(none) }}"},
        ]});
        let input = json!({
            "data": BASE64.encode(b"--toolroom-0000000000000000\r\n"),
            "name": "a\"\r\nX: y",
        });
        let sent = text(body, input);
        assert_eq!(
            sent,
            "--toolroom-0000000000000001\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"a%22%0D%0AX: y\"\r\n\r\n\
             --toolroom-0000000000000000\r\n\r\n\
             --toolroom-0000000000000001--\r\n"
        );
    }

    #[test]
    fn what_is_not_base64_is_refused_by_its_place() {
        let refused = built(json!({"base64": "{{ input.b }}"}), json!({"b": "?"})).unwrap_err();
        assert_eq!(
            refused.message,
            "the connector's `body.base64` must give base64"
        );
    }
}
