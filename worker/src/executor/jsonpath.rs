//! JSONPath (RFC 9535) over values of any size, in bounded time.
//!
//! A short path can ask for a thousand years of work (`$..[?$..[?$..*]]`), and a running query
//! cannot be stopped. So its cost is estimated beforehand, from above, and a costly one refused.

use serde_json::Value;
use serde_json_path::JsonPath;
use toolroom_domain::tool::depth;

/// Characters in a path; the longest that was seen in earnest has 120.
const PATH_CHARS: usize = 500;
/// Brackets open at once in a path: the parser's time doubles with each.
const NESTING: usize = 6;
/// Steps that a query may take; about a second.
const STEPS: usize = 5_000_000;
/// What a regular expression in a filter costs in steps: it is compiled for each node.
const REGEX_STEPS: usize = 500;

/// A path that was parsed.
#[derive(Clone, Debug)]
pub(super) struct Path {
    path: JsonPath,
    descents: u32,
    absolute: u32,
    regexes: usize,
    /// Whether it can name at most one node.
    singular: bool,
}

/// Why a path cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("must have at most {PATH_CHARS} characters")]
    TooLong,
    #[error("must nest at most {NESTING} brackets")]
    TooNested,
    #[error("is not a JSONPath (RFC 9535), from character {position} on")]
    Syntax { position: usize },
    #[error("would take too long on a value of this size; use fewer `..` and fewer `$` in filters")]
    TooCostly,
}

impl Path {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        if text.chars().count() > PATH_CHARS {
            return Err(Error::TooLong);
        }
        let shape = Shape::of(text);
        if shape.nesting > NESTING {
            return Err(Error::TooNested);
        }
        let path = JsonPath::parse(text).map_err(|e| Error::Syntax {
            position: e.position(),
        })?;
        Ok(Self {
            path,
            descents: shape.descents,
            absolute: shape.roots.saturating_sub(1),
            regexes: shape.regexes,
            singular: shape.singular,
        })
    }

    /// All that the path names in a value.
    pub(super) fn all<'v>(&self, value: &'v Value) -> Result<Vec<&'v Value>, Error> {
        if self.steps(value) > STEPS {
            return Err(Error::TooCostly);
        }
        Ok(self.path.query(value).all())
    }

    /// What the path names: itself if it can name but one, else all of it as an array.
    pub(super) fn pick(&self, value: &Value) -> Result<Option<Value>, Error> {
        let found = self.all(value)?;
        if self.singular {
            return Ok(found.first().map(|v| (*v).clone()));
        }
        Ok(Some(found.into_iter().cloned().collect()))
    }

    /// Each `..` visits a node once for each node above it, each `$` in a filter may visit all
    /// nodes for each.
    fn steps(&self, value: &Value) -> usize {
        let (nodes, depth) = (count(value), depth(value) + 1);
        nodes
            .saturating_mul(depth.saturating_pow(self.descents))
            .saturating_mul(nodes.saturating_pow(self.absolute))
            .saturating_mul(if self.regexes == 0 {
                1
            } else {
                self.regexes.saturating_mul(REGEX_STEPS)
            })
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

/// What can be seen of a path without understanding it.
struct Shape {
    descents: u32,
    roots: u32,
    regexes: usize,
    nesting: usize,
    singular: bool,
}

impl Shape {
    fn of(text: &str) -> Self {
        let mut shape = Self {
            descents: 0,
            roots: 0,
            regexes: text.matches("match").count() + text.matches("search").count(),
            nesting: 0,
            singular: true,
        };
        let (mut open, mut quote, mut escaped, mut previous) = (0_usize, None, false, ' ');
        for c in text.chars() {
            if let Some(closing) = quote {
                if !escaped && c == closing {
                    quote = None;
                }
                escaped = !escaped && c == '\\';
                continue;
            }
            match c {
                '\'' | '"' => quote = Some(c),
                '[' | '(' => {
                    open += 1;
                    shape.nesting = shape.nesting.max(open);
                }
                ']' | ')' => open = open.saturating_sub(1),
                '.' if previous == '.' => shape.descents += 1,
                '$' => shape.roots += 1,
                _ => {}
            }
            if matches!(c, '*' | '?' | ':' | ',') || (c == '.' && previous == '.') {
                shape.singular = false;
            }
            previous = c;
        }
        shape
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pick(path: &str, value: &Value) -> Option<Value> {
        Path::parse(path).unwrap().pick(value).unwrap()
    }

    #[test]
    fn a_singular_path_gives_the_value_and_others_give_arrays() {
        let value = json!({"a": [{"b": 1}, {"b": 2}], "x, y": 3});
        assert_eq!(pick("$.a[1].b", &value), Some(json!(2)));
        assert_eq!(pick("$['x, y']", &value), Some(json!(3)));
        assert_eq!(pick("$.nothing", &value), None);
        assert_eq!(pick("$.a[*].b", &value), Some(json!([1, 2])));
        assert_eq!(pick("$..b", &value), Some(json!([1, 2])));
        assert_eq!(pick("$.a[?@.b > 1]", &value), Some(json!([{"b": 2}])));
        assert_eq!(pick("$.a[?@.b > 9]", &value), Some(json!([])));
    }

    #[test]
    fn a_path_that_would_take_for_ever_is_refused() {
        let wide: Value = (0..10_000).collect();
        let path = Path::parse("$[?count($..*) > 1]").unwrap();
        assert_eq!(path.all(&wide), Err(Error::TooCostly));
        let mut deep = json!({"a": 1, "b": 2});
        for _ in 0..50 {
            deep = json!({"a": deep, "b": [1, 2, 3]});
        }
        let path = Path::parse("$..*..*..*..*..*").unwrap();
        assert_eq!(path.all(&deep), Err(Error::TooCostly));
        let path = Path::parse("$[?match(@, '(a{99}){99}')]").unwrap();
        assert_eq!(path.all(&wide), Err(Error::TooCostly));
    }

    #[test]
    fn a_path_that_is_none_is_refused_at_once() {
        let begun = Instant::now();
        assert!(matches!(Path::parse("a.b"), Err(Error::Syntax { .. })));
        let cut = Path::parse("$.a[").unwrap_err().to_string();
        assert_eq!(cut, "is not a JSONPath (RFC 9535), from character 3 on");
        assert_eq!(Path::parse(&"$.a".repeat(400)).unwrap_err(), Error::TooLong);
        let nested = format!("$[?{}", "(".repeat(400));
        assert_eq!(Path::parse(&nested).unwrap_err(), Error::TooNested);
        let unclosed = format!("$[?{}@.a", "(!".repeat(NESTING - 1));
        assert!(Path::parse(&unclosed).is_err());
        assert!(begun.elapsed() < Duration::from_secs(60));
    }

    proptest! {
        #[test]
        fn any_text_is_a_path_or_an_error(text in "[$@.*\\[\\]()?!'\"\\\\:,a0 <=&|]{0,30}") {
            if let Ok(path) = Path::parse(&format!("${text}")) {
                let _ = path.pick(&json!({"a": [0, {"a": "a"}]}));
            }
        }

        #[test]
        fn a_path_called_singular_names_at_most_one_node(text in "(\\.a|\\[0\\]|\\['a'\\]|\\.\\*|\\.\\.a|\\[0:2\\]|\\[0,1\\]){0,5}") {
            let value = json!({"a": [{"a": [1, {"a": 2}]}, [3, 4]]});
            if let Ok(path) = Path::parse(&format!("${text}")) && path.singular {
                prop_assert!(path.all(&value).unwrap().len() <= 1);
            }
        }
    }
}
