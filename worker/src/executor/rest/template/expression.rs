//! Bare expressions, what a text reads, and the tests and filters that go beyond a text.

use std::collections::HashSet;

use minijinja::{
    Environment, Error, ErrorKind, Value, tests,
    value::{Rest, ValueKind},
};
use toolroom_domain::limits;

use super::{
    Context, Room, Templates, check_constant, check_text, cost, encoded, plain, taken, too_long,
    words,
};

/// The tests that there are.
pub(super) const TESTS: &str = "boolean, defined, endingwith, iterable, mapping, none, number, \
                                sequence, startingwith, string, undefined";

impl Templates {
    /// Evaluates a bare expression.
    ///
    /// # Errors
    /// What is wrong, without any value.
    pub(crate) fn expression(
        &self,
        source: &str,
        context: &Context,
    ) -> Result<serde_json::Value, String> {
        let value = self.evaluated(source, context)?;
        if value.is_undefined() {
            return Ok(serde_json::Value::Null);
        }
        taken(&value, context, &mut Room::of_one_value())
    }

    /// Whether a bare expression is true.
    ///
    /// # Errors
    /// What is wrong, without any value.
    pub(crate) fn holds(&self, source: &str, context: &Context) -> Result<bool, String> {
        let value = self.evaluated(source, context)?;
        if value.is_undefined() {
            return Err(words(&Error::from(ErrorKind::UndefinedError)));
        }
        Ok(value.is_true())
    }

    fn evaluated(&self, source: &str, context: &Context) -> Result<Value, String> {
        check_text(source)?;
        cost::admit_expression(source, context)?;
        let compiled = self.text.compile_expression(source);
        let compiled = compiled.map_err(|e| words(&e))?;
        compiled.eval(context.names.clone()).map_err(|e| words(&e))
    }

    /// What a template reads, as dotted names such as `input.city`.
    ///
    /// # Errors
    /// When it is not a template.
    pub(crate) fn names(&self, source: &str) -> Result<HashSet<String>, String> {
        check_constant(source)?;
        let template = self.text.template_from_str(source).map_err(|e| words(&e))?;
        Ok(template.undeclared_variables(true))
    }
}

/// Adds the tests, and the filters of this file.
pub(super) fn extend(env: &mut Environment<'static>) {
    env.add_test("defined", tests::is_defined);
    env.add_test("undefined", tests::is_undefined);
    env.add_test("none", tests::is_none);
    env.add_test("string", tests::is_string);
    env.add_test("number", tests::is_number);
    env.add_test("boolean", tests::is_boolean);
    env.add_test("mapping", tests::is_mapping);
    env.add_test("sequence", tests::is_sequence);
    env.add_test("iterable", tests::is_iterable);
    env.add_test("startingwith", tests::is_startingwith);
    env.add_test("endingwith", tests::is_endingwith);
    env.add_filter("path", path);
    env.add_filter("bytes", |value: &Value| plain(value).map(|text| text.len()));
    env.add_filter("pick", pick);
}

/// A value within a URL's path that keeps its slashes; all else of it is encoded.
fn path(value: &Value) -> Result<Value, Error> {
    let text = plain(value)?;
    let mut path = String::with_capacity(text.len());
    for (i, segment) in text.split('/').enumerate() {
        if i > 0 {
            path.push('/');
        }
        path.push_str(&encoded(segment)?);
        if path.len() > limits::JOB_VALUE_BYTES {
            return Err(too_long());
        }
    }
    Ok(Value::from_safe_string(path))
}

/// These fields of an object, or of each object of a list; what is not there is left out.
fn pick(value: &Value, names: Rest<String>) -> Result<Value, Error> {
    let of_one = |object: &Value| -> Result<Value, Error> {
        let mut picked = Vec::new();
        for name in names.iter() {
            let field = object.get_attr(name)?;
            if !field.is_undefined() {
                picked.push((name.as_str(), field));
            }
        }
        Ok(Value::from_pairs(picked))
    };
    if value.kind() == ValueKind::Map {
        return of_one(value);
    }
    value.try_iter()?.map(|item| of_one(&item)).collect()
}

#[cfg(test)]
mod tests_of_expressions {
    use serde_json::json;

    use super::super::{Place, context};
    use super::*;

    #[test]
    fn an_expression_keeps_its_type_and_what_is_not_there_is_null() {
        let (templates, names) = (Templates::new(), context(&json!({"a": {"n": 1, "l": [1]}})));
        for (source, value) in [
            ("a.n + 1", json!(2)),
            ("a.l", json!([1])),
            ("a.none", json!(null)),
            ("{'x': a.n} if a.n is number else none", json!({"x": 1})),
        ] {
            assert_eq!(templates.expression(source, &names), Ok(value), "{source}");
        }
    }

    #[test]
    fn a_condition_on_what_is_not_there_is_an_error_unless_it_asks() {
        let (templates, names) = (Templates::new(), context(&json!({"a": {"ok": false}})));
        assert_eq!(templates.holds("a.ok == false", &names), Ok(true));
        assert_eq!(templates.holds("a.x is defined", &names), Ok(false));
        assert_eq!(templates.holds("a.ok in [true, none]", &names), Ok(false));
        assert!(templates.holds("a.x", &names).is_err());
        assert!(templates.holds("b.x.y == 1", &names).is_err());
        for wrong in ["a ==", "{{ a }}", "a is odd", "range(3)", "a|nofilter", ""] {
            assert!(
                templates.check(&format!("{{{{ {wrong} }}}}")).is_err(),
                "{wrong}"
            );
        }
        assert!(templates.check("{{ status == 200 and b.ok }}").is_ok());
    }

    #[test]
    fn a_path_keeps_its_slashes_and_nothing_else() {
        let (templates, names) = (Templates::new(), context(&json!({"p": "a b/c?d#e%2f"})));
        assert_eq!(
            templates.render(Place::Url, "/x/{{ p|path }}", &names),
            Ok("/x/a%20b/c%3Fd%23e%252f".to_owned())
        );
    }

    #[test]
    fn fields_are_picked_of_one_and_of_many() {
        let many = json!([{"id": 1, "x": 2}, {"x": 3}]);
        let (templates, names) = (
            Templates::new(),
            context(&json!({"l": many, "o": {"id": 4, "y": 5}})),
        );
        let value = |source| templates.value(source, &names);
        assert_eq!(value("{{ l|pick('id') }}"), Ok(json!([{"id": 1}, {}])));
        assert_eq!(value("{{ o|pick('id', 'z') }}"), Ok(json!({"id": 4})));
        assert!(value("{{ o.id|pick('x') }}").is_err());
        assert_eq!(value("{{ 'aé'|bytes }}"), Ok(json!(3)));
    }

    #[test]
    fn it_is_known_which_names_are_read() {
        let names = Templates::new()
            .names("{{ input.a.b }}{{ steps.x.body }}")
            .unwrap();
        assert_eq!(
            names,
            HashSet::from(["input.a.b".to_owned(), "steps.x.body".to_owned()])
        );
    }
}
