//! Answers of other forms than JSON, as JSON.
//!
//! Each reader is bounded in size by what an answer may have, in depth as JSON is, and in the number
//! of its values; none follows a reference to anywhere.

mod csv;
mod xml;

use serde_json::{Value, json};
use toolroom_domain::{ErrorCategory, tool::ResponseFormat};

use super::{
    error::CallError,
    http::{Answer, PARSE_INLINE_BYTES},
};

/// Values of one answer: each costs some hundred bytes, so that sixteen megabytes of `<a/>` would
/// otherwise become a gigabyte.
const VALUES: usize = 200_000;

type Reader = fn(&str) -> Result<Value, String>;

/// The answer as JSON, by the declared format or else by its content type; `null` where there is
/// none.
///
/// # Errors
/// When it is not what it is declared to be, or of a form that is not understood.
pub(crate) async fn value(
    answer: Answer,
    declared: Option<ResponseFormat>,
) -> Result<Value, CallError> {
    if answer.body.is_empty() {
        return Ok(Value::Null);
    }
    let essence = answer.content_type();
    let Some(format) = declared.or_else(|| by_content_type(&essence)) else {
        let message = "the endpoint answered with something that is neither JSON, XML, CSV nor \
                       text; say in `response_format` how to read it";
        let error = answer.failed(ErrorCategory::ServerError, message);
        return Err(error.with_details(json!({ "contentType": answer.told_type() })));
    };
    let invalid = |name: &str, problem: String| {
        let message = format!("the endpoint's answer is not valid {name}: {problem}");
        answer.failed(ErrorCategory::ServerError, message)
    };
    let (name, read, text): (_, Reader, _) = match format {
        ResponseFormat::Json => {
            let parsed = answer.parsed().await;
            return parsed.map_err(|problem| invalid("JSON", problem));
        }
        ResponseFormat::Text => {
            let text = Value::String(answer.text());
            // Some services send JSON as text: where it is not declared, the parser tells.
            let parsed = match declared {
                None => answer.parsed().await.ok(),
                Some(_) => None,
            };
            return Ok(parsed.unwrap_or(text));
        }
        ResponseFormat::Xml => {
            let encoding = xml::declared_encoding(&answer.body);
            ("XML", xml::read, answer.text_or(encoding))
        }
        ResponseFormat::Csv => ("CSV", csv::read, answer.text()),
    };
    let read = if text.len() <= PARSE_INLINE_BYTES {
        read(&text)
    } else {
        tokio::task::spawn_blocking(move || read(&text))
            .await
            .unwrap_or_else(|_| Err("it could not be read".to_owned()))
    };
    read.map_err(|problem| invalid(name, problem))
}

fn by_content_type(essence: &str) -> Option<ResponseFormat> {
    match essence {
        // Bytes without a type are tried as JSON: the parser tells.
        "" | "application/octet-stream" => Some(ResponseFormat::Json),
        "text/plain" => Some(ResponseFormat::Text),
        "text/csv" | "application/csv" | "text/tab-separated-values" => Some(ResponseFormat::Csv),
        _ if essence.ends_with("/json") || essence.ends_with("+json") => Some(ResponseFormat::Json),
        _ if essence.ends_with("/xml") || essence.ends_with("+xml") => Some(ResponseFormat::Xml),
        _ => None,
    }
}

/// Counts the values of an answer.
struct Count(usize);

impl Count {
    fn add(&mut self) -> Result<(), String> {
        self.0 += 1;
        if self.0 > VALUES {
            return Err(format!("it holds more than {VALUES} values"));
        }
        Ok(())
    }
}
