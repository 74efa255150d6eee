//! Filling the templates of a connector's file in.

use std::collections::BTreeMap;

use jiff::Timestamp;
use minijinja::value::Serde;
use serde_json::{Map, Value};

use super::format::TextMap;
use crate::executor::{
    error::CallError,
    rest::{Context, Place, Templates, time_names},
};

/// What templates and expressions see: `input`, `credentials`, `steps` and so on.
#[derive(Clone, Default)]
pub(super) struct Names(BTreeMap<&'static str, minijinja::Value>);

impl Names {
    /// The same names and one more, or another value of a name that is there.
    pub(super) fn set(&mut self, name: &'static str, value: &Value) {
        self.0.insert(name, minijinja::Value::from(Serde(value)));
    }

    /// `DATE`, `TIME` and `NOW`, in UTC.
    pub(super) fn moment(&mut self, now: Timestamp) {
        for (name, value) in time_names(now) {
            self.set(name, &Value::from(value));
        }
    }

    fn context(&self) -> Context {
        Context::of(minijinja::Value::from_pairs(self.0.clone()))
    }
}

/// Fills in what one call's templates see.
pub(super) struct Filler<'a> {
    templates: &'a Templates,
    context: Context,
}

impl<'a> Filler<'a> {
    pub(super) fn new(templates: &'a Templates, names: &Names) -> Self {
        Self {
            templates,
            context: names.context(),
        }
    }

    /// The same, of a call that sees other names.
    pub(super) fn seeing(&self, names: &Names) -> Self {
        Self::new(self.templates, names)
    }

    /// A template as text.
    ///
    /// # Errors
    /// What is wrong, naming the place in the file and no value.
    pub(super) fn text(&self, place: &str, source: &str) -> Result<String, CallError> {
        let filled = self.templates.render(Place::Text, source, &self.context);
        filled.map_err(|problem| faulty(place, &problem))
    }

    /// A template as part of a URL: values in it are percent-encoded.
    pub(super) fn url_part(&self, place: &str, source: &str) -> Result<String, CallError> {
        let filled = self.templates.render(Place::Url, source, &self.context);
        filled.map_err(|problem| faulty(place, &problem))
    }

    /// A template as text, or none where it is one expression that gives null.
    pub(super) fn optional(&self, place: &str, source: &str) -> Result<Option<String>, CallError> {
        match self.value(place, source)? {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text)),
            other => Ok(Some(other.to_string())),
        }
    }

    /// A template as a value: one expression keeps its type.
    pub(super) fn value(&self, place: &str, source: &str) -> Result<Value, CallError> {
        let filled = self.templates.value(source, &self.context);
        filled.map_err(|problem| faulty(place, &problem))
    }

    /// A bare expression.
    pub(super) fn expression(&self, place: &str, source: &str) -> Result<Value, CallError> {
        let given = self.templates.expression(source, &self.context);
        given.map_err(|problem| faulty(place, &problem))
    }

    /// Whether an expression holds; without one, yes.
    pub(super) fn holds(&self, place: &str, source: Option<&str>) -> Result<bool, CallError> {
        let Some(source) = source else {
            return Ok(true);
        };
        let held = self.templates.holds(source, &self.context);
        held.map_err(|problem| faulty(place, &problem))
    }

    /// All templates within a JSON value. Fields and items whose template gives null are left out;
    /// nulls that the file or a value itself holds stay.
    pub(super) fn json(&self, place: &str, value: &Value) -> Result<Value, CallError> {
        Ok(self.kept(place, value)?.unwrap_or(Value::Null))
    }

    fn kept(&self, place: &str, value: &Value) -> Result<Option<Value>, CallError> {
        Ok(Some(match value {
            Value::String(source) => match self.value(place, source)? {
                Value::Null => return Ok(None),
                filled => filled,
            },
            Value::Array(items) => {
                let mut kept = Vec::with_capacity(items.len());
                for (i, item) in items.iter().enumerate() {
                    kept.extend(self.kept(&format!("{place}.{i}"), item)?);
                }
                Value::Array(kept)
            }
            Value::Object(fields) => {
                let mut kept = Map::with_capacity(fields.len());
                for (name, field) in fields {
                    if let Some(field) = self.kept(&format!("{place}.{name}"), field)? {
                        kept.insert(name.clone(), field);
                    }
                }
                Value::Object(kept)
            }
            scalar => scalar.clone(),
        }))
    }

    /// Names and values, a name with a list repeated. None where one template gives them, and
    /// gives null.
    pub(super) fn pairs(
        &self,
        place: &str,
        map: &TextMap,
    ) -> Result<Option<Vec<(String, String)>>, CallError> {
        let filled = match map {
            TextMap::Template(source) => self.value(place, source)?,
            TextMap::Fields(fields) => self.json(place, &Value::Object(fields.clone()))?,
        };
        let fields = match filled {
            Value::Null => return Ok(None),
            Value::Object(fields) => fields,
            _ => return Err(faulty(place, "must give an object")),
        };
        let mut pairs = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            let items = match value {
                Value::Array(items) => items,
                one => vec![one],
            };
            for item in items {
                let text = match item {
                    Value::Null => continue,
                    Value::String(text) => text,
                    Value::Bool(_) | Value::Number(_) => item.to_string(),
                    Value::Array(_) | Value::Object(_) => {
                        let problem = "must give texts, numbers or lists of them; see `details`";
                        return Err(faulty(place, problem).about(&name));
                    }
                };
                pairs.push((name.clone(), text));
            }
        }
        Ok(Some(pairs))
    }
}

/// What a template of the file cannot do with what this call was given.
pub(super) fn faulty(place: &str, problem: &str) -> CallError {
    CallError::invalid(format!("the connector's `{place}` {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_told_in_whole_seconds_as_in_every_template() {
        let mut names = Names::default();
        names.moment("2026-07-01T12:00:00.123456Z".parse().unwrap());
        let templates = Templates::new();
        let filler = Filler::new(&templates, &names);
        let told = filler.text("here", "{{ DATE }} {{ TIME }} {{ NOW }}");
        let expected = "2026-07-01 12:00:00 2026-07-01T12:00:00Z";
        assert_eq!(told.as_deref(), Ok(expected));
    }
}
