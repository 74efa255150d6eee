//! Takes typed fields out of a JSON object and gathers everything that is wrong with it.

use std::ops::RangeInclusive;

use jiff::Timestamp;
use serde_json::{Map, Value};
use toolroom_domain::{Role, Violation, port::OutputMapping};

use crate::{service::jobs, state::AppState};

/// A JSON object whose fields are taken out one by one; what is wrong is gathered, so that the
/// sender learns all of it at once.
pub(crate) struct Fields {
    object: Map<String, Value>,
    path: String,
    taken: Vec<&'static str>,
    violations: Vec<Violation>,
}

impl Fields {
    /// The fields of the body itself.
    pub(crate) fn new(object: Map<String, Value>) -> Self {
        Self::under("", object)
    }

    /// The fields of an object that lies at `path`.
    pub(crate) fn under(path: &str, object: Map<String, Value>) -> Self {
        Self {
            object,
            path: path.to_owned(),
            taken: Vec::new(),
            violations: Vec::new(),
        }
    }

    /// Notes something wrong with a field.
    pub(crate) fn refuse(&mut self, field: &str, message: impl Into<String>) {
        let violation = Violation::new(field, message).under(&self.path);
        self.violations.push(violation);
    }

    /// A field as it is; none if it is absent.
    pub(crate) fn any(&mut self, field: &'static str) -> Option<Value> {
        self.taken.push(field);
        self.object.remove(field)
    }

    /// A field that may be absent or null.
    fn optional<T>(
        &mut self,
        field: &'static str,
        kind: &str,
        take: impl FnOnce(Value) -> Option<T>,
    ) -> Option<T> {
        match self.any(field) {
            None | Some(Value::Null) => None,
            Some(value) => {
                let taken = take(value);
                if taken.is_none() {
                    self.refuse(field, format!("must be {kind}"));
                }
                taken
            }
        }
    }

    /// A text that may be absent or null.
    pub(crate) fn text(&mut self, field: &'static str) -> Option<String> {
        self.optional(field, "a string", |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })
    }

    /// A list of texts that may be absent or null.
    pub(crate) fn texts(&mut self, field: &'static str) -> Option<Vec<String>> {
        self.optional(field, "a list of strings", |value| match value {
            Value::Array(items) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Some(text),
                    _ => None,
                })
                .collect(),
            _ => None,
        })
    }

    /// A whole number within bounds that may be absent or null.
    pub(crate) fn number(
        &mut self,
        field: &'static str,
        range: RangeInclusive<usize>,
    ) -> Option<usize> {
        let kind = format!("a whole number from {} to {}", range.start(), range.end());
        self.optional(field, &kind, |value| {
            let number = usize::try_from(value.as_u64()?).ok()?;
            range.contains(&number).then_some(number)
        })
    }

    /// The version of a tool, which may be absent or null.
    pub(crate) fn version(&mut self, field: &'static str) -> Option<u32> {
        self.optional(field, "a whole number from 1 on", |value| {
            let version = u32::try_from(value.as_u64()?).ok()?;
            (version > 0).then_some(version)
        })
    }

    /// What of an output is wanted; may be absent or null.
    pub(crate) fn mapping(
        &mut self,
        field: &'static str,
        state: &AppState,
    ) -> Option<OutputMapping> {
        let sent = self.object(field)?;
        match jobs::read_mapping(state, sent) {
            Ok(mapping) => Some(mapping),
            Err(found) => {
                let found = found.into_iter().map(|v| v.under(field).under(&self.path));
                self.violations.extend(found);
                None
            }
        }
    }

    /// What something is addressed by, an integer or a text, as a text; may be absent or null.
    pub(crate) fn reference(&mut self, field: &'static str) -> Option<String> {
        self.optional(field, "a number or a string", |value| match value {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.as_u64()?.to_string()),
            _ => None,
        })
    }

    /// One of these words, whatever its case; may be absent or null.
    pub(crate) fn word<T: Copy>(
        &mut self,
        field: &'static str,
        known: &[(&'static str, T)],
    ) -> Option<T> {
        let words: Vec<_> = known.iter().map(|(word, _)| *word).collect();
        let kind = format!("one of {}", words.join(", "));
        self.optional(field, &kind, |value| {
            let said = value.as_str()?;
            let found = known
                .iter()
                .find(|(word, _)| word.eq_ignore_ascii_case(said));
            found.map(|(_, meant)| *meant)
        })
    }

    /// A truth value that may be absent or null.
    pub(crate) fn flag(&mut self, field: &'static str) -> Option<bool> {
        self.optional(field, "true or false", |value| value.as_bool())
    }

    /// An object that may be absent or null.
    pub(crate) fn object(&mut self, field: &'static str) -> Option<Map<String, Value>> {
        self.optional(field, "an object", |value| match value {
            Value::Object(object) => Some(object),
            _ => None,
        })
    }

    /// A role that may be absent or null.
    pub(crate) fn role(&mut self, field: &'static str) -> Option<Role> {
        let known = Role::ALL.map(Role::as_str).join(", ");
        self.optional(field, &format!("one of {known}"), |value| {
            let mut all = Role::ALL.into_iter();
            all.find(|role| value == role.as_str())
        })
    }

    /// A moment that may be absent or null.
    pub(crate) fn time(&mut self, field: &'static str) -> Option<Timestamp> {
        let kind = "a time of RFC 3339, such as 2026-03-20T09:00:00Z";
        self.optional(field, kind, |value| value.as_str()?.parse().ok())
    }

    /// Notes that a field is missing, unless something else is wrong with it already.
    pub(crate) fn required<T>(&mut self, field: &'static str, value: Option<T>) -> Option<T> {
        let path = Violation::new(field, "").under(&self.path).path;
        if value.is_none() && !self.violations.iter().any(|found| found.path == path) {
            self.refuse(field, "is required");
        }
        value
    }

    /// Everything that is wrong with the fields that were taken; others are let pass, for a contract
    /// whose clients send more than is asked for.
    pub(crate) fn finish_open(self) -> Vec<Violation> {
        self.violations
    }

    /// Everything that is wrong, fields left over included.
    pub(crate) fn finish(mut self) -> Vec<Violation> {
        let left: Vec<String> = self.object.keys().cloned().collect();
        for field in left {
            let known = self.taken.join(", ");
            // The name of an unknown field is the sender's; a bounded part of it is enough.
            let shown: String = field.chars().take(64).collect();
            self.refuse(&shown, format!("is not known here; there are {known}"));
        }
        self.violations
    }
}
