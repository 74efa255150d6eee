use proptest::prelude::*;
use serde_json::{Value, json};
use toolroom_domain::{ToolId, port::DefinitionChecker, tool::Definition};

use super::support::{executor, external, native, rest};

fn paths(definition: &Definition) -> Vec<String> {
    let found = executor().check(definition).err().unwrap_or_default();
    found.into_iter().map(|v| v.path).collect()
}

fn paths_of(api: Value, mapping: Value) -> Vec<String> {
    paths(&rest(api, mapping))
}

#[test]
fn honest_definitions_pass() {
    assert!(paths(&native("app.tools.text.format_text")).is_empty());
    assert!(paths(&external("https://api.example.com/forecast")).is_empty());
    let api = json!({
        "base_url": "https://{{ input.region }}.example.com/v1/",
        "path": "/users/{{input.id}}",
        "method": "POST",
        "query": {"lang": "{{ lang|default('en') }}"},
        "headers": {"X-Trace": "{{ input.id }}"},
        "body": {"a": ["{{ input.a }}"]},
        "auth": {"method": "api_key_query", "key_name": "apikey", "secret_ref": "${API_KEY}"},
    });
    let mapping = json!({
        "input_to_params": {"city": "q", "$.list[*]": "items"},
        "response_to_output": {"temperature": "$.main.temp", "main.humidity": "humidity"},
    });
    assert_eq!(paths_of(api, mapping), Vec::<String>::new());
}

#[test]
fn an_unknown_native_function_is_refused_and_the_known_ones_named() {
    let found = executor().check(&native("os.system")).unwrap_err();
    assert_eq!(found[0].path, "native.functionPath");
    assert!(
        found[0].message.contains("text.format"),
        "{}",
        found[0].message
    );
}

#[test]
fn all_that_is_wrong_with_a_call_is_told_at_once() {
    let api = json!({
        "base_url": "https://example.com/?q=1",
        "path": "/{{ input.id",
        "query": {"a": "{% if x %}"},
        "headers": {"Host": "evil", "X-A": "{{ | }}"},
        "body": {"list": ["{{ x|nofilter }}", "{{"]},
        "auth": {"method": "basic", "secret_ref": "plain text"},
    });
    let mapping = json!({"input_to_params": {"$[": "a"}, "response_to_output": {"a": "$["}});
    assert_eq!(
        paths_of(api, mapping),
        [
            "rest.api.path",
            "rest.api.query.a",
            "rest.api.headers.X-A",
            "rest.api.body.list.0",
            "rest.api.body.list.1",
            "rest.api.base_url",
            "rest.api.headers.Host",
            "rest.api.auth.secret_ref",
            "rest.api.auth.username",
            "rest.mapping.input_to_params.$[",
            "rest.mapping.response_to_output.a",
        ]
    );
}

#[test]
fn authentication_must_be_complete() {
    for (auth, missing) in [
        (json!({"method": "bearer"}), vec!["secret_ref"]),
        (
            json!({"method": "api_key_query", "secret_ref": "${A}"}),
            vec!["key_name"],
        ),
        (
            json!({"method": "api_key_header", "key_name": "a b"}),
            vec!["secret_ref", "key_name"],
        ),
        (
            json!({"method": "basic", "username": "a:b", "secret_ref": "${A}"}),
            vec!["username"],
        ),
        (json!({"method": "none"}), vec![]),
        (
            json!({"method": "oauth2_client_credentials", "token_url": "ftp://a"}),
            vec!["secret_ref", "token_url", "client_id"],
        ),
    ] {
        let found = paths_of(
            json!({"base_url": "https://a.test", "auth": auth}),
            json!({}),
        );
        let expected: Vec<_> = missing
            .iter()
            .map(|m| format!("rest.api.auth.{m}"))
            .collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn what_looks_like_a_template_and_is_none_is_refused_with_a_hint() {
    let check = |api: Value| {
        let mut tool = rest(api, json!({}));
        tool.input_schema = json!({"type": "object", "properties": {"id": {}, "q": {}}});
        executor().check(&tool).err().unwrap_or_default()
    };
    let found = check(json!({
        "base_url": "https://{region}.a.test",
        "path": "/users/{id}",
        "query": {"q": "{q}", "filter": "{other}", "key": "${API_KEY}"},
        "headers": {"X-A": "Bearer ${API_KEY}", "X-B": "{\"a\": 1}"},
        "body": ["{q}", "{a}"],
    }));
    let told: Vec<_> = found
        .iter()
        .map(|v| (v.path.as_str(), v.message.as_str()))
        .collect();
    let secret = "holds `${API_KEY}`; a secret goes into `auth`, as its `secret_ref`";
    assert_eq!(
        told,
        [
            (
                "rest.api.base_url",
                "holds `{region}`, which is no template; write `{{ region }}`"
            ),
            (
                "rest.api.path",
                "holds `{id}`, which is no template; write `{{ id }}`"
            ),
            ("rest.api.query.key", secret),
            (
                "rest.api.query.q",
                "holds `{q}`, which is no template; write `{{ q }}`"
            ),
            ("rest.api.headers.X-A", secret),
            (
                "rest.api.body.0",
                "holds `{q}`, which is no template; write `{{ q }}`"
            ),
        ]
    );
}

#[test]
fn bodies_and_pages_must_be_complete() {
    let places = |mut api: Value| {
        api["base_url"] = json!("https://a.test");
        paths_of(api, json!({}))
    };
    assert_eq!(
        places(json!({"body_type": "text", "body": {}})),
        ["rest.api.body"]
    );
    assert_eq!(places(json!({"body_type": "form"})), ["rest.api.body"]);
    assert_eq!(
        places(json!({"body_type": "form", "method": "POST"})),
        Vec::<String>::new()
    );
    let pages = |pagination: Value| places(json!({ "pagination": pagination }));
    assert_eq!(pages(json!({"type": "link"})), Vec::<String>::new());
    assert_eq!(
        pages(json!({"type": "cursor", "items": "$.a", "max_pages": 0, "step": 0, "in": "body"})),
        [
            "rest.api.pagination.items",
            "rest.api.pagination.next",
            "rest.api.pagination.param",
            "rest.api.pagination.start",
            "rest.api.pagination.step",
            "rest.api.pagination.in",
            "rest.api.pagination.max_pages",
        ]
    );
}

#[test]
fn a_schema_that_is_none_is_refused_at_its_place() {
    let mut definition = native("echo");
    definition.input_schema = json!({"properties": {"a": {"type": "text"}}});
    definition.output_schema = Some(json!({"$ref": "http://127.0.0.1:1/"}));
    assert_eq!(
        paths(&definition),
        ["inputSchema.properties.a.type", "outputSchema.$ref"]
    );
    definition.input_schema = (0..100).fold(json!({}), |inner, _| json!({"not": inner}));
    assert_eq!(paths(&definition), ["inputSchema"]);
}

#[test]
fn a_native_function_brings_its_schemas() {
    let (input, output) = executor().native_schemas("text.format").unwrap();
    assert_eq!(input["required"], json!(["text", "style"]));
    assert_eq!(output.unwrap()["type"], "string");
    assert!(executor().native_schemas("os.system").is_none());
}

#[test]
fn an_input_is_checked_against_its_versions_schema() {
    let executor = executor();
    let tool = ToolId::from_uuid(uuid::Uuid::from_u128(1));
    let of_type = |name: &str| {
        let mut definition = native("echo");
        definition.input_schema = json!({"properties": {"a": {"type": name}}});
        definition
    };
    let (first, second) = (of_type("integer"), of_type("string"));
    for _ in 0..2 {
        let input = json!({"a": "hunter2"});
        let found = executor
            .check_input(tool, 1, &first, None, &input)
            .unwrap_err();
        assert_eq!((found[0].path.as_str(), found.len()), ("a", 1));
        assert!(!found[0].message.contains("hunter2"));
        assert_eq!(executor.check_input(tool, 2, &second, None, &input), Ok(()));
    }
}

#[test]
fn an_input_that_is_too_large_or_too_deep_is_refused() {
    let (executor, definition) = (executor(), native("echo"));
    let tool = ToolId::from_uuid(uuid::Uuid::from_u128(1));
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    for input in [json!("x".repeat(2_000_000)), deep] {
        assert!(
            executor
                .check_input(tool, 1, &definition, None, &input)
                .is_err()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_definition_is_answered_without_a_panic(
        base in "https?://\\PC{0,20}",
        path in proptest::option::of("[/{}%a-z.|$ ]{0,20}"),
        key in "\\PC{0,10}",
        value in "[${}a-z\\[\\].*%|' ]{0,16}",
    ) {
        let api = json!({
            "base_url": base, "path": path, "headers": {key.as_str(): value.as_str()},
            "query": {key.as_str(): value.as_str()}, "body": value.as_str(),
        });
        let mapping = json!({
            "input_to_params": {value.as_str(): key.as_str()},
            "response_to_output": {key.as_str(): value.as_str()},
        });
        let _ = executor().check(&rest(api, mapping));
    }
}

#[test]
fn each_definition_of_the_guide_can_be_registered() {
    let guide = include_str!("../../../../docs/rest-tools.md");
    let examples: Vec<_> = guide.split("```json\n").skip(1).collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let text = example.split("```").next().unwrap();
        let written: Value = serde_json::from_str(text).unwrap();
        let mut tool = rest(
            written["api"].clone(),
            written.get("mapping").cloned().unwrap_or_else(|| json!({})),
        );
        tool.input_schema = written["input_schema"].clone();
        tool.output_schema = written.get("output_schema").cloned();
        assert_eq!(executor().check(&tool), Ok(()), "{text}");
    }
}
