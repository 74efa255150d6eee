//! How much work it is to validate a value, estimated from above before it is begun.
//!
//! References let a schema of a kilobyte ask for 2⁶⁰ steps (`allOf` of twice the same, again and
//! again), and a running validation cannot be stopped.

use std::collections::HashMap;

use serde_json::{Map, Value};
use toolroom_domain::Violation;

use crate::executor::error::VIOLATIONS;

/// Subschemas that may be applied to one value, counting each time: under a second.
const STEPS: usize = 1_000_000;
/// References and applicators within each other, without getting deeper into the value or with:
/// the validator recurses as deeply, on a stack of 2 MiB.
const NESTING: usize = 400;
/// Patterns of one schema; each may take some megabytes when it is compiled.
const PATTERNS: usize = 50;
/// What a reference out of the schema, to a known meta-schema, counts as.
const FOREIGN_STEPS: usize = 1_000;

const ONE: &[&str] = &["not", "if", "then", "else"];
const LISTS: &[&str] = &["allOf", "anyOf", "oneOf"];
const REFERENCES: &[&str] = &["$ref", "$dynamicRef", "$recursiveRef"];
const NAMED: &[&str] = &["dependentSchemas", "dependencies"];
const EVERY_FIELD: &[&str] = &[
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
];
const EVERY_ITEM: &[&str] = &["items", "additionalItems", "unevaluatedItems", "contains"];

/// Keywords whose values are data, whatever they look like.
const DATA: &[&str] = &["const", "default", "enum", "example", "examples"];
/// What references to the known meta-schemas begin with.
const META: &[&str] = &["http://json-schema.org/", "https://json-schema.org/"];

/// What estimating takes.
#[derive(Debug)]
pub(super) struct Cost {
    root: Value,
    /// Where `$anchor` and its like lead, as JSON Pointers.
    anchors: HashMap<String, String>,
    /// How many subschemas there are at most, if none refers to another.
    subschemas: Option<usize>,
    /// How many patterns there are.
    pub(super) patterns: usize,
}

impl Cost {
    /// Surveys a schema.
    ///
    /// # Errors
    /// Where it refers to what cannot be followed: then nothing can be estimated.
    pub(super) fn of(schema: &Value) -> Result<Self, Vec<Violation>> {
        let mut survey = Survey::default();
        survey.visit(schema, &mut Vec::new());
        let cost = Self {
            root: schema.clone(),
            anchors: survey.anchors,
            subschemas: survey.references.is_empty().then_some(survey.count),
            patterns: survey.patterns,
        };
        if survey.patterns > PATTERNS {
            let problem = format!("must hold at most {PATTERNS} patterns");
            survey.found.push(Violation::new("", problem));
        }
        let lost = survey.references.iter().filter(|(_, reference)| {
            !META.iter().any(|m| reference.starts_with(m)) && cost.target(reference).is_none()
        });
        survey.found.extend(lost.map(|(path, _)| {
            let problem = "must lead to a place within the schema, such as #/$defs/name; \
                           nothing is fetched";
            Violation::new(path, problem)
        }));
        if survey.found.is_empty() {
            Ok(cost)
        } else {
            survey.found.truncate(VIOLATIONS);
            Err(survey.found)
        }
    }

    /// Whether a value may be validated.
    ///
    /// # Errors
    /// The violation that tells that it is too much work.
    pub(super) fn check(&self, value: &Value) -> Result<(), Violation> {
        if let Some(subschemas) = self.subschemas
            && subschemas.saturating_mul(nodes(value)) <= STEPS
        {
            return Ok(());
        }
        let mut left = STEPS;
        self.walk(&self.root, value, &mut left, 0)
            .ok_or_else(|| Violation::new("", "is too much work to check against its schema"))
    }

    /// Takes the steps of applying `schema` to `value` off what is left.
    fn walk(&self, schema: &Value, value: &Value, left: &mut usize, nesting: usize) -> Option<()> {
        *left = left.checked_sub(1)?;
        if nesting > NESTING {
            return None;
        }
        let Value::Object(keywords) = schema else {
            return Some(());
        };
        let mut apply = |schema: &Value, value: &Value| self.walk(schema, value, left, nesting + 1);
        for reference in REFERENCES.iter().filter_map(|k| keywords.get(*k)?.as_str()) {
            match self.target(reference) {
                Some(target) => apply(target, value)?,
                None => (0..FOREIGN_STEPS).try_for_each(|_| apply(&Value::Null, value))?,
            }
        }
        for inner in ONE.iter().filter_map(|k| keywords.get(*k)) {
            apply(inner, value)?;
        }
        for inner in LISTS
            .iter()
            .filter_map(|k| keywords.get(*k)?.as_array())
            .flatten()
        {
            apply(inner, value)?;
        }
        for inner in NAMED.iter().filter_map(|k| keywords.get(*k)?.as_object()) {
            inner.values().try_for_each(|inner| apply(inner, value))?;
        }
        match value {
            Value::Object(fields) => apply_to_fields(keywords, fields, apply),
            Value::Array(items) => apply_to_items(keywords, items, apply),
            _ => Some(()),
        }
    }

    fn target(&self, reference: &str) -> Option<&Value> {
        let root_id = self.root.get("$id").or_else(|| self.root.get("id"));
        let root_id = root_id.and_then(Value::as_str).unwrap_or_default();
        let local = reference
            .strip_prefix(root_id.trim_end_matches('#'))
            .filter(|rest| rest.is_empty() || rest.starts_with('#'))
            .unwrap_or(reference);
        if local.is_empty() {
            return Some(&self.root);
        }
        if let Some(pointer) = self.anchors.get(local) {
            return self.root.pointer(pointer);
        }
        let fragment = percent_encoding::percent_decode_str(local.strip_prefix('#')?);
        self.root.pointer(&fragment.decode_utf8().ok()?)
    }
}

fn apply_to_fields(
    keywords: &Map<String, Value>,
    fields: &Map<String, Value>,
    mut apply: impl FnMut(&Value, &Value) -> Option<()>,
) -> Option<()> {
    for (name, inner) in object(keywords, "properties") {
        if let Some(value) = fields.get(name) {
            apply(inner, value)?;
        }
    }
    let patterns = object(keywords, "patternProperties").map(|(_, inner)| inner);
    let others = EVERY_FIELD.iter().filter_map(|k| keywords.get(*k));
    for inner in patterns.chain(others) {
        fields.values().try_for_each(|value| apply(inner, value))?;
    }
    Some(())
}

fn apply_to_items(
    keywords: &Map<String, Value>,
    items: &[Value],
    mut apply: impl FnMut(&Value, &Value) -> Option<()>,
) -> Option<()> {
    let lists = ["prefixItems", "items"];
    for list in lists.iter().filter_map(|k| keywords.get(*k)?.as_array()) {
        list.iter()
            .zip(items)
            .try_for_each(|(inner, value)| apply(inner, value))?;
    }
    for inner in EVERY_ITEM.iter().filter_map(|k| keywords.get(*k)) {
        items.iter().try_for_each(|value| apply(inner, value))?;
    }
    Some(())
}

fn object<'a>(
    keywords: &'a Map<String, Value>,
    name: &str,
) -> impl Iterator<Item = (&'a String, &'a Value)> {
    keywords
        .get(name)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

/// What is seen of a schema in one walk over it.
#[derive(Default)]
struct Survey {
    /// All that may be a subschema.
    count: usize,
    anchors: HashMap<String, String>,
    /// Where each reference stands, and what it says.
    references: Vec<(String, String)>,
    patterns: usize,
    found: Vec<Violation>,
}

impl Survey {
    fn visit(&mut self, schema: &Value, path: &mut Vec<String>) {
        self.count += 1;
        match schema {
            Value::Object(keywords) => {
                self.note(keywords, path);
                for (key, inner) in keywords {
                    // Below `properties` and its like, keys are names and no keywords.
                    if !DATA.contains(&key.as_str()) || inner.is_object() {
                        path.push(key.clone());
                        self.visit(inner, path);
                        path.pop();
                    }
                }
            }
            Value::Array(items) => {
                for (i, inner) in items.iter().enumerate() {
                    path.push(i.to_string());
                    self.visit(inner, path);
                    path.pop();
                }
            }
            _ => {}
        }
    }

    fn note(&mut self, keywords: &Map<String, Value>, path: &[String]) {
        let text = |key: &str| keywords.get(key).and_then(Value::as_str);
        let at = |key: &str| {
            let steps = path.iter().map(String::as_str).chain([key]);
            steps.collect::<Vec<_>>().join(".")
        };
        for key in REFERENCES {
            if let Some(reference) = text(key) {
                self.references.push((at(key), reference.to_owned()));
            }
        }
        let named = keywords.get("patternProperties").and_then(Value::as_object);
        self.patterns += named.map_or(0, Map::len) + usize::from(text("pattern").is_some());
        // Before draft 2019-09 an `$id` of a mere fragment was an anchor.
        let old = text("$id").filter(|id| id.len() > 1 && id.starts_with('#'));
        if !path.is_empty() && text("$id").is_some() && old.is_none() {
            let problem = "must stand at the root only; use `$defs` and `$ref`";
            self.found.push(Violation::new(at("$id"), problem));
        }
        let names = [text("$anchor"), text("$dynamicAnchor")]
            .into_iter()
            .flatten();
        let names = names.map(|n| format!("#{n}")).chain(old.map(str::to_owned));
        for name in names.collect::<Vec<_>>() {
            if self.anchors.insert(name, pointer(path)).is_some() {
                let problem = "holds a subschema whose anchor another one has too";
                self.found.push(Violation::new(path.join("."), problem));
            }
        }
    }
}

fn pointer(path: &[String]) -> String {
    path.iter()
        .map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1")))
        .collect()
}

fn nodes(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(nodes).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(nodes).sum::<usize>(),
        _ => 1,
    }
}
