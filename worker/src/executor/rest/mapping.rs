//! From input fields to request parameters, and from the answer to output fields.

use serde_json::{Map, Value};
use toolroom_domain::{Violation, port::OutputMapping};

use crate::executor::jsonpath::{self, Path};

/// Characters in a name or dotted path.
pub(super) const PATH_CHARS: usize = 500;

/// Where a value is taken from.
#[derive(Debug)]
pub(super) enum Source {
    /// A name or a dotted path; a name may itself hold dots.
    Dotted(String),
    /// The same where it holds brackets: what it says as a JSONPath counts where no name fits.
    Indexed(String, Path),
    /// A JSONPath.
    JsonPath(Path),
}

impl Source {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('$') {
            return Path::parse(text)
                .map(Self::JsonPath)
                .map_err(|e| e.to_string());
        }
        if text.is_empty() || text.chars().count() > PATH_CHARS {
            return Err(format!("must have from 1 to {PATH_CHARS} characters"));
        }
        let indexed = text
            .contains('[')
            .then(|| Path::parse(&format!("$.{text}")));
        Ok(match indexed {
            Some(Ok(path)) => Self::Indexed(text.to_owned(), path),
            _ => Self::Dotted(text.to_owned()),
        })
    }

    pub(super) fn pick(&self, value: &Value) -> Result<Option<Value>, jsonpath::Error> {
        match self {
            Self::Dotted(path) => Ok(dotted(value, path).cloned()),
            Self::Indexed(name, path) => match dotted(value, name) {
                Some(found) => Ok(Some(found.clone())),
                None => path.pick(value),
            },
            Self::JsonPath(path) => path.pick(value),
        }
    }
}

/// Follows a dotted path; the longest name that fits goes first, since services call fields
/// `05. price`. Numbers step into arrays.
pub(super) fn dotted<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    let step = |name: &str| match value {
        Value::Object(fields) => fields.get(name),
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    };
    if let Some(found) = step(path) {
        return Some(found);
    }
    path.rmatch_indices('.')
        .find_map(|(dot, _)| dotted(step(&path[..dot])?, &path[dot + 1..]))
}

/// The JSON Pointer (RFC 6901) of what a dotted path names.
pub(super) fn pointer(value: &Value, path: &str) -> Option<String> {
    let step = |name: &str| match value {
        Value::Object(fields) => fields.get(name),
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    };
    let token = |name: &str| format!("/{}", name.replace('~', "~0").replace('/', "~1"));
    if step(path).is_some() {
        return Some(token(path));
    }
    path.rmatch_indices('.').find_map(|(dot, _)| {
        let rest = pointer(step(&path[..dot])?, &path[dot + 1..])?;
        Some(token(&path[..dot]) + &rest)
    })
}

/// Checks an `outputMapping`, as far as that can be done without an output.
///
/// # Errors
/// What is wrong with its entries, by their keys.
pub(in crate::executor) fn check_output_mapping(
    mapping: &OutputMapping,
) -> Result<(), Vec<Violation>> {
    let mut found = Vec::new();
    for (key, value) in mapping {
        let is_turned = !key.starts_with('$') && value.starts_with('$');
        found.extend(output_source(key, value, is_turned).err());
    }
    if found.is_empty() { Ok(()) } else { Err(found) }
}

/// Maps an output as an `outputMapping` says: each entry from a source (a name, a dotted path, or a
/// JSONPath that begins with `$`) to a field. Written the other way round, field → source, it is
/// understood too: where the value begins with `$` and the key does not, or where the output holds
/// what the value names and not what the key does. Without entries the output stays as it is.
///
/// # Errors
/// What is wrong with an entry, by its key.
pub(in crate::executor) fn map_output(
    mapping: &OutputMapping,
    output: Value,
) -> Result<Value, Vec<Violation>> {
    if mapping.is_empty() {
        return Ok(output);
    }
    let (mut mapped, mut found) = (Map::new(), Vec::new());
    for (key, value) in mapping {
        let holds = |place: &str| {
            let source = Source::parse(place);
            source.is_ok_and(|source| matches!(source.pick(&output), Ok(Some(_))))
        };
        let is_turned =
            !key.starts_with('$') && (value.starts_with('$') || (!holds(key) && holds(value)));
        let picked = output_source(key, value, is_turned).and_then(|entry| {
            let picked = entry.source.pick(&output);
            let picked = picked.map_err(|problem| Violation::new(key, problem.to_string()));
            Ok((entry.target, picked?))
        });
        match picked {
            Ok((target, Some(picked))) => {
                mapped.insert(target, picked);
            }
            Ok((_, None)) => {}
            Err(violation) => found.push(violation),
        }
    }
    if found.is_empty() {
        Ok(Value::Object(mapped))
    } else {
        Err(found)
    }
}

fn output_source(key: &str, value: &str, is_turned: bool) -> Result<Entry, Violation> {
    match is_turned {
        true => entry(value, key, key),
        false => entry(key, value, key),
    }
}

/// One entry of a mapping.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) source: Source,
    pub(super) target: String,
}

/// An entry of `input_to_params`: source → parameter. A parameter may begin with `$`, as OData's do.
pub(super) fn input_entry(key: &str, value: &str) -> Result<Entry, Violation> {
    entry(key, value, key)
}

/// An entry of `response_to_output`, in either direction; see `Mapping` for the rule.
pub(super) fn output_entry(
    key: &str,
    value: &str,
    output_schema: Option<&Value>,
) -> Result<Entry, Violation> {
    let is_output = |name: &str| {
        output_schema
            .and_then(|schema| schema.get("properties")?.get(name))
            .is_some()
    };
    let value_is_source =
        !key.starts_with('$') && (value.starts_with('$') || (is_output(key) && !is_output(value)));
    if value_is_source {
        entry(value, key, key)
    } else {
        entry(key, value, key)
    }
}

fn entry(source: &str, target: &str, key: &str) -> Result<Entry, Violation> {
    let source = Source::parse(source).map_err(|problem| Violation::new(key, problem))?;
    if target.is_empty() || target.chars().count() > PATH_CHARS {
        let problem = format!("must map to a name of 1 to {PATH_CHARS} characters");
        return Err(Violation::new(key, problem));
    }
    if target.chars().any(char::is_control) {
        return Err(Violation::new(
            key,
            "must map to a name without control characters",
        ));
    }
    Ok(Entry {
        source,
        target: target.to_owned(),
    })
}

/// Picks what the entries name; what the value does not hold is left out.
pub(super) fn apply(
    entries: &[Entry],
    value: &Value,
) -> Result<Map<String, Value>, jsonpath::Error> {
    let mut mapped = Map::new();
    for entry in entries {
        if let Some(found) = entry.source.pick(value)? {
            mapped.insert(entry.target.clone(), found);
        }
    }
    Ok(mapped)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn output(pairs: &[(&str, &str)], schema: Option<Value>, answer: &Value) -> Value {
        let entries: Vec<Entry> = pairs
            .iter()
            .map(|(key, value)| output_entry(key, value, schema.as_ref()).unwrap())
            .collect();
        Value::Object(apply(&entries, answer).unwrap())
    }

    #[test]
    fn an_answer_is_mapped_in_whichever_direction_it_is_written() {
        let answer = json!({"main": {"temp": 7}, "list": [{"x": 1}, {"x": 2}]});
        let schema = json!({"properties": {"temperature": {"type": "number"}}});
        assert_eq!(
            output(&[("main.temp", "temperature")], None, &answer),
            json!({"temperature": 7})
        );
        assert_eq!(
            output(
                &[("temperature", "$.main.temp"), ("$.list[*].x", "all")],
                None,
                &answer
            ),
            json!({"temperature": 7, "all": [1, 2]})
        );
        assert_eq!(
            output(&[("temperature", "main.temp")], Some(schema), &answer),
            json!({"temperature": 7})
        );
        assert_eq!(
            output(
                &[("list.1.x", "second"), ("nothing", "left_out")],
                None,
                &answer
            ),
            json!({"second": 2})
        );
    }

    #[test]
    fn an_output_is_mapped_in_whichever_direction_fits_it() {
        let output = json!({"id": 7, "user": {"name": "Ada"}, "tags": ["a", "b"]});
        let mapped = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            map_output(&pairs.collect(), output.clone())
        };
        assert_eq!(mapped(&[]), Ok(output.clone()));
        assert_eq!(mapped(&[("user.name", "who")]), Ok(json!({"who": "Ada"})));
        assert_eq!(mapped(&[("who", "user.name")]), Ok(json!({"who": "Ada"})));
        assert_eq!(
            mapped(&[("all", "$.tags[*]")]),
            Ok(json!({"all": ["a", "b"]}))
        );
        assert_eq!(mapped(&[("$.tags[0]", "first")]), Ok(json!({"first": "a"})));
        assert_eq!(mapped(&[("first", "tags[0]")]), Ok(json!({"first": "a"})));
        assert_eq!(mapped(&[("tags[1]", "second")]), Ok(json!({"second": "b"})));
        assert_eq!(mapped(&[("all", "$")]), Ok(json!({"all": output})));
        assert_eq!(mapped(&[("nothing", "nowhere")]), Ok(json!({})));
        let wrong = [("$[", "a"), ("b", "$[")];
        let refused = mapped(&wrong).unwrap_err();
        assert_eq!(refused.len(), 2, "{refused:?}");
        let wrong = wrong.map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(check_output_mapping(&wrong.into()), Err(refused));
    }

    #[test]
    fn names_may_hold_dots() {
        let answer = json!({"Global Quote": {"05. price": "1.5", "05": {" price": "no"}}});
        assert_eq!(
            output(&[("Global Quote.05. price", "price")], None, &answer),
            json!({"price": "1.5"})
        );
    }

    #[test]
    fn a_parameter_may_begin_with_a_dollar() {
        let entry = input_entry("filter", "$filter").unwrap();
        let params = apply(&[entry], &json!({"filter": "a"})).unwrap();
        assert_eq!(Value::Object(params), json!({"$filter": "a"}));
    }

    #[test]
    fn what_is_no_mapping_is_refused_by_its_key() {
        for (key, value) in [
            ("$[", "a"),
            ("a", "$["),
            ("", "a"),
            ("a", ""),
            ("a", "b\r\nc"),
        ] {
            let found = output_entry(key, value, None).map(|e| e.target);
            assert!(found.is_err_and(|v| v.path == key), "{key:?} {value:?}");
        }
    }

    proptest! {
        #[test]
        fn a_dotted_path_leads_back_to_where_it_was_made(
            names in proptest::collection::vec("[a-c. ]{1,4}", 1..6), leaf: u8,
        ) {
            let value = names.iter().rev().fold(json!(leaf), |inner, name| json!({name.as_str(): inner}));
            let path = names.join(".");
            prop_assert_eq!(dotted(&value, &path), Some(&json!(leaf)));
            let pointer = pointer(&value, &path).unwrap();
            prop_assert_eq!(value.pointer(&pointer), Some(&json!(leaf)));
        }

        #[test]
        fn any_texts_are_a_mapping_or_an_error(key in "\\PC{0,12}", value in "[$.a-c\\[\\]0*]{0,12}") {
            let answer = json!({"a": [{"b": 1}]});
            if let Ok(entry) = output_entry(&key, &value, None) {
                let _ = apply(&[entry], &answer);
            }
        }
    }
}
