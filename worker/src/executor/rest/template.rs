//! Templates over a validated input: `{{ … }}` with Jinja's expressions and a few filters.
//!
//! Statements (`{% … %}`), macros and other templates are left out: what is left can neither loop
//! nor grow its output without bound, and reads nothing but the input and the time.

mod context;
mod cost;
mod expression;
mod room;

use std::{collections::HashSet, io};

use minijinja::{
    Environment, Error, ErrorKind, Output, UndefinedBehavior, Value, filters, value::StringInput,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use toolroom_domain::limits;

pub(crate) use self::context::{Context, context, context_at, time_names};
use self::room::Room;

/// Instructions of one template: a hundred times what an honest one takes.
const FUEL: u64 = 20_000;
/// Characters of one template.
const TEMPLATE_CHARS: usize = 20_000;
/// RFC 3986's unreserved characters stand for themselves in a URL; all others are encoded, so that
/// a value stays within its path segment, query value or host label.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The filters that there are.
const FILTERS: &str = "abs, bytes, default, first, float, int, join, last, length, lower, path, \
                       pick, round, string, tojson, trim, upper, urlencode";

/// Where a template's output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Into a URL: values are percent-encoded and must not be empty.
    Url,
    /// Into a header, a query value or a body.
    Text,
}

/// The template engine, without anything that a tool's author should not have.
pub(crate) struct Templates {
    url: Environment<'static>,
    text: Environment<'static>,
    /// Takes anything for granted but the names of filters and functions.
    probe: Environment<'static>,
}

impl Templates {
    pub(crate) fn new() -> Self {
        let mut url = environment();
        url.set_formatter(|out, _, value| {
            let text = plain(value)?;
            if text.is_empty() {
                let problem = "a value within a URL must not be empty";
                return Err(Error::new(ErrorKind::InvalidOperation, problem));
            }
            // Only the filter `path` gives such: encoded but for its slashes.
            if value.is_safe() {
                return write(out, &text);
            }
            write(out, &encoded(&text)?)
        });
        let mut text = environment();
        text.set_formatter(|out, _, value| write(out, &plain(value)?));
        let mut probe = environment();
        probe.set_undefined_behavior(UndefinedBehavior::Chainable);
        probe.set_formatter(|_, _, _| Ok(()));
        Self { url, text, probe }
    }

    /// Checks a template as far as it can be without an input, and tells what it reads.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub(crate) fn check(&self, source: &str) -> Result<Reads, String> {
        let reads = self.reads(source)?;
        let probed = self
            .probe
            .render_str(source, context(&serde_json::json!({})).names);
        match probed.map_err(|error| error.kind()) {
            Err(ErrorKind::UnknownFilter) => {
                Err(format!("names a filter that is none of {FILTERS}"))
            }
            Err(ErrorKind::UnknownFunction | ErrorKind::UnknownTest) => Err(format!(
                "calls a function, or a test that is none of {}",
                expression::TESTS
            )),
            // Other failures may be the want of an input.
            _ => Ok(reads),
        }
    }

    /// Which of the input's fields a template reads; all of them where it reads the input whole.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub(crate) fn reads(&self, source: &str) -> Result<Reads, String> {
        check_constant(source)?;
        let template = self.text.template_from_str(source).map_err(|e| words(&e))?;
        let mut reads = Reads::default();
        for name in template.undeclared_variables(true) {
            match name.strip_prefix("input.").unwrap_or(&name) {
                "input" => reads.whole = true,
                path => {
                    let field = path.split('.').next().unwrap_or(path);
                    reads.fields.insert(field.to_owned());
                }
            }
        }
        Ok(reads)
    }

    /// Fills a template in.
    ///
    /// # Errors
    /// What is wrong, without any value.
    pub(crate) fn render(
        &self,
        place: Place,
        source: &str,
        context: &Context,
    ) -> Result<String, String> {
        check_text(source)?;
        cost::admit(source, context)?;
        let environment = match place {
            Place::Url => &self.url,
            Place::Text => &self.text,
        };
        let template = environment
            .template_from_str(source)
            .map_err(|e| words(&e))?;
        let mut out = Bounded(Vec::new());
        template
            .render_captured_to(context.names.clone(), &mut out)
            .map_err(|e| told(&e, source, context, || template.undeclared_variables(true)))?;
        context.charge(out.0.len())?;
        String::from_utf8(out.0).map_err(|_| "gives a text that is not UTF-8".to_owned())
    }

    /// Fills a text of a body in. A text that is one expression and nothing else becomes what the
    /// expression gives: a number stays a number.
    ///
    /// # Errors
    /// What is wrong, without any value.
    pub(crate) fn value(
        &self,
        source: &str,
        context: &Context,
    ) -> Result<serde_json::Value, String> {
        self.value_within(source, context, &mut Room::of_one_value())
    }

    fn value_within(
        &self,
        source: &str,
        context: &Context,
        room: &mut Room,
    ) -> Result<serde_json::Value, String> {
        let Some(expression) = sole_expression(source) else {
            let text = self.render(Place::Text, source, context)?;
            room.take_text(&text)?;
            return Ok(text.into());
        };
        check_text(source)?;
        cost::admit_expression(expression, context)?;
        let compiled = self
            .text
            .compile_expression(expression)
            .map_err(|e| words(&e))?;
        let told = |e: &Error| told(e, source, context, || compiled.undeclared_variables(true));
        let value = compiled.eval(context.names.clone()).map_err(|e| told(&e))?;
        if value.is_undefined() {
            return Err(told(&Error::from(ErrorKind::UndefinedError)));
        }
        taken(&value, context, room)
    }

    /// Fills all texts of a JSON value in, as [`Self::value`] does. Together they have room for one
    /// value of a job: a small definition that names a large input often would become gigabytes.
    ///
    /// # Errors
    /// What is wrong, without any value.
    pub(crate) fn fill(
        &self,
        value: &serde_json::Value,
        context: &Context,
    ) -> Result<serde_json::Value, String> {
        self.fill_within(value, context, &mut Room::of_one_value())
    }

    fn fill_within(
        &self,
        value: &serde_json::Value,
        context: &Context,
        room: &mut Room,
    ) -> Result<serde_json::Value, String> {
        Ok(match value {
            serde_json::Value::String(source) => self.value_within(source, context, room)?,
            serde_json::Value::Array(items) => {
                let filled = items
                    .iter()
                    .map(|item| self.fill_within(item, context, room));
                filled.collect::<Result<_, _>>()?
            }
            serde_json::Value::Object(fields) => {
                let mut filled = serde_json::Map::with_capacity(fields.len());
                for (name, field) in fields {
                    filled.insert(name.clone(), self.fill_within(field, context, room)?);
                }
                filled.into()
            }
            scalar => scalar.clone(),
        })
    }
}

/// What a template reads of the input.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reads {
    pub(crate) whole: bool,
    pub(crate) fields: HashSet<String>,
}

impl Reads {
    pub(crate) fn merge(&mut self, other: Self) {
        self.whole |= other.whole;
        self.fields.extend(other.fields);
    }

    pub(crate) fn includes(&self, field: &str) -> bool {
        self.whole || self.fields.contains(field)
    }
}

fn environment() -> Environment<'static> {
    let mut env = Environment::empty();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_fuel(Some(FUEL));
    // Filters that can make much out of little (`replace`, `indent`, `format` …) stay out.
    env.add_filter("default", filters::default);
    env.add_filter("lower", lower);
    env.add_filter("upper", upper);
    env.add_filter("trim", filters::trim);
    env.add_filter("length", filters::length);
    env.add_filter("int", filters::int);
    env.add_filter("float", filters::float);
    env.add_filter("round", filters::round);
    env.add_filter("abs", filters::abs);
    env.add_filter("first", filters::first);
    env.add_filter("last", filters::last);
    env.add_filter("tojson", |value: &Value| json(value));
    env.add_filter("string", |value: &Value| plain(value));
    env.add_filter("urlencode", |value: &Value| {
        plain(value).and_then(|text| encoded(&text))
    });
    env.add_filter("join", join);
    expression::extend(&mut env);
    env
}

fn lower(text: StringInput<'_>) -> Result<Value, Error> {
    short(filters::lower(text))
}

fn upper(text: StringInput<'_>) -> Result<Value, Error> {
    short(filters::upper(text))
}

fn short(value: Value) -> Result<Value, Error> {
    match value.as_str() {
        Some(text) if text.len() > limits::JOB_VALUE_BYTES => Err(too_long()),
        _ => Ok(value),
    }
}

/// A text as a URL holds it.
fn encoded(text: &str) -> Result<String, Error> {
    let mut encoded = String::new();
    for piece in utf8_percent_encode(text, ENCODED) {
        encoded.push_str(piece);
        if encoded.len() > limits::JOB_VALUE_BYTES {
            return Err(too_long());
        }
    }
    Ok(encoded)
}

fn join(items: &Value, separator: Option<String>) -> Result<String, Error> {
    let separator = separator.unwrap_or_default();
    let mut joined = String::new();
    for (i, item) in items.try_iter()?.enumerate() {
        if i > 0 {
            joined.push_str(&separator);
        }
        joined.push_str(&plain(&item)?);
        if joined.len() > limits::JOB_VALUE_BYTES {
            return Err(too_long());
        }
    }
    Ok(joined)
}

fn check_text(source: &str) -> Result<(), String> {
    if source.chars().count() > TEMPLATE_CHARS {
        return Err(format!("must have at most {TEMPLATE_CHARS} characters"));
    }
    if source.contains("{%") {
        return Err(
            "may hold expressions such as {{ input.city }}, but no {% statements %}".into(),
        );
    }
    Ok(())
}

/// Checks a template of which no input is known.
fn check_constant(source: &str) -> Result<(), String> {
    check_text(source)?;
    cost::admit(source, &context(&serde_json::json!({})))
}

/// What an expression gave, as JSON.
fn taken(value: &Value, context: &Context, room: &mut Room) -> Result<serde_json::Value, String> {
    let bytes = room.left();
    let taken = room.take(value)?;
    context.charge(bytes - room.left())?;
    Ok(taken)
}

fn sole_expression(source: &str) -> Option<&str> {
    let inner = source.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let inner = inner
        .trim_start_matches(['-', '+'])
        .trim_end_matches(['-', '+']);
    let alone = !inner.contains("{{") && !inner.contains("}}") && !inner.contains("{#");
    alone.then_some(inner)
}

/// A value as text: scalars as themselves, nothing as nothing, the rest as JSON.
fn plain(value: &Value) -> Result<String, Error> {
    if value.is_undefined() {
        Err(Error::from(ErrorKind::UndefinedError))
    } else if value.is_none() {
        Ok(String::new())
    } else if let Some(text) = value.as_str() {
        Ok(text.to_owned())
    } else {
        json(value)
    }
}

fn json(value: &Value) -> Result<String, Error> {
    let mut text = Bounded(Vec::new());
    serde_json::to_writer(&mut text, value).map_err(|error| match error.is_io() {
        true => too_long(),
        false => Error::new(ErrorKind::BadSerialization, "not JSON"),
    })?;
    String::from_utf8(text.0).map_err(|_| Error::new(ErrorKind::BadSerialization, "not UTF-8"))
}

fn write(out: &mut Output<'_>, text: &str) -> Result<(), Error> {
    out.write_str(text).map_err(|_| too_long())
}

fn too_long() -> Error {
    Error::new(ErrorKind::WriteFailure, "too long")
}

struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > limits::JOB_VALUE_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is wrong, with the name that is not there where that can be told from the template.
fn told(
    error: &Error,
    source: &str,
    context: &Context,
    names: impl FnOnce() -> HashSet<String>,
) -> String {
    if error.kind() != ErrorKind::UndefinedError {
        return words(error);
    }
    let is_there = |name: &str| {
        let mut at = context.names.clone();
        name.split('.').all(|part| {
            at = at.get_attr(part).unwrap_or_default();
            !at.is_undefined()
        })
    };
    let has_default = |name: &str| {
        let mut uses = source.match_indices(name);
        uses.all(|(i, _)| {
            let after = source[i + name.len()..].trim_start();
            after
                .strip_prefix('|')
                .is_some_and(|filter| filter.trim_start().starts_with("default"))
        })
    };
    let names = names();
    let missing = names
        .iter()
        .filter(|name| !is_there(name) && !has_default(name));
    match missing.min() {
        Some(name) => {
            format!("names `{name}`, which is not there; give it a value with the filter `default`")
        }
        None => words(error),
    }
}

/// The engine's own messages may hold values; its kinds of error do not.
fn words(error: &Error) -> String {
    match error.kind() {
        ErrorKind::UndefinedError => "names something that the input does not hold; \
             give it a value with the filter `default`"
            .to_owned(),
        ErrorKind::SyntaxError => match error.line() {
            Some(line) => format!("is not a template: syntax error in line {line}"),
            None => "is not a template: syntax error".to_owned(),
        },
        ErrorKind::OutOfFuel => "is too much work".to_owned(),
        ErrorKind::WriteFailure => {
            format!("gives more than {} bytes", limits::JOB_VALUE_BYTES)
        }
        ErrorKind::InvalidOperation => "applies an operation to a value that it does not suit, \
             or puts an empty value into a URL"
            .to_owned(),
        kind => format!("cannot be filled in: {kind}"),
    }
}

#[cfg(test)]
mod tests;
