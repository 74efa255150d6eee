//! Files: what is taken, what is refused, and where it says that the fault is.

use std::fs;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::{action, connectors, file};
use crate::connector::{Connectors, LoadError, SCHEMA};

fn problems(file: &Value) -> String {
    match connectors(file) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

fn sound() -> Value {
    file(json!({
        "auth": [{"method": "bearer", "token": "{{ credentials.token }}"}],
        "errors": [{"when": "status == 500", "category": "SERVER_ERROR", "message": "m"}],
        "rate_limit": {"requests": 1, "window_s": 1, "headers": {}},
        "actions": [action(json!({
            "requests": [{"steps": [{"id": "a", "body": {"json": {}}, "pages": {"next": "1", "items": "[]"}}]}],
        }))],
        "test": {"requests": [{}]},
    }))
}

#[test]
fn those_that_come_with_toolroom_are_sound() {
    let all = Connectors::built_in().unwrap_or_else(|e| panic!("{e}"));
    assert!(all.specs().iter().any(|spec| spec.kind == "HTTP"));
    assert!(serde_json::from_str::<Value>(SCHEMA).unwrap()["$defs"].is_object());
    let (origin, _) = all.origin("http").unwrap();
    assert_eq!(origin, "connectors/http.yaml");
}

#[test]
fn a_fault_is_told_with_the_file_and_the_place_in_it() {
    let with = |parts: Value| file(json!({"actions": [action(parts)]}));
    let no_base = {
        let mut file = with(json!({}));
        file.as_object_mut().unwrap().remove("base_url");
        file
    };
    for (file, place) in [
        (
            with(json!({"requests": [{"method": "{{ input.m"}]})),
            "actions.0.requests.0.method: is not",
        ),
        (
            with(json!({"requests": [{"path": "{{ credentials.tokn }}"}]})),
            "actions.0.requests.0.path: reads `credentials.tokn`, which the schema of",
        ),
        (
            with(json!({"requests": [{"path": "{{ body.x }}"}]})),
            "path: reads `body.x`, which is not there",
        ),
        (
            with(json!({"requests": [{"path": "a?b={{ input.x }}"}]})),
            "path: must not hold `?`",
        ),
        (
            with(json!({"requests": [{"steps": [{"id": "a", "path": "{{ steps.b.body }}"}]}]})),
            "actions.0.requests.0.steps.0.path: reads `steps.b.body`, but no step",
        ),
        (
            with(json!({"requests": [{"when": "{{ input.x }}"}]})),
            "actions.0.requests.0.when",
        ),
        (
            with(
                json!({"errors": [{"when": "true", "category": "UNKNOWN", "message": "to {{ input.to }}"}]}),
            ),
            "actions.0.errors.0.message: reads `input.to`; a message is told in the clear",
        ),
        (
            with(json!({"idempotency": {"body": "key"}})),
            "requests.0.idempotency: puts the key",
        ),
        (
            with(json!({"input": {"type": "object", "properties": {"a": {"type": "txt"}}}})),
            "actions.0.input.properties.a.type",
        ),
        (
            with(json!({"id": "story.test-connection"})),
            "actions.0.id: is the name of the connection test",
        ),
        (
            with(
                json!({"examples": [{"name": "x", "credentials": {"token": "short"}, "input": {}}]}),
            ),
            "actions.0.examples.0.credentials.token: must have at least 6 characters",
        ),
        (
            with(json!({"handler": "smtp"})),
            "actions.0.requests: must be left out",
        ),
        (
            with(json!({"action_type": "send"})),
            "actions.0.action_type: must be one of",
        ),
        (
            no_base,
            "actions.0.requests.0.url: is required where there is no `base_url`",
        ),
        (
            file(json!({"actions": [action(json!({})), action(json!({"id": "other.act"}))]})),
            "actions.1.id: must have the prefix",
        ),
        (
            file(json!({"actions": [action(json!({})), action(json!({}))]})),
            "actions.1.id: is the id of",
        ),
        (
            file(json!({"actions": [action(json!({}))], "auth": {"method": "bearer"}})),
            "auth.token: is required",
        ),
        (
            file(
                json!({"actions": [action(json!({}))], "credentials": {"type": "object", "properties": {}}}),
            ),
            "credentials.additionalProperties: is required",
        ),
        (
            file(json!({"actions": [action(json!({}))], "type": "REST"})),
            "type: ",
        ),
    ] {
        let told = problems(&file);
        assert!(told.starts_with("story.yaml: "), "{told}");
        assert!(told.contains(place), "{place} in {told}");
    }
    assert_eq!(problems(&sound()), "");
}

#[test]
fn what_is_no_yaml_is_told_with_its_line() {
    let of = |text: &str| Connectors::of(&[("a.yaml".to_owned(), text.to_owned())]);
    for text in ["type: [", "type: A\ntype: B", "a: &a [*a]", ""] {
        let told = of(text).unwrap_err().to_string();
        assert!(told.starts_with("a.yaml: "), "{told}");
    }
    let bomb = (0..9).fold(
        "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned(),
        |text, n| {
            let (from, to) = (char::from(b'a' + n), char::from(b'b' + n));
            let many = vec![format!("*{from}"); 9].join(", ");
            text + &format!("{to}: &{to} [{many}]\n")
        },
    );
    assert!(of(&bomb).is_err());
}

#[test]
fn an_operators_folder_adds_types_and_replaces_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("story.yaml");
    fs::write(&path, sound().to_string()).unwrap();
    fs::write(folder.path().join("notes.txt"), "not a connector").unwrap();
    let all = Connectors::load(Some(folder.path())).unwrap();
    assert!(all.specs().iter().any(|spec| spec.kind == "STORY"));
    let limit = all.rate_limit("story").unwrap();
    assert_eq!((limit.requests, limit.window_s), (1, 1));

    let mut twice = sound();
    twice["type"] = json!("HTTP");
    fs::write(&path, twice.to_string()).unwrap();
    let refused = Connectors::load(Some(folder.path())).unwrap_err();
    assert!(matches!(refused, LoadError::Duplicate { .. }), "{refused}");
    assert!(
        refused.to_string().contains("connectors/http.yaml"),
        "{refused}"
    );
    let missing = Connectors::load(Some(&folder.path().join("none"))).unwrap_err();
    assert!(matches!(missing, LoadError::Read { .. }), "{missing}");
}

/// The places of all objects of a file whose fields the format names.
fn objects(value: &Value, at: &str, into: &mut Vec<String>) {
    // Schemas, credentials and inputs may say more than the format does, maps name anything.
    let free = ["/credentials", "/input", "/json", "/headers", "/query"];
    if free.iter().any(|end| at.ends_with(end)) && !at.ends_with("rate_limit/headers") {
        return;
    }
    match value {
        Value::Object(fields) => {
            into.push(at.to_owned());
            for (name, field) in fields {
                objects(field, &format!("{at}/{name}"), into);
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                objects(item, &format!("{at}/{i}"), into);
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_field_that_the_format_does_not_know_is_refused_wherever_it_stands(
        name in "zz[a-z_]{1,8}", which in any::<prop::sample::Index>(),
    ) {
        let mut file = sound();
        let mut places = Vec::new();
        objects(&file, "", &mut places);
        let place = which.get(&places);
        let fields = file.pointer_mut(place).unwrap().as_object_mut().unwrap();
        fields.insert(name.clone(), json!(1));
        let told = problems(&file);
        prop_assert!(told.contains(&name), "{name} at {place}: {told}");
    }

    #[test]
    fn any_text_is_a_file_or_an_error(text in "[a-z:{}\\[\\]&*!|>\"' \\n-]{0,80}") {
        prop_assert!(Connectors::of(&[("a.yaml".to_owned(), text)]).is_err());
    }
}
