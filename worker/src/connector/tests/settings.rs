//! What a tool is registered with: checked, shown, kept, resolved.

use serde_json::{Value, json};
use toolroom_domain::{ErrorCategory, port::DefinitionChecker};

use super::support::{Story, action, connectors, file};
use crate::{
    connector::check::check,
    executor::{
        Executor, Options,
        tests::support::{API_KEY, Server, options},
    },
    gate::Verdict,
};

fn plain() -> Value {
    file(json!({
        "auth": {"method": "bearer", "token": "{{ credentials.token }}"},
        "actions": [action(json!({}))],
    }))
}

#[test]
fn credentials_are_checked_by_field_and_a_reference_suits_any_text() {
    let executor = Executor::try_new(Options {
        connectors: connectors(&plain()).unwrap().into(),
        ..options(&[])
    })
    .unwrap();
    let found = |kind: &str, credentials: Value, config: Option<Value>| -> Vec<String> {
        let checked = executor.check_credentials(kind, &credentials, config.as_ref());
        let found = checked.err().unwrap_or_default();
        found.into_iter().map(|v| v.path).collect()
    };
    let good = json!({"hook": "${HOOK}", "token": "${T}"});
    assert_eq!(found("story", good, Some(json!({}))), [""; 0]);
    let bad = json!({"hook": "nonsense", "token": "x", "tken": "y"});
    let mut places = found("STORY", bad, Some(json!({"a": 1})));
    places.sort();
    assert_eq!(
        places,
        [
            "config",
            "credentials.hook",
            "credentials.tken",
            "credentials.token"
        ]
    );
    assert_eq!(found("NOWHERE", json!({}), None), ["type"]);
    assert_eq!(executor.connector("Story").unwrap().kind, "STORY");
}

#[test]
fn templates_of_letters_are_checked_when_a_tool_is_registered() {
    let executor = Executor::try_new(options(&[])).unwrap();
    let credentials = json!({"host": "mail.test", "from": "a@mail.test"});
    let found = |subject: &str| {
        let template = json!({"subject": subject, "body": "{{ name }}"});
        let config = json!({"templates": {"welcome": template}});
        let checked = executor.check_credentials("EMAIL", &credentials, Some(&config));
        let found = checked.err().unwrap_or_default();
        found.into_iter().map(|v| v.path).collect::<Vec<_>>()
    };
    assert_eq!(found("{{ DATE }} {{ name }}"), [""; 0]);
    assert_eq!(found("{{ name"), ["config.templates.welcome.subject"]);
}

#[tokio::test]
async fn a_reference_is_resolved_when_the_call_is_made_and_masked() {
    let server = Server::json(json!({"echo": API_KEY})).await;
    let story = Story::new(
        &plain(),
        json!({"url": server.url(""), "token": "${API_KEY}"}),
    );
    let output = story.run(json!({})).await.unwrap();
    assert_eq!(output, json!({"echo": "***"}));
    let sent = format!("authorization: Bearer {API_KEY}\r\n");
    assert!(server.request().contains(&sent), "{}", server.request());
}

#[tokio::test]
async fn a_vault_that_is_away_is_no_fault_of_the_service_and_worth_another_try() {
    let credentials = json!({"url": "https://a.test", "token": "token-1"});
    let story = Story::with_store_away(&plain(), &credentials);
    let failed = story.run(json!({})).await.unwrap_err();
    assert!(failed.retryable, "{failed}");
    let verdict = Verdict::of(failed.code, failed.category);
    assert_eq!(verdict, Verdict::Silent, "{failed}");
}

#[tokio::test]
async fn a_version_whose_secrets_were_replaced_says_so() {
    let mut story = Story::new(
        &plain(),
        json!({"url": "https://a.test", "token": "token-1"}),
    );
    if let toolroom_domain::tool::ToolConfig::Connector(config) = &mut story.definition.config {
        config.credentials.shown = json!({"url": "https://a.test", "hook": "***"});
    }
    let failed = story.run(json!({})).await.unwrap_err();
    assert_eq!(failed.category, ErrorCategory::Authentication);
    assert!(failed.message.contains("hook"), "{failed}");
    assert!(!failed.retryable);
}

/// What a later version has set in the place of what the story's tool was registered with.
async fn after(replaced: Value) -> (Story, Server) {
    let server = Server::json(json!({})).await;
    let credentials = json!({"url": server.url("/"), "token": "token-1"});
    let story = Story::new(&plain(), credentials.clone());
    let mut new = credentials;
    for (name, value) in replaced.as_object().unwrap() {
        new[name] = value.clone();
    }
    story.replace(new, 5);
    (story, server)
}

#[tokio::test]
async fn a_version_gets_no_secret_that_was_set_for_another_address() {
    for replaced in [
        json!({"url": "https://new.test", "token": "token-2"}),
        json!({"url": "https://new.test"}),
    ] {
        let (story, server) = after(replaced).await;
        let failed = story.run(json!({})).await.unwrap_err();
        assert_eq!(failed.category, ErrorCategory::Authentication);
        assert!(
            failed.message.contains("version 3") && failed.message.contains("version 5"),
            "{failed}"
        );
        assert_eq!(server.seen(), [""; 0], "nothing is sent to the old one");
    }
}

#[tokio::test]
async fn a_secret_that_was_replaced_for_the_same_address_serves_old_versions_and_is_told_as_such() {
    let (story, server) = after(json!({"token": "token-2", "retries": 4})).await;
    story.run(json!({})).await.unwrap();
    assert!(server.request().contains("authorization: Bearer token-2"));
    let used = story.told.secrets.lock().unwrap()[0].clone();
    assert_eq!(
        (used.name.as_str(), used.version),
        ("credentials/tool/1", 5)
    );
}

#[tokio::test]
async fn a_version_without_secrets_needs_nothing_that_is_kept() {
    let server = Server::json(json!({})).await;
    let story = Story::new(
        &plain(),
        json!({"url": server.url("/"), "token": "${API_KEY}"}),
    );
    story.replace(json!({"url": "https://new.test"}), 5);
    story.run(json!({})).await.unwrap();
    assert!(server.request().contains(API_KEY));
}

#[tokio::test]
async fn examples_are_rendered_with_their_secrets_masked() {
    let act = action(json!({
        "requests": [{"steps": [
            {"id": "a", "method": "POST", "path": "a", "body": {"form": {"x": "{{ input.x }}"}}},
            {"id": "b", "path": "{{ steps.a.body.id }}", "output": {"id": "{{ body.id }}"}},
        ]}],
        "output": {"type": "object", "required": ["id"]},
        "examples": [
            {
                "name": "Answered", "credentials": {"url": "https://a.test", "token": "token-1"},
                "input": {"x": "y z"}, "answers": [{"body": {"id": 1}}, {"body": {"id": 2}}],
            },
            {"name": "Not answered", "credentials": {"url": "https://a.test", "token": "token-1"}, "input": {"x": 1}},
            {
                "name": "Refused", "credentials": {"url": "https://a.test", "token": "token-1"},
                "input": {"x": 1}, "answers": [{"status": 500}],
            },
        ],
    }));
    let file = file(json!({
        "auth": {"method": "bearer", "token": "{{ credentials.token }}"},
        "actions": [act],
    }));
    let checked = check("story.yaml", &file.to_string()).await.unwrap();
    let [answered, open, refused] = &checked.examples[..] else {
        panic!("{checked:?}");
    };
    assert_eq!(
        answered.requests[0]["headers"]["authorization"],
        "Bearer ***"
    );
    assert_eq!(answered.requests[0]["body"], json!({"x": "y z"}));
    assert_eq!(answered.requests[1]["url"], "https://a.test/1");
    assert_eq!(answered.output, Some(json!({"id": 2})));
    assert_eq!(
        (&open.output, &open.later[..]),
        (&None, &["b".to_owned()][..])
    );
    let problem = refused.problem.as_deref().unwrap();
    assert!(
        problem.starts_with("story.yaml: actions.0.examples.2: "),
        "{problem}"
    );
    assert!(!format!("{checked:?}").contains("token-1"));
}
