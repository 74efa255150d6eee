//! Whether a definition's call can be made.

use serde_json::Value;
use toolroom_domain::{
    Violation,
    tool::{Definition, RestApi, RestConfig},
};
use url::Url;

use super::{Templates, auth, body, inputs, outputs, pages, placeholder, request};
use crate::executor::http;

/// Checks what a definition says of its call.
pub(in crate::executor) fn check(
    templates: &Templates,
    config: &RestConfig,
    definition: &Definition,
) -> Vec<Violation> {
    let api = &config.api;
    let mut found = check_templates(templates, api, &definition.input_schema);
    found.extend(check_url(api));
    for name in api.headers.keys() {
        if http::header_name(name).is_none() {
            let problem = "is not a header that a tool may set";
            found.push(Violation::new(format!("headers.{name}"), problem));
        }
    }
    if let Some(problem) = http::idempotency_problem(api.idempotency_header.as_deref()) {
        found.push(Violation::new("idempotency_header", problem));
    }
    if let Some(auth) = &api.auth {
        found.extend(auth::check(auth).into_iter().map(|v| v.under("auth")));
    }
    found.extend(body::check(api));
    found.extend(pages::check(api));
    let mut found: Vec<_> = found.into_iter().map(|v| v.under("api")).collect();
    found.extend(inputs(&config.mapping).err().unwrap_or_default());
    let output_schema = definition.output_schema.as_ref();
    let outputs = outputs(&config.mapping, output_schema);
    found.extend(outputs.err().unwrap_or_default());
    found.into_iter().map(|v| v.under("rest")).collect()
}

fn check_templates(templates: &Templates, api: &RestApi, input_schema: &Value) -> Vec<Violation> {
    let is_input = |name: &str| {
        let properties = input_schema.get("properties");
        properties.is_some_and(|properties| properties.get(name).is_some())
    };
    let sources = request::sources(api).into_iter();
    let problems = sources.filter_map(|(field, source)| {
        let problem = match (templates.check(source), placeholder::single_braces(source)) {
            (Err(problem), _) => problem,
            // Elsewhere single braces may be meant: JSON in a header, a filter in a query.
            (Ok(_), Some(name)) if field == "base_url" || field == "path" || is_input(name) => {
                format!("holds `{{{name}}}`, which is no template; write `{{{{ {name} }}}}`")
            }
            (Ok(_), _) if field.starts_with("headers.") || field.starts_with("query.") => {
                let name = placeholder::secret(source)?;
                format!("holds `${{{name}}}`; a secret goes into `auth`, as its `secret_ref`")
            }
            (Ok(_), _) => return None,
        };
        Some(Violation::new(field, problem))
    });
    problems.collect()
}

fn check_url(api: &RestApi) -> Option<Violation> {
    if api.base_url.contains("{{") {
        return None;
    }
    let problem = match Url::parse(&api.base_url) {
        Err(_) => "is not a URL",
        Ok(url) if api.path.is_some() && (url.query(), url.fragment()) != (None, None) => {
            "must not hold `?` or `#` where `path` is given"
        }
        Ok(_) => return None,
    };
    Some(Violation::new("base_url", problem))
}
