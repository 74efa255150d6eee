//! What templates see, and how much work they may be.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use jiff::{Timestamp, tz::TimeZone};
use minijinja::{Value, value::Serde};
use toolroom_domain::limits::JOB_VALUE_BYTES;

/// Bytes that all templates of one call may read and write together, beside what they are given:
/// some tenths of a second at most, and eight times the largest input.
const WORK_BYTES: usize = 8 * JOB_VALUE_BYTES;

/// What the templates of one call see.
#[derive(Debug)]
pub(crate) struct Context {
    pub(super) names: Value,
    left: AtomicUsize,
}

impl Context {
    /// These names.
    pub(crate) fn of(names: Value) -> Self {
        Self {
            names,
            left: AtomicUsize::new(WORK_BYTES),
        }
    }

    /// What a name stands for.
    pub(super) fn get(&self, name: &str) -> Value {
        self.names.get_attr(name).unwrap_or_default()
    }

    /// Bytes that may still be read or written.
    pub(super) fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    /// Takes bytes that are read or written off what is left.
    ///
    /// # Errors
    /// That there are too few; then there are none.
    pub(super) fn charge(&self, bytes: usize) -> Result<(), String> {
        let left = self.left();
        self.left
            .store(left.saturating_sub(bytes), Ordering::Relaxed);
        if bytes <= left {
            return Ok(());
        }
        Err(format!(
            "is too much work: with the templates before it, it reads and writes more than {WORK_BYTES} bytes"
        ))
    }
}

/// What templates see of an input: each field by its name, and the whole as `input`.
fn names(input: &serde_json::Value) -> BTreeMap<String, Value> {
    let whole = Value::from(Serde(input));
    let fields = input.as_object().into_iter().flatten();
    // Looked up in the whole, which shares them; converted anew, a large input would cost twice.
    let fields = fields.map(|(name, _)| (name.clone(), whole.get_attr(name).unwrap_or_default()));
    let mut names: BTreeMap<_, _> = fields.collect();
    names.insert("input".to_owned(), whole);
    names
}

/// What templates see where no time is known.
pub(crate) fn context(input: &serde_json::Value) -> Context {
    Context::of(Value::from(names(input)))
}

/// What templates see beside the input: the time, in UTC. The input has no say in it.
pub(crate) fn context_at(input: &serde_json::Value, now: Timestamp) -> Context {
    let mut names = names(input);
    names.extend(time_names(now).map(|(name, value)| (name.to_owned(), Value::from(value))));
    Context::of(Value::from(names))
}

/// What templates see of the time, in UTC and whole seconds, wherever they stand.
pub(crate) fn time_names(now: Timestamp) -> [(&'static str, String); 3] {
    let now = now.to_zoned(TimeZone::UTC);
    [
        ("DATE", now.strftime("%Y-%m-%d").to_string()),
        ("TIME", now.strftime("%H:%M:%S").to_string()),
        ("NOW", now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
    ]
}
