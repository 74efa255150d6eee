//! What can be said of a file before it is used: that its templates are templates and read what
//! there is, that ids differ, that what it names exists.

use std::collections::HashSet;

use serde_json::Value;
use toolroom_domain::{Violation, connector::TEST_CONNECTION};

use super::{
    auth::Methods,
    format::{Action, Alternative, Body, ErrorEntry, File, Idempotency, Request, TextMap},
    handler::Handlers,
};
use crate::executor::rest::Templates;

/// Names that templates may read before a request.
const BEFORE: &[&str] = &[
    "input",
    "credentials",
    "config",
    "steps",
    "page",
    "DATE",
    "TIME",
    "NOW",
];
/// Names that are there after an answer, too.
const AFTER: &[&str] = &["status", "headers", "body"];

/// Looks a file through.
pub(super) struct Linter<'a> {
    templates: &'a Templates,
    methods: &'a Methods,
    handlers: &'a Handlers,
    found: Vec<Violation>,
}

/// What a text may read where it stands.
#[derive(Clone)]
struct Scope<'a> {
    file: &'a File,
    /// The input's schema; none where texts serve several actions.
    input: Option<&'a Value>,
    /// Ids of the steps before.
    steps: Vec<&'a str>,
    /// Whether there is an answer.
    after: bool,
    /// Whether items were gathered.
    items: bool,
}

impl<'a> Linter<'a> {
    pub(super) fn new(
        templates: &'a Templates,
        methods: &'a Methods,
        handlers: &'a Handlers,
    ) -> Self {
        Self {
            templates,
            methods,
            handlers,
            found: Vec::new(),
        }
    }

    /// All that is wrong, paths relative to the file.
    pub(super) fn check(mut self, file: &File) -> Vec<Violation> {
        let scope = Scope {
            file,
            input: None,
            steps: Vec::new(),
            after: false,
            items: false,
        };
        if let Some(base) = &file.base_url {
            self.template("base_url", base, &scope);
        }
        self.text_map("headers", &file.headers, &scope);
        for (i, auth) in file.auth.as_slice().iter().enumerate() {
            let place = format!("auth.{i}");
            if !self.methods.knows(&auth.method) {
                let problem = "is not a method that this server knows";
                self.refuse(&format!("{place}.method"), problem);
            }
            self.expression(&format!("{place}.when"), auth.when.as_deref(), &scope);
            for (name, value) in &auth.parameters {
                self.json(&format!("{place}.{name}"), value, &scope);
            }
        }
        self.errors("errors", &file.errors, &scope);
        self.ids(file);
        for (i, action) in file.actions.iter().enumerate() {
            let place = format!("actions.{i}");
            let scope = Scope {
                input: Some(&action.input),
                ..scope.clone()
            };
            self.errors(&format!("{place}.errors"), &action.errors, &scope);
            self.handler(&place, action.handler.as_deref());
            let idempotency = action.idempotency.as_ref();
            self.alternatives(&place, &action.requests, idempotency, &scope);
        }
        if let Some(test) = &file.test {
            self.handler("test", test.handler.as_deref());
            self.alternatives("test", &test.requests, None, &scope);
            if let Some(message) = &test.message {
                let scope = Scope {
                    after: true,
                    ..scope
                };
                self.template("test.message", message, &scope);
            }
        }
        self.found
    }

    fn refuse(&mut self, place: &str, problem: &str) {
        self.found.push(Violation::new(place, problem));
    }

    fn ids(&mut self, file: &File) {
        let prefix = |action: &Action| action.id.split('.').next().map(str::to_owned);
        let first = file.actions.first().and_then(prefix);
        let mut seen = HashSet::new();
        for (i, action) in file.actions.iter().enumerate() {
            let place = format!("actions.{i}.id");
            if !seen.insert(&action.id) {
                self.refuse(&place, "is the id of an action before it");
            }
            if prefix(action) != first {
                self.refuse(
                    &place,
                    "must have the prefix that the first action's id has",
                );
            }
            if action.id.ends_with(&format!(".{TEST_CONNECTION}")) {
                self.refuse(&place, "is the name of the connection test; choose another");
            }
        }
    }

    fn handler(&mut self, place: &str, name: Option<&str>) {
        if name.is_some_and(|name| self.handlers.get(name).is_none()) {
            let problem = "is not a handler that this server has";
            self.refuse(&format!("{place}.handler"), problem);
        }
    }

    fn alternatives(
        &mut self,
        place: &str,
        alternatives: &[Alternative],
        idempotency: Option<&Idempotency>,
        scope: &Scope<'_>,
    ) {
        for (i, alternative) in alternatives.iter().enumerate() {
            let place = format!("{place}.requests.{i}");
            self.expression(&format!("{place}.when"), alternative.when(), scope);
            let mut steps: Vec<&str> = Vec::new();
            for (n, request) in alternative.calls().iter().enumerate() {
                let within = alternative.place_of_call(n);
                let place = format!("{place}.{within}");
                let place = place.trim_end_matches('.');
                let scope = Scope {
                    steps: steps.clone(),
                    ..scope.clone()
                };
                self.request(place, request, idempotency, &scope);
                if let Some(id) = request.id.as_deref() {
                    if steps.contains(&id) {
                        self.refuse(&format!("{place}.id"), "is the id of a step before it");
                    }
                    steps.push(id);
                }
            }
        }
    }

    fn request(
        &mut self,
        place: &str,
        request: &Request,
        idempotency: Option<&Idempotency>,
        scope: &Scope<'_>,
    ) {
        let at = |field: &str| format!("{place}.{field}");
        if request.url.is_none() && scope.file.base_url.is_none() {
            self.refuse(&at("url"), "is required where there is no `base_url`");
        }
        self.expression(&at("when"), request.when.as_deref(), scope);
        for (field, text) in [
            ("method", &request.method),
            ("url", &request.url),
            ("path", &request.path),
        ] {
            if let Some(text) = text {
                self.template(&at(field), text, scope);
            }
        }
        let path = request.path.as_deref().unwrap_or_default();
        if outside_expressions(path).contains(['?', '#']) {
            self.refuse(&at("path"), "must not hold `?` or `#`; use `query`");
        }
        self.text_map(&at("query"), &request.query, scope);
        self.text_map(&at("headers"), &request.headers, scope);
        if let Some(body) = &request.body {
            self.body(&at("body"), body, scope);
        }
        let idempotency = request.idempotency.as_ref().or(idempotency);
        let has_fields = |body: &Body| body.json.is_some() || body.form.is_some();
        if matches!(idempotency, Some(Idempotency::Body(_)))
            && !request.body.as_ref().is_some_and(has_fields)
        {
            let problem = "puts the key into the body; this request has no `json` or `form`";
            self.refuse(&at("idempotency"), problem);
        }
        if let Some(Idempotency::Header(name)) = idempotency {
            self.template(&at("idempotency.header"), name, scope);
        }
        let after = Scope {
            after: true,
            ..scope.clone()
        };
        self.expression(&at("success"), request.success.as_deref(), &after);
        if let Some(pages) = &request.pages {
            self.expression(&at("pages.next"), Some(&pages.next), &after);
            self.expression(&at("pages.items"), Some(&pages.items), &after);
        }
        if let Some(output) = &request.output {
            let scope = Scope {
                items: request.pages.is_some(),
                ..after
            };
            self.json(&at("output"), output, &scope);
        }
    }

    fn body(&mut self, place: &str, body: &Body, scope: &Scope<'_>) {
        if let Some(json) = &body.json {
            self.json(&format!("{place}.json"), json, scope);
        }
        if let Some(form) = &body.form {
            self.text_map(&format!("{place}.form"), form, scope);
        }
        let texts = [
            ("text", &body.text),
            ("base64", &body.base64),
            ("content_type", &body.content_type),
        ];
        self.texts(place, &texts, scope);
        for (i, part) in body.multipart.iter().flatten().enumerate() {
            let place = format!("{place}.multipart.{i}");
            self.template(&format!("{place}.name"), &part.name, scope);
            let texts = [
                ("text", &part.text),
                ("base64", &part.base64),
                ("file_name", &part.file_name),
                ("content_type", &part.content_type),
            ];
            self.texts(&place, &texts, scope);
        }
    }

    fn texts(&mut self, place: &str, texts: &[(&str, &Option<String>)], scope: &Scope<'_>) {
        for (field, text) in texts {
            if let Some(text) = text {
                self.template(&format!("{place}.{field}"), text, scope);
            }
        }
    }

    fn errors(&mut self, place: &str, entries: &[ErrorEntry], scope: &Scope<'_>) {
        let scope = Scope {
            after: true,
            ..scope.clone()
        };
        for (i, entry) in entries.iter().enumerate() {
            let place = format!("{place}.{i}");
            self.expression(&format!("{place}.when"), Some(&entry.when), &scope);
            self.message(&format!("{place}.message"), &entry.message, &scope);
            if let Some(text) = &entry.retry_after_s {
                self.template(&format!("{place}.retry_after_s"), text, &scope);
            }
        }
    }

    /// Messages stay in the log in the clear: they see codes of the answer, and nothing that a call was
    /// given.
    fn message(&mut self, place: &str, source: &str, scope: &Scope<'_>) {
        self.template(place, source, scope);
        let names = self.templates.names(source).unwrap_or_default();
        let mut others: Vec<String> = names.into_iter().collect();
        others.retain(|name| !AFTER.contains(&name.split('.').next().unwrap_or_default()));
        others.sort();
        for name in others.iter().filter(|name| unknown(name, scope).is_none()) {
            let problem = format!(
                "reads `{name}`; a message is told in the clear, so it sees the codes in `body` and `headers`, and `status`"
            );
            self.refuse(place, &problem);
        }
    }

    fn text_map(&mut self, place: &str, map: &TextMap, scope: &Scope<'_>) {
        match map {
            TextMap::Template(text) => self.template(place, text, scope),
            TextMap::Fields(fields) => {
                for (name, value) in fields {
                    self.json(&format!("{place}.{name}"), value, scope);
                }
            }
        }
    }

    fn json(&mut self, place: &str, value: &Value, scope: &Scope<'_>) {
        match value {
            Value::String(text) => self.template(place, text, scope),
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.json(&format!("{place}.{i}"), item, scope);
                }
            }
            Value::Object(fields) => {
                for (name, field) in fields {
                    self.json(&format!("{place}.{name}"), field, scope);
                }
            }
            _ => {}
        }
    }

    fn expression(&mut self, place: &str, source: Option<&str>, scope: &Scope<'_>) {
        if let Some(source) = source {
            self.template(place, &format!("{{{{ {source} }}}}"), scope);
        }
    }

    fn template(&mut self, place: &str, source: &str, scope: &Scope<'_>) {
        if let Err(problem) = self.templates.check(source) {
            return self.refuse(place, &problem);
        }
        let Ok(names) = self.templates.names(source) else {
            return;
        };
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort();
        for name in names {
            if let Some(problem) = unknown(&name, scope) {
                self.refuse(place, &problem);
            }
        }
    }
}

/// Why a text may not read a name such as `input.city`.
fn unknown(name: &str, scope: &Scope<'_>) -> Option<String> {
    let mut parts = name.split('.');
    let (root, field) = (parts.next().unwrap_or_default(), parts.next());
    let is_there = BEFORE.contains(&root)
        || scope.after && AFTER.contains(&root)
        || scope.items && root == "items";
    if !is_there {
        return Some(format!("reads `{name}`, which is not there"));
    }
    let field = field?;
    let declared = match root {
        "credentials" => declares(Some(&scope.file.credentials), field),
        "config" => match &scope.file.config {
            Some(config) => declares(Some(config), field),
            None => false,
        },
        "input" => declares(scope.input, field),
        "steps" => scope.steps.contains(&field),
        "page" => matches!(field, "next" | "number"),
        _ => true,
    };
    (!declared).then(|| match root {
        "steps" => format!("reads `{name}`, but no step before it has that id"),
        "page" => format!("reads `{name}`; there are `page.next` and `page.number`"),
        _ => format!("reads `{name}`, which the schema of `{root}` does not declare"),
    })
}

/// Whether a schema lets a field be there; one that is open, or says it elsewhere, may.
fn declares(schema: Option<&Value>, field: &str) -> bool {
    let Some(schema) = schema else { return true };
    let is_closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    let known = schema.get("properties").and_then(|p| p.get(field));
    !is_closed || known.is_some()
}

fn outside_expressions(template: &str) -> String {
    let mut outside = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        outside.push_str(before);
        rest = after.split_once("}}").map_or("", |(_, after)| after);
    }
    outside.push_str(rest);
    outside
}
