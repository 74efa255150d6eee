//! Templates over a validated input: `{{ … }}` with Jinja's expressions and a few filters.
//!
//! Statements (`{% … %}`), macros and other templates are left out: what is left can neither loop
//! nor grow its output without bound, and reads nothing but the input.

mod expression;

use std::{collections::HashSet, io};

use minijinja::{
    Environment, Error, ErrorKind, Output, UndefinedBehavior, Value, filters, value::Serde,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use toolroom_domain::limits;

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
            write(out, &utf8_percent_encode(&text, ENCODED).to_string())
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
            .render_str(source, context(&serde_json::json!({})));
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
        check_text(source)?;
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
        context: &Value,
    ) -> Result<String, String> {
        check_text(source)?;
        let environment = match place {
            Place::Url => &self.url,
            Place::Text => &self.text,
        };
        let template = environment
            .template_from_str(source)
            .map_err(|e| words(&e))?;
        let mut out = Bounded(Vec::new());
        template
            .render_captured_to(context.clone(), &mut out)
            .map_err(|e| words(&e))?;
        String::from_utf8(out.0).map_err(|_| "gives a text that is not UTF-8".to_owned())
    }

    /// Fills a text of a body in. A text that is one expression and nothing else becomes what the
    /// expression gives: a number stays a number.
    ///
    /// # Errors
    /// What is wrong, without any value.
    pub(crate) fn value(&self, source: &str, context: &Value) -> Result<serde_json::Value, String> {
        check_text(source)?;
        let Some(expression) = sole_expression(source) else {
            return self.render(Place::Text, source, context).map(Into::into);
        };
        let compiled = self
            .text
            .compile_expression(expression)
            .map_err(|e| words(&e))?;
        let value = compiled.eval(context.clone()).map_err(|e| words(&e))?;
        if value.is_undefined() {
            return Err(words(&Error::from(ErrorKind::UndefinedError)));
        }
        serde_json::to_value(&value).map_err(|_| "gives something that is not JSON".to_owned())
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

/// What templates see: each field of the input by its name, and the whole as `input`.
pub(crate) fn context(input: &serde_json::Value) -> Value {
    let mut names = serde_json::Map::new();
    if let serde_json::Value::Object(fields) = input {
        names.extend(fields.clone());
    }
    names.insert("input".to_owned(), input.clone());
    Value::from(Serde(&names))
}

fn environment() -> Environment<'static> {
    let mut env = Environment::empty();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_fuel(Some(FUEL));
    // Filters that can make much out of little (`replace`, `indent`, `format` …) stay out.
    env.add_filter("default", filters::default);
    env.add_filter("lower", filters::lower);
    env.add_filter("upper", filters::upper);
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
        plain(value).map(|text| utf8_percent_encode(&text, ENCODED).to_string())
    });
    env.add_filter("join", join);
    expression::extend(&mut env);
    env
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
    serde_json::to_string(value).map_err(|_| Error::new(ErrorKind::BadSerialization, "not JSON"))
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
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn render(place: Place, source: &str, input: serde_json::Value) -> Result<String, String> {
        Templates::new().render(place, source, &context(&input))
    }

    #[test]
    fn values_come_from_the_input_by_either_name() {
        let input = json!({"city": "Rome", "n": 3, "on": true, "tags": ["a", "b"], "none": null});
        let text = "{{ input.city }} {{ city|lower }} {{ n + 1 }} {{ on }} {{ tags|join(',') }} {{ tags }}{{ none }}";
        assert_eq!(
            render(Place::Text, text, input),
            Ok("Rome rome 4 true a,b [\"a\",\"b\"]".to_owned())
        );
    }

    #[test]
    fn what_is_missing_is_an_error_unless_it_has_a_default() {
        assert!(render(Place::Text, "{{ input.x }}", json!({})).is_err());
        assert!(render(Place::Text, "{{ x }}", json!({})).is_err());
        assert_eq!(
            render(Place::Text, "{{ input.x|default('y') }}", json!({})),
            Ok("y".to_owned())
        );
    }

    #[test]
    fn a_value_stays_within_its_place_in_a_url() {
        let url = "https://a.test/{{ input.id }}/x";
        assert_eq!(
            render(Place::Url, url, json!({"id": "../b?c#d @é%2f"})),
            Ok("https://a.test/..%2Fb%3Fc%23d%20%40%C3%A9%252f/x".to_owned())
        );
        assert!(render(Place::Url, url, json!({"id": ""})).is_err());
        assert!(render(Place::Url, url, json!({"id": null})).is_err());
    }

    #[test]
    fn a_sole_expression_keeps_its_type() {
        let (templates, input) = (
            Templates::new(),
            context(&json!({"n": 1.5, "l": [1, {"a": null}]})),
        );
        assert_eq!(templates.value("{{ input.n }}", &input), Ok(json!(1.5)));
        assert_eq!(
            templates.value(" {{ l }} ", &input),
            Ok(json!([1, {"a": null}]))
        );
        assert_eq!(
            templates.value("{{ n }}{{ n }}", &input),
            Ok(json!("1.51.5"))
        );
        assert_eq!(templates.value("plain", &input), Ok(json!("plain")));
        assert!(templates.value("{{ input.x }}", &input).is_err());
    }

    #[test]
    fn nothing_but_the_input_can_be_read_and_nothing_grows_without_bound() {
        let long = json!({"a": "x".repeat(9_000_000), "l": vec![""; 100_000]});
        for source in [
            "{% include '/etc/passwd' %}",
            "{% set a = 1 %}",
            "{{ range(1000000) }}",
            "{{ env('PATH') }}",
            "{{ input.__class__ }}",
            "{{ a ~ a }}",
            "{{ l|join(a) }}",
            "{{ a * 1000000000000 }}",
            "{{ 'a' * 20000000 }}",
            "{{ 10 ** 10 ** 10 }}",
            "{{",
            "{{ a|nofilter }}",
        ] {
            assert!(
                render(Place::Text, source, long.clone()).is_err(),
                "{source}"
            );
        }
        assert!(
            Templates::new()
                .reads(&format!("{{{{ {}1 }}}}", "(".repeat(5_000)))
                .is_err()
        );
    }

    #[test]
    fn it_is_known_what_a_template_reads() {
        let reads = |source: &str| Templates::new().reads(source).unwrap();
        let of = |fields: &[&str]| fields.iter().map(|f| (*f).to_owned()).collect();
        assert_eq!(reads("{{ input.a.b }} {{ c }}").fields, of(&["a", "c"]));
        assert!(reads("{{ input|tojson }}").includes("anything"));
        assert!(!reads("{{ input.a }}").includes("b"));
    }

    #[test]
    fn each_filter_that_is_named_is_there_and_no_other() {
        let templates = Templates::new();
        for filter in FILTERS.split(", ") {
            assert!(
                templates.check(&format!("{{{{ 1|{filter} }}}}")).is_ok(),
                "{filter}"
            );
        }
        for unknown in [
            "{{ input.a|replace('a', 'b') }}",
            "{{ range(9) }}",
            "{{ 1 is odd }}",
        ] {
            assert!(templates.check(unknown).is_err(), "{unknown}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_template_or_an_error(source in "[{}%# a-c.|'\"()\\[\\]+*~0-9-]{0,40}") {
            let (templates, input) = (Templates::new(), context(&json!({"a": "b", "b": [1]})));
            let _ = templates.check(&source);
            let _ = templates.value(&source, &input);
            let _ = templates.render(Place::Url, &source, &input);
        }

        #[test]
        fn an_encoded_value_never_leaves_its_segment(value in "\\PC{1,20}") {
            let text = render(Place::Url, "{{ input.v }}", json!({"v": value})).unwrap();
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
        }

        #[test]
        fn an_error_never_holds_the_value(value in "[A-Z]{12,20}") {
            for source in ["{{ v|int }}", "{{ v - 1 }}", "{{ v.x }}", "{{ v() }}", "{{ v[v] }}", "{{ v|first|float }}"] {
                if let Err(problem) = render(Place::Text, source, json!({"v": value})) {
                    prop_assert!(!problem.contains(&value), "{}", problem);
                }
            }
        }
    }
}
