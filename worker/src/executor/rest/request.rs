//! From a definition and an input to the request.

use reqwest::{
    Method,
    header::{ACCEPT, HeaderValue},
};
use serde_json::{Map, Value};
use toolroom_domain::{
    Violation,
    tool::{HttpMethod, ResponseFormat, RestApi, RestConfig},
};
use url::Url;

use super::{
    Surroundings, body, inputs,
    mapping::apply,
    misconfigured,
    template::{Place, Reads, Templates, context_at},
};
use crate::executor::{
    error::CallError,
    http::{Outgoing, header_name, header_value},
};

/// Bytes of a URL: what common servers accept.
const URL_BYTES: usize = 8 * 1024;

/// Builds the request, but for its credentials.
pub(super) fn build(
    around: &Surroundings<'_>,
    config: &RestConfig,
    input: &Value,
) -> Result<Outgoing, CallError> {
    let (api, templates) = (&config.api, around.templates);
    let names = context_at(input, around.wire.clock().now());
    let fill = |field: &str, place: Place, source: &str| {
        let filled = templates.render(place, source, &names);
        filled.map_err(|problem| CallError::invalid(format!("`rest.api.{field}` {problem}")))
    };
    let base = fill("base_url", Place::Url, &api.base_url)?;
    let path = api
        .path
        .as_deref()
        .map(|p| fill("path", Place::Url, p))
        .transpose()?;
    let url = join(&base, path.as_deref())?;
    let written = joined(&api.base_url, api.path.as_deref());
    let mut outgoing =
        Outgoing::new(method(api.method), url, around.wire.step()).written_as(written);
    if let Some(accepted) = api.response_format.and_then(accepted) {
        outgoing
            .headers
            .insert(ACCEPT, HeaderValue::from_static(accepted));
    }

    let params = parameters(around, config, input)?;
    let body = match &api.body {
        Some(body) => {
            let filled = templates.fill(body, &names);
            Some(filled.map_err(|problem| {
                CallError::invalid(format!("a text of `rest.api.body` {problem}"))
            })?)
        }
        None => None,
    };
    let params_are_body = body.is_none() && has_body(api.method);
    {
        let mut query = outgoing.url.query_pairs_mut();
        for (name, source) in &api.query {
            query.append_pair(name, &fill(&format!("query.{name}"), Place::Text, source)?);
        }
        for (name, value) in params.iter().filter(|_| !params_are_body) {
            append(&mut query, name, value);
        }
    }
    if outgoing.url.query() == Some("") {
        outgoing.url.set_query(None);
    }
    for (name, source) in &api.headers {
        let value = fill(&format!("headers.{name}"), Place::Text, source)?;
        let (Some(name), Some(value)) = (header_name(name), header_value(&value)) else {
            let problem = format!("`rest.api.headers.{name}` is not a header that can be sent");
            return Err(CallError::invalid(problem));
        };
        outgoing.headers.insert(name, value);
    }
    let declared = api.idempotency_header.as_deref().and_then(header_name);
    if let Some(name) = declared {
        outgoing = outgoing.with_idempotency_header(name);
    }
    let body = body.or(params_are_body.then_some(Value::Object(params)));
    Ok(match body {
        Some(body) => {
            let (content_type, bytes) = body::encode(api.body_type, &body)?;
            outgoing.with_body(content_type, bytes)
        }
        None => outgoing,
    })
}

/// Checks that a request that is complete is not too long.
pub(super) fn check_length(outgoing: &Outgoing) -> Result<(), CallError> {
    if outgoing.url.as_str().len() > URL_BYTES {
        let problem = format!("the request's URL is longer than {URL_BYTES} bytes");
        return Err(CallError::invalid(problem));
    }
    Ok(())
}

/// Sets a parameter of a query in the place of those of its name.
pub(super) fn set_query(url: &mut Url, name: &str, value: &str) {
    if url.query_pairs().any(|(there, _)| there == name) {
        let others: Vec<_> = url
            .query_pairs()
            .filter(|(there, _)| there != name)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        url.query_pairs_mut().clear().extend_pairs(others);
    }
    url.query_pairs_mut().append_pair(name, value);
}

fn accepted(format: ResponseFormat) -> Option<&'static str> {
    match format {
        ResponseFormat::Json => None,
        ResponseFormat::Xml => Some("application/xml, text/xml;q=0.9, */*;q=0.5"),
        ResponseFormat::Csv => Some("text/csv, */*;q=0.5"),
        ResponseFormat::Text => Some("text/plain, */*;q=0.5"),
    }
}

/// Every template of a call with the field that it stands in.
pub(super) fn sources(api: &RestApi) -> Vec<(String, &str)> {
    let mut sources = vec![("base_url".to_owned(), api.base_url.as_str())];
    sources.extend(api.path.as_deref().map(|path| ("path".to_owned(), path)));
    for (field, map) in [("query", &api.query), ("headers", &api.headers)] {
        sources.extend(
            map.iter()
                .map(|(k, v)| (format!("{field}.{k}"), v.as_str())),
        );
    }
    if let Some(body) = &api.body {
        texts("body".to_owned(), body, &mut sources);
    }
    sources
}

/// What all templates of a call read of the input together.
fn reads(templates: &Templates, api: &RestApi) -> Result<Reads, Vec<Violation>> {
    let (mut all, mut found) = (Reads::default(), Vec::new());
    for (field, source) in sources(api) {
        match templates.reads(source) {
            Ok(reads) => all.merge(reads),
            Err(problem) => found.push(Violation::new(field, problem)),
        }
    }
    if found.is_empty() {
        Ok(all)
    } else {
        Err(found)
    }
}

fn texts<'a>(path: String, value: &'a Value, into: &mut Vec<(String, &'a str)>) {
    match value {
        Value::String(text) => into.push((path, text)),
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                texts(format!("{path}.{i}"), item, into);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                texts(format!("{path}.{name}"), field, into);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The mapped parameters; without a mapping, the input's fields that no template has taken.
fn parameters(
    around: &Surroundings<'_>,
    config: &RestConfig,
    input: &Value,
) -> Result<Map<String, Value>, CallError> {
    let mapping = &config.mapping;
    if !mapping.input_to_params.is_empty() {
        let entries = inputs(mapping).map_err(|found| misconfigured(&found))?;
        return apply(&entries, input).map_err(|problem| {
            CallError::invalid(format!("a path of `input_to_params` {problem}"))
        });
    }
    if config.api.body.is_some() {
        return Ok(Map::new());
    }
    let taken = reads(around.templates, &config.api).map_err(|found| misconfigured(&found))?;
    let fields = input.as_object().into_iter().flatten();
    let free = fields.filter(|(name, _)| !taken.includes(name));
    Ok(free
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect())
}

fn joined(base: &str, path: Option<&str>) -> String {
    match path {
        None => base.to_owned(),
        Some(path) => format!(
            "{}/{}",
            base.trim_end_matches('/'),
            path.trim_start_matches('/')
        ),
    }
}

/// The URL of both parts. Dot segments are refused, not resolved: with them a value of `..` would
/// reach another resource than the one that the definition names.
fn join(base: &str, path: Option<&str>) -> Result<Url, CallError> {
    let text = joined(base, path);
    let place = text.split(['?', '#']).next().unwrap_or_default();
    let is_dots = |segment: &str| {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        plain == "." || plain == ".."
    };
    if place.split(['/', '\\']).any(is_dots) {
        return Err(CallError::invalid(
            "a part of the URL's path is `.` or `..`, which is not allowed",
        ));
    }
    Url::parse(&text)
        .ok()
        .filter(Url::has_host)
        .ok_or_else(|| CallError::invalid("`rest.api.base_url` and `path` do not make a URL"))
}

/// Lists repeat the parameter, nothing leaves it out, objects travel as JSON.
fn append(
    query: &mut url::form_urlencoded::Serializer<'_, url::UrlQuery<'_>>,
    name: &str,
    value: &Value,
) {
    match value {
        Value::Null => {}
        Value::String(text) => {
            query.append_pair(name, text);
        }
        Value::Array(items) if items.iter().all(|i| !i.is_array() && !i.is_object()) => {
            for item in items {
                append(query, name, item);
            }
        }
        other => {
            query.append_pair(name, &other.to_string());
        }
    }
}

/// Whether a request of this method carries a body.
pub(super) fn has_body(method: HttpMethod) -> bool {
    match method {
        HttpMethod::Post | HttpMethod::Put | HttpMethod::Patch => true,
        HttpMethod::Get | HttpMethod::Delete | HttpMethod::Head => false,
    }
}

fn method(method: HttpMethod) -> Method {
    match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Delete => Method::DELETE,
        HttpMethod::Head => Method::HEAD,
    }
}
