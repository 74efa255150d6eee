//! `outputMapping`: the fields of `data`, each with the place in the action's output that it is
//! taken from.

use serde_json::{Map, Value};
use toolroom_domain::Violation;

/// Fields of one mapping.
const MAX_FIELDS: usize = 100;

/// Characters of a place.
const PATH_CHARS: usize = 500;

/// Field → place. A place is a dotted path, with or without JSONPath's `$.` before it; a number
/// steps into a list, as `[0]` too. Nothing that branches, so that each field has one value.
#[derive(Debug)]
pub(super) struct OutputMapping(Vec<(String, Vec<String>)>);

impl OutputMapping {
    /// What a client sent.
    ///
    /// # Errors
    /// All that is wrong with it, paths relative to the mapping.
    pub(super) fn parse(sent: Map<String, Value>) -> Result<Self, Vec<Violation>> {
        if sent.len() > MAX_FIELDS {
            let problem = format!("must have at most {MAX_FIELDS} fields");
            return Err(vec![Violation::new("", problem)]);
        }
        let mut fields = Vec::new();
        let mut found = Vec::new();
        for (field, place) in sent {
            match place.as_str().and_then(steps) {
                Some(steps) => fields.push((field, steps)),
                None => {
                    let shown: String = field.chars().take(64).collect();
                    let problem = format!(
                        "must be a place in the output of at most {PATH_CHARS} characters, such as `message.id` or `$.items[0].id`"
                    );
                    found.push(Violation::new(shown, problem));
                }
            }
        }
        if found.is_empty() {
            Ok(Self(fields))
        } else {
            Err(found)
        }
    }

    /// The fields that the output has a value for.
    pub(super) fn apply(&self, output: &Value) -> Value {
        let found = self.0.iter().filter_map(|(field, steps)| {
            let value = steps.iter().try_fold(output, |value, step| match value {
                Value::Object(fields) => fields.get(step),
                Value::Array(items) => items.get(step.parse::<usize>().ok()?),
                _ => None,
            })?;
            Some((field.clone(), value.clone()))
        });
        Value::Object(found.collect())
    }
}

/// The steps of a place; none if it is no place.
fn steps(path: &str) -> Option<Vec<String>> {
    if path.is_empty() || path.chars().count() > PATH_CHARS {
        return None;
    }
    let path = match path.strip_prefix('$') {
        // The whole output.
        Some("") => return Some(Vec::new()),
        Some(rest) if rest.starts_with('[') => rest,
        Some(rest) => rest.strip_prefix('.')?,
        None => path,
    };
    let mut steps = Vec::new();
    for part in path.split('.') {
        let (name, indexes) = match part.find('[') {
            Some(bracket) => part.split_at(bracket),
            None => (part, ""),
        };
        if !name.is_empty() {
            steps.push(name.to_owned());
        } else if indexes.is_empty() {
            return None;
        }
        let mut rest = indexes;
        while !rest.is_empty() {
            let (index, after) = rest.strip_prefix('[')?.split_once(']')?;
            if index.is_empty() || !index.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            steps.push(index.to_owned());
            rest = after;
        }
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mapped(mapping: Value, output: &Value) -> Result<Value, Vec<String>> {
        let Value::Object(mapping) = mapping else {
            panic!("not an object")
        };
        OutputMapping::parse(mapping)
            .map(|mapping| mapping.apply(output))
            .map_err(|found| found.into_iter().map(|v| v.path).collect())
    }

    #[test]
    fn each_field_is_taken_from_its_place() {
        let output = json!({"message": {"ts": "1.2"}, "items": [{"id": 7}, {"id": 8}]});
        let mapping = json!({
            "id": "message.ts", "first": "$.items[0].id", "second": "items.1.id",
            "missing": "message.user", "all": "$",
        });
        let expected = json!({"id": "1.2", "first": 7, "second": 8, "all": output});
        assert_eq!(mapped(mapping, &output), Ok(expected));
    }

    #[test]
    fn what_is_no_place_is_named() {
        for wrong in ["", "$..id", "a[*]", "a[", "a[x]", "a..b", "$x"] {
            let refused = mapped(json!({"id": wrong, "fine": "a"}), &json!({}));
            assert_eq!(refused, Err(vec!["id".to_owned()]), "{wrong}");
        }
        assert!(mapped(json!({"id": 7}), &json!({})).is_err());
    }
}
