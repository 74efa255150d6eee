//! What a letter says: written out in the input, or a template of the tool filled in.

use jiff::Timestamp;
use serde_json::Value;
use toolroom_domain::Violation;

use crate::executor::{
    CallError,
    rest::{Place, Templates, context_at},
};

/// The texts of a template.
const TEXTS: [&str; 3] = ["subject", "body", "html"];

/// Subject and texts of a letter.
pub(super) struct Words {
    pub(super) subject: String,
    pub(super) body: Option<String>,
    pub(super) html: Option<String>,
}

/// The words of an input. What it says itself wins over its template.
///
/// # Errors
/// When its template is not there, or cannot be filled in with its variables.
pub(super) fn words(
    templates: &Templates,
    config: &Value,
    input: &Value,
    now: Timestamp,
) -> Result<Words, CallError> {
    let own = |name: &str| input[name].as_str().map(str::to_owned);
    let template = match input["template"].as_str() {
        None => &Value::Null,
        Some(name) => config["templates"].get(name).ok_or_else(|| {
            let known = config["templates"].as_object().into_iter().flatten();
            let known: Vec<_> = known.map(|(name, _)| name.as_str()).collect();
            CallError::invalid(match known.as_slice() {
                [] => "`template` names a template, and the tool's config has none".to_owned(),
                known => format!("`template` must be one of {}", known.join(", ")),
            })
        })?,
    };
    let variables = &input["variables"];
    let escaped = escaped(variables);
    let filled = |name: &str, variables: &Value| {
        let source = template[name].as_str();
        let rendered =
            source.map(|source| templates.render(Place::Text, source, &context_at(variables, now)));
        rendered
            .transpose()
            .map_err(|problem| CallError::invalid(format!("the template's `{name}` {problem}")))
    };
    let subject = match own("subject") {
        Some(subject) => Some(subject),
        None => filled("subject", variables)?,
    };
    let (body, html) = match (own("body"), own("html")) {
        (None, None) => (filled("body", variables)?, filled("html", &escaped)?),
        both => both,
    };
    Ok(Words {
        subject: subject
            .ok_or_else(|| CallError::invalid("`subject` is missing, and so is `template`"))?,
        body: body.map(|text| lines(&text)),
        html: html.map(|text| lines(&text)),
    })
}

/// What is wrong with the templates of a tool's config, by their places in it.
pub(super) fn check(templates: &Templates, config: &Value) -> Vec<Violation> {
    let named = config["templates"].as_object().into_iter().flatten();
    let texts = named.flat_map(|(name, template)| {
        let texts = TEXTS.into_iter();
        texts.filter_map(move |text| Some((name, text, template[text].as_str()?)))
    });
    let problems = texts.filter_map(|(name, text, source)| {
        let problem = templates.check(source).err()?;
        Some(Violation::new(format!("templates.{name}.{text}"), problem))
    });
    problems.collect()
}

/// A text whose lines all end alike: to some mail servers a lone carriage return ends a line, to
/// others it does not, and what one of them takes for a letter's end must not be the text's to say.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// The same variables as they may stand in a page: none of them can add markup.
fn escaped(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let mut safe = String::with_capacity(text.len());
            for c in text.chars() {
                match c {
                    '&' => safe.push_str("&amp;"),
                    '<' => safe.push_str("&lt;"),
                    '>' => safe.push_str("&gt;"),
                    '"' => safe.push_str("&quot;"),
                    '\'' => safe.push_str("&#39;"),
                    c => safe.push(c),
                }
            }
            Value::String(safe)
        }
        Value::Array(items) => items.iter().map(escaped).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, field)| (name.clone(), escaped(field)))
            .collect(),
        scalar => scalar.clone(),
    }
}
