use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn problems(schema: Value, value: &Value) -> Vec<(String, String)> {
    let found = Schema::compile(&schema).unwrap().check(value).err();
    let flat = found.unwrap_or_default().into_iter();
    flat.map(|v| (v.path, v.message)).collect()
}

fn pair(path: &str, message: &str) -> (String, String) {
    (path.to_owned(), message.to_owned())
}

#[test]
fn every_offending_path_is_named_and_no_value_is_repeated() {
    let schema = json!({
        "type": "object",
        "properties": {
            "style": {"enum": ["bold", "italic"]},
            "items": {"type": "array", "items": {"type": ["integer", "null"], "minimum": 3}},
            "to": {"type": "object", "required": ["name"]},
        },
        "required": ["text"],
        "additionalProperties": false,
    });
    let value =
        json!({"style": "hunter2", "items": [5, "hunter2", 1], "to": {}, "colour": "hunter2"});
    let mut found = problems(schema, &value);
    found.sort();
    assert_eq!(
        found,
        [
            pair("colour", "is not a known field"),
            pair("items.1", "must be of type null or integer"),
            pair("items.2", "must be at least 3"),
            pair("style", "must be one of [\"bold\",\"italic\"]"),
            pair("text", "is required"),
            pair("to.name", "is required"),
        ]
    );
}

#[test]
fn a_schema_that_is_none_is_refused_at_its_place() {
    let schema =
        json!({"type": "object", "properties": {"a": {"type": "text"}, "b": {"minLength": -1}}});
    let found = Schema::compile(&schema).unwrap_err();
    let paths: Vec<_> = found.iter().map(|v| v.path.as_str()).collect();
    assert_eq!(paths, ["properties.a.type", "properties.b.minLength"]);
}

#[test]
fn nothing_is_fetched() {
    for foreign in [
        json!({"$ref": "http://127.0.0.1:1/schema.json"}),
        json!({"$ref": "file:///etc/passwd"}),
        json!({"$schema": "http://127.0.0.1:1/meta.json"}),
        json!({"$schema": 7}),
        json!({"properties": {"a": {"$ref": "other.json"}}}),
        json!({"$ref": "#/$defs/missing"}),
        json!({"$defs": {"a": {"$id": "b"}}, "$ref": "b"}),
        json!({"$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "x"}}, "$ref": "#x"}),
    ] {
        assert!(Schema::compile(&foreign).is_err(), "{foreign}");
    }
}

#[test]
fn older_drafts_are_read_as_they_were_written() {
    let tuple = json!({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]});
    assert_eq!(
        problems(tuple, &json!([1])),
        [pair("0", "must be of type string")]
    );
    let exclusive = json!({"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1, "exclusiveMinimum": true});
    assert_eq!(problems(exclusive, &json!(1)).len(), 1);
}

#[test]
fn honest_patterns_compile() {
    for pattern in [
        r"^\p{L}{1,64}$",
        r"^[\w.+-]{1,255}@[\w-]+\.[\w.-]+$",
        r"^.{1,1000}$",
        r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}$",
        r"^(?=.*[A-Z])(?=.*\d).{8,64}$",
        r"^\S+( \S+){0,20}$",
    ] {
        let compiled = Schema::compile(&json!({ "pattern": pattern }));
        assert!(compiled.is_ok(), "{pattern}: {:?}", compiled.err());
    }
}

#[test]
fn a_schema_has_a_bounded_number_of_patterns() {
    let many: serde_json::Map<String, Value> = (0..30)
        .map(|i| (format!("^a{i}"), json!({"pattern": "b"})))
        .collect();
    let found = Schema::compile(&json!({ "patternProperties": many })).unwrap_err();
    assert_eq!(found[0].message, "must hold at most 50 patterns");
}

#[test]
fn a_bad_or_huge_pattern_is_refused() {
    for pattern in ["(", "(((a{100}){100}){100}){100}"] {
        assert!(
            Schema::compile(&json!({"pattern": pattern})).is_err(),
            "{pattern}"
        );
    }
}

#[test]
fn a_pattern_that_backtracks_for_ever_is_given_up() {
    let begun = Instant::now();
    let schema = json!({"pattern": "^(?=(a+)+$)(a|a)*b$"});
    let text = format!("{}c", "a".repeat(5_000));
    assert_eq!(problems(schema, &json!(text)).len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_schema_that_asks_for_endless_work_is_given_up() {
    let begun = Instant::now();
    let twice = |name: &str| json!({"allOf": [{"$ref": name}, {"$ref": name}]});
    let mut laughs = json!({"$ref": "#/$defs/n0", "$defs": {"n40": {"type": "string"}}});
    for i in 0..40 {
        laughs["$defs"][format!("n{i}")] = twice(&format!("#/$defs/n{}", i + 1));
    }
    let deep = json!({"properties": {"x": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}});
    let mut value = json!(1);
    for _ in 0..60 {
        value = json!({"x": value});
    }
    let anchored = json!({"$ref": "#a", "$defs": {"d": {"$anchor": "a", "properties": {"x": {"allOf": [{"$ref": "#a"}, {"$ref": "#a"}]}}}}});
    for (schema, value) in [(laughs, json!(1)), (deep, value.clone()), (anchored, value)] {
        assert_eq!(
            problems(schema, &value),
            [pair("", "is too much work to check against its schema")]
        );
    }
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn references_within_the_schema_are_followed() {
    let defs = json!({"a/b": {"type": "integer"}, "c": {"$anchor": "d", "type": "integer"}});
    for reference in [
        "#/$defs/a~1b",
        "#/%24defs/c",
        "#d",
        "https://a.test/s#d",
        "https://a.test/s#/$defs/c",
    ] {
        let schema = json!({"$id": "https://a.test/s", "properties": {"n": {"$ref": reference}}, "$defs": defs});
        let found = problems(schema, &json!({"n": "x"}));
        assert_eq!(found, [pair("n", "must be of type integer")], "{reference}");
    }
    let meta = json!({"$ref": "https://json-schema.org/draft/2020-12/schema"});
    assert_eq!(problems(meta, &json!({"type": 7})).len(), 1);
    let data = json!({"enum": [{"$ref": "only data"}], "examples": [{"$ref": "only data"}]});
    assert!(Schema::compile(&data).is_ok());
}

#[test]
fn a_schema_that_refers_to_itself_in_place_is_no_loop() {
    let schema = json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}});
    if let Ok(schema) = Schema::compile(&schema) {
        assert!(schema.check(&json!(1)).is_err());
    }
}

#[test]
fn an_honest_recursive_schema_passes() {
    let tree = json!({
        "$defs": {"node": {
            "type": "object",
            "properties": {"left": {"$ref": "#/$defs/node"}, "right": {"$ref": "#/$defs/node"}},
        }},
        "$ref": "#/$defs/node",
    });
    let mut value = json!({});
    for _ in 0..12 {
        value = json!({"left": value, "right": value});
    }
    assert_eq!(problems(tree, &value), []);
}

proptest! {
    #[test]
    fn a_message_never_holds_the_value(secret in "[A-Z]{12,20}") {
        for schema in [
            json!({"type": "integer"}), json!({"enum": [1]}), json!({"const": 2}),
            json!({"maxLength": 3}), json!({"pattern": "^[0-9]$"}), json!({"not": {}}),
            json!({"anyOf": [{"type": "null"}]}), json!({"oneOf": [true, true]}), json!(false),
        ] {
            for (path, message) in problems(schema, &json!(secret)) {
                prop_assert!(!path.contains(&secret) && !message.contains(&secret), "{}", message);
            }
        }
    }
}
