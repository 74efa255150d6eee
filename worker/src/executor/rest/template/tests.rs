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
    for (source, name) in [
        ("{{ input.x }}", "input.x"),
        ("{{ a }} {{ x }}", "x"),
        ("{{ y|default(1) }}{{ input.a.b.c }}", "input.a.b.c"),
    ] {
        let problem = render(Place::Text, source, json!({"a": {"b": 1}})).unwrap_err();
        assert!(
            problem.starts_with(&format!("names `{name}`, which is not there")),
            "{problem}"
        );
    }
    let problem = Templates::new().value("{{ input.x }}", &context(&json!({})));
    assert!(problem.is_err_and(|p| p.contains("`input.x`")));
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
fn the_time_is_the_clocks_and_not_the_inputs() {
    let now = "2026-07-01T12:34:56.789Z".parse().unwrap();
    let context = context_at(&json!({"DATE": "1970-01-01", "a": 1}), now);
    let templates = Templates::new();
    let text = "{{DATE}} {{TIME}} {{NOW}} {{ a }} {{ input.DATE }}";
    assert_eq!(
        templates.render(Place::Text, text, &context),
        Ok("2026-07-01 12:34:56 2026-07-01T12:34:56Z 1 1970-01-01".to_owned())
    );
}

#[test]
fn all_texts_of_a_value_are_filled_in_up_to_a_bound() {
    let (templates, context) = (
        Templates::new(),
        context(&json!({"a": 1, "l": "x".repeat(900_000)})),
    );
    let body = json!({"n": "{{ a }}", "t": ["a{{ a }}", 2, null], "{{ a }}": {"x": true}});
    assert_eq!(
        templates.fill(&body, &context),
        Ok(json!({"n": 1, "t": ["a1", 2, null], "{{ a }}": {"x": true}}))
    );
    let many = json!(vec!["{{ l }}"; 100]);
    assert!(
        templates
            .fill(&many, &context)
            .is_err_and(|p| p.contains("bytes in all"))
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
