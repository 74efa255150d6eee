use std::time::{Duration, Instant};

use serde_json::json;

use super::super::{Place, Templates, context};

/// Far more than any of these takes, and far less than what they ask for.
const SOON: Duration = Duration::from_secs(10);

/// What is asked through each way in, and is refused by each.
fn refused(expression: &str, input: &serde_json::Value) {
    let (templates, source) = (Templates::new(), format!("{{{{ {expression} }}}}"));
    let shown: String = expression.chars().take(60).collect();
    let started = Instant::now();
    let text = format!("a {source}");
    assert!(
        templates
            .render(Place::Text, &text, &context(input))
            .is_err(),
        "{shown}"
    );
    assert!(
        templates
            .render(Place::Url, &source, &context(input))
            .is_err(),
        "{shown}"
    );
    assert!(
        templates.value(&source, &context(input)).is_err(),
        "{shown}"
    );
    assert!(templates.value(&text, &context(input)).is_err(), "{shown}");
    assert!(
        templates.expression(expression, &context(input)).is_err(),
        "{shown}"
    );
    assert!(
        templates.holds(expression, &context(input)).is_err(),
        "{shown}"
    );
    assert!(started.elapsed() < SOON, "{shown}");
}

/// As [`refused`], and when the template is registered too.
fn never_registered(expression: &str) {
    refused(expression, &json!({}));
    let (templates, source) = (Templates::new(), format!("{{{{ {expression} }}}}"));
    assert!(templates.check(&source).is_err(), "{expression}");
    assert!(templates.reads(&source).is_err(), "{expression}");
    assert!(templates.names(&source).is_err(), "{expression}");
}

#[test]
fn nothing_that_is_constant_grows_before_it_is_run() {
    let quoted = format!("'\"'{}", "|tojson".repeat(40));
    for bomb in [
        quoted.as_str(),
        "[[0]*99999999]*99999999",
        "([[0]*99999999]*99999999)|tojson",
        "([[0]*99999999]*99999999)|length",
        "[[0]*99999999]*99999999 == [[0]*99999999]*99999999",
        "(0,)*99999999",
        "'a'*99999999",
        "['a'*99999999, 'b'*99999999]|length",
        "('a'|int('b'))*99999999",
        "([0] if true else 1)*99999999",
        "([0] or 1)*99999999",
        "[1]|first * 99999999",
    ] {
        never_registered(bomb);
    }
}

#[test]
fn a_chain_of_operations_ends_somewhere() {
    for step in ["~1", "|abs", "+1", "[1:]", " or 1", ".a", " if 1 else 1"] {
        let chain = format!("1{}", step.repeat(19_000 / step.len()));
        assert!(
            Templates::new()
                .reads(&format!("{{{{ {chain} }}}}"))
                .is_err()
        );
    }
    let honest = format!("{{{{ 1{} }}}}", "~1".repeat(150));
    assert!(Templates::new().check(&honest).is_ok());
}

#[test]
fn a_large_input_is_not_read_over_and_over() {
    let input = json!({"a": "%".repeat(8 * 1024 * 1024), "l": vec![0; 100_000]});
    for expression in [
        format!("(a{})|length", "~a".repeat(100)),
        format!("[{}]", "l,".repeat(20)),
        format!("[{}]|length", "a,".repeat(900)),
        format!("[{}]|length", "l == l,".repeat(450)),
        format!("[{}]|length", "9 in l,".repeat(450)),
        format!("[{}]|length", "a|upper|length,".repeat(300)),
        format!("[{}]|length", "l[1:]|length,".repeat(200)),
        format!("l[99999:] in [{}]", "[1],".repeat(450)),
        format!("l[1:]{}|length", "[1:]".repeat(100)),
        format!("(l{})|length", "+l".repeat(100)),
        "a|urlencode|urlencode|urlencode".to_owned(),
        "[a|tojson|tojson]|tojson|tojson|tojson|tojson|tojson|tojson|length".to_owned(),
        "l|join(a)".to_owned(),
        "a * 2".to_owned(),
        "l * 2".to_owned(),
    ] {
        refused(&expression, &input);
    }
}

#[test]
fn all_templates_of_a_call_share_what_they_may_take() {
    let (templates, input) = (Templates::new(), json!({"a": "a".repeat(4 * 1024 * 1024)}));
    let names = context(&input);
    let filled = (0..1_000).map(|_| templates.render(Place::Text, "{{ a }}", &names));
    let filled: Result<Vec<_>, _> = filled.map(|text| text.map(|text| text.len())).collect();
    assert!(filled.is_err_and(|problem| problem.starts_with("is too much work")));
    assert!(
        templates
            .render(Place::Text, "{{ a }}", &context(&input))
            .is_ok()
    );
}

#[test]
fn a_value_has_no_more_items_than_a_job_may_hold() {
    let (templates, names) = (Templates::new(), context(&json!({"l": vec![0; 300_000]})));
    assert!(templates.value("{{ [l, l, l] }}", &names).is_ok());
    assert!(templates.value("{{ [l, l, l, l] }}", &names).is_err());
    let body = json!({"a": "{{ l }}", "b": "{{ l }}", "c": "{{ l }}", "d": "{{ l }}"});
    assert!(templates.fill(&body, &names).is_err());
}

#[test]
fn what_is_honest_is_filled_in() {
    let file = "x".repeat(10 * 1024 * 1024);
    let input =
        json!({"n": 3, "s": "2.5", "l": [1, 2], "o": {"p": [4]}, "file": file, "none": null});
    let (templates, names) = (Templates::new(), context(&input));
    for (source, value) in [
        ("n * 2 + 1", json!(7)),
        ("2 * 3 * n", json!(18)),
        ("o.p[0] * n", json!(12)),
        ("(n|default(1)) * 2", json!(6)),
        ("(n if s else 1) * -n", json!(-9)),
        ("s|float * 2", json!(5.0)),
        ("(l|length) * 2 ** 3", json!(16)),
        ("l|first|int * 2", json!(2)),
        ("l + [3]", json!([1, 2, 3])),
        ("'n' ~ n ~ '/' ~ s", json!("n3/2.5")),
        ("1 in l and 5 not in l", json!(true)),
        ("file[:5] ~ '…'", json!("xxxxx…")),
        ("file|length", json!(10 * 1024 * 1024)),
        ("(file|tojson|length) > 0", json!(true)),
        ("l[0:1] == [1]", json!([1] == [1])),
    ] {
        assert_eq!(templates.expression(source, &names), Ok(value), "{source}");
    }
}
