//! What arrives.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use toolroom_domain::ErrorCategory;

use super::*;

#[tokio::test]
async fn a_letter_goes_out_over_a_secured_line_with_a_login() {
    let world = World::new(Manner::Proper).await;
    let output = world.send(note()).await.unwrap();
    let letter = world.letter();
    assert!(letter.secured);
    assert_eq!(letter.login.as_deref(), Some(USERNAME));
    assert_eq!(letter.from, "toolroom@example.com");
    assert_eq!(letter.to, ["jane@example.org"]);
    for (name, value) in [
        ("From", "Toolroom <toolroom@example.com>"),
        ("To", "jane@example.org"),
        ("Subject", "Hello"),
        ("Date", "Wed, 01 Jul 2026 12:00:00 +0000"),
        ("Message-ID", output["messageId"].as_str().unwrap()),
    ] {
        assert_eq!(letter.header(name).as_deref(), Some(value));
    }
    assert!(letter.letter.ends_with("\r\n\r\nA note.\r\n"), "{letter:?}");
    let job = JobId::from_uuid(uuid::Uuid::from_u128(7));
    let id = format!("<{job}@example.com>");
    assert_eq!(output, json!({ "messageId": id, "accepted": 1 }));
    assert_eq!(
        world.book.entries(),
        ["sending Unknown", "received Answered 250"]
    );
    assert!(world.effects.any() && !world.effects.cut());
}

#[tokio::test]
async fn a_server_may_want_tls_from_the_first_byte() {
    let office = PostOffice::wrapped(Manner::Proper).await;
    let world = World::of(office).with("security", "tls");
    world.send(note()).await.unwrap();
    assert!(world.letter().secured);
}

#[tokio::test]
async fn a_relay_without_tls_takes_letters_without_a_password() {
    let world = World::new(Manner::Open)
        .await
        .with("security", "none")
        .without("username")
        .without("password");
    world.send(note()).await.unwrap();
    let letter = world.letter();
    assert_eq!((letter.secured, letter.login), (false, None));
}

#[tokio::test]
async fn recipients_are_lists_or_texts_and_each_gets_it_once() {
    let world = World::new(Manner::Proper).await;
    let output = world.send(json!({
        "to": "Jane Doe <jane@example.org>, joe@example.org",
        "cc": ["Ann <ann@example.org>", "jane@example.org"],
        "bcc": ["secret@example.org"],
        "replyTo": "desk@example.com",
        "subject": "Hello",
        "body": "A note.",
    }));
    assert_eq!(output.await.unwrap()["accepted"], 4);
    let letter = world.letter();
    assert_eq!(
        letter.to,
        [
            "jane@example.org",
            "joe@example.org",
            "ann@example.org",
            "secret@example.org"
        ]
    );
    assert_eq!(
        letter.header("To").unwrap(),
        "\"Jane Doe\" <jane@example.org>, joe@example.org"
    );
    assert_eq!(letter.header("Reply-To").unwrap(), "desk@example.com");
    // The others do not learn of them.
    assert!(!letter.letter.contains("secret@example.org"));
}

#[tokio::test]
async fn a_page_a_text_an_image_and_a_file_make_one_letter() {
    let world = World::new(Manner::Proper).await;
    let report = BASE64.encode("a,b\n1,2\n");
    world
        .send(json!({
            "to": "jane@example.org",
            "subject": "Grüße",
            "body": "As text.",
            "html": "<p>As a page <img src=\"cid:logo\"></p>",
            "attachments": [
                { "filename": "report.csv", "content": report, "contentType": "text/csv" },
                { "filename": "logo.png", "content": "iVBORw0KGgo=", "contentType": "image/png", "contentId": "logo" },
            ],
        }))
        .await
        .unwrap();
    let letter = world.letter();
    assert_eq!(
        letter.header("Subject").unwrap(),
        "=?utf-8?b?R3LDvMOfZQ==?="
    );
    let order = [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "As text.",
        "multipart/related",
        "text/html",
        "Content-ID: <logo>",
        "Content-Disposition: inline; filename=\"logo.png\"",
        "Content-Disposition: attachment; filename=\"report.csv\"",
    ];
    let mut rest = letter.letter.as_str();
    for expected in order {
        let at = rest.find(expected);
        let at = at.unwrap_or_else(|| panic!("{expected} is not where it belongs: {rest}"));
        rest = &rest[at..];
    }
}

#[tokio::test]
async fn the_same_job_writes_the_same_letter_again() {
    let world = World::new(Manner::Proper).await;
    let input = json!({
        "to": "jane@example.org",
        "subject": "Hello",
        "body": "As text.",
        "html": "<p>As a page</p>",
    });
    world.send(input.clone()).await.unwrap();
    world.send(input).await.unwrap();
    let received = world.office.received();
    assert_eq!(received[0], received[1]);
}

#[tokio::test]
async fn a_line_that_is_a_dot_does_not_end_the_letter() {
    let world = World::new(Manner::Proper).await;
    let mut input = note();
    input["body"] = json!("Before\n.\n..\nAfter");
    world.send(input).await.unwrap();
    let letter = world.letter().letter;
    assert!(
        letter.ends_with("Before\r\n.\r\n..\r\nAfter\r\n"),
        "{letter}"
    );
}

#[tokio::test]
async fn a_template_of_the_tool_is_filled_in_and_its_page_stays_a_page() {
    let mut world = World::new(Manner::Proper).await;
    world.config = json!({ "templates": { "welcome": {
        "subject": "Welcome, {{ name }}",
        "body": "Dear {{ name }}, {{ variables_left | default('all is well') }}.",
        "html": "<p>Dear {{ name }}</p>",
    } } });
    world
        .send(json!({
            "to": "jane@example.org",
            "template": "welcome",
            "variables": { "name": "<b>J & J</b>" },
        }))
        .await
        .unwrap();
    let letter = world.letter();
    assert_eq!(letter.header("Subject").unwrap(), "Welcome, <b>J & J</b>");
    assert!(letter.letter.contains("Dear <b>J & J</b>, all is well."));
    let page = "<p>Dear &lt;b&gt;J &amp; J&lt;/b&gt;</p>";
    assert!(letter.letter.contains(page), "{letter:?}");
}

#[tokio::test]
async fn a_template_that_is_not_there_or_lacks_a_variable_sends_nothing() {
    let mut world = World::new(Manner::Proper).await;
    let input = json!({ "to": "jane@example.org", "template": "welcome" });
    let error = world.send(input.clone()).await.unwrap_err();
    assert!(error.message.contains("config has none"), "{error}");
    world.config = json!({ "templates": { "other": { "subject": "{{ name }}", "body": "x" } } });
    let error = world.send(input).await.unwrap_err();
    assert!(error.message.ends_with("must be one of other"), "{error}");
    let input = json!({ "to": "jane@example.org", "template": "other", "variables": {} });
    let error = world.send(input).await.unwrap_err();
    assert!(error.message.contains("template's `subject`"), "{error}");
    assert!(world.office.heard().is_empty());
}

#[tokio::test]
async fn a_template_knows_the_time() {
    let mut world = World::new(Manner::Proper).await;
    world.config = json!({ "templates": { "daily": {
        "subject": "{{ DATE }}", "body": "{{TIME}} {{ NOW }} {{ name }}", "html": "<p>{{DATE}}</p>",
    } } });
    let input = json!({
        "to": "jane@example.org", "template": "daily", "variables": { "name": "x", "DATE": "never" },
    });
    world.send(input).await.unwrap();
    let letter = world.letter();
    assert_eq!(letter.header("Subject").unwrap(), "2026-07-01");
    assert!(letter.letter.contains("12:00:00 2026-07-01T12:00:00Z x"));
    assert!(letter.letter.contains("<p>2026-07-01</p>"));
}

#[test]
fn what_is_wrong_with_a_template_is_told_when_the_tool_is_registered() {
    let check = |subject: &str, body: &str| {
        let template = json!({ "subject": subject, "body": body });
        let config = json!({ "templates": { "fine": { "subject": "a", "html": "{{ b }}" }, "it": template } });
        let found = Smtp::new().check_config(&config);
        found.into_iter().map(|v| v.path).collect::<Vec<_>>()
    };
    assert!(check("{{ a }}", "{{ NOW }} {{ b|default(1) }}").is_empty());
    assert!(Smtp::new().check_config(&json!({})).is_empty());
    assert_eq!(check("{{ a", "x"), ["templates.it.subject"]);
    let bomb = "{{ [[0]*99999999]*99999999 }}";
    assert_eq!(
        check(bomb, "{% for a in b %}{% endfor %}"),
        ["templates.it.subject", "templates.it.body"]
    );
}

#[tokio::test]
async fn the_connection_is_tested_without_a_letter() {
    let world = World::new(Manner::Proper).await;
    let details = world.act(None, &json!({})).await.unwrap();
    assert_eq!(
        details,
        json!({ "server": "mail.example", "security": "starttls" })
    );
    assert!(world.office.received().is_empty());
    assert!(world.book.entries().is_empty());
    let wrong = world.with("password", "wrong");
    let error = wrong.act(None, &json!({})).await.unwrap_err();
    assert_eq!(error.category, ErrorCategory::Authentication);
}

#[tokio::test]
async fn a_rehearsal_shows_the_letter_and_speaks_with_nobody() {
    let world = World::new(Manner::Proper).await;
    let shown = Smtp::new().render("email.send", &world.credentials, &world.config, &note());
    let shown = shown.unwrap();
    assert_eq!(shown["recipients"], json!(["jane@example.org"]));
    assert_eq!(shown["letter"]["subject"], "Hello");
    assert!(!shown.to_string().contains(PASSWORD));
    assert!(world.office.heard().is_empty());
}
