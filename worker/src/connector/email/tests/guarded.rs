//! What does not get out, whatever the input or the server says.

use std::{io, net::IpAddr};

use toolroom_domain::{ErrorCategory, ErrorCode};

use super::*;
use crate::executor::Resolver;

#[tokio::test]
async fn a_private_address_is_not_connected_to() {
    for host in ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"] {
        let mut world = World::new(Manner::Proper).await.with("host", host);
        world.egress = Egress::try_new(EgressOptions::default()).unwrap();
        let error = world.send(note()).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::EgressDenied, "{host}: {error}");
        assert!(world.office.heard().is_empty());
    }
}

#[tokio::test]
async fn a_password_is_not_used_before_its_use_is_recorded() {
    for action in [Some("email.send"), None] {
        let mut world = World::new(Manner::Proper).await;
        world.book.is_closed = true;
        let error = world.act(action, &note()).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::JobCancelled);
        assert!(world.office.heard().is_empty());
    }
    // Without a password there is nothing to record.
    let world = World::new(Manner::Proper).await;
    let mut world = world.without("username").without("password");
    world.book.is_closed = true;
    world.act(None, &json!({})).await.unwrap();
}

struct Names(Vec<IpAddr>);

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn a_name_with_one_closed_address_is_refused_whole() {
    let mut world = World::new(Manner::Proper)
        .await
        .with("host", "mail.example");
    let addresses = ["203.0.113.9", "93.184.216.34"];
    world.egress = Egress::try_new(EgressOptions {
        allow: Vec::new(),
        resolver: Arc::new(Names(addresses.map(|a| a.parse().unwrap()).into())),
    })
    .unwrap();
    let error = world.send(note()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::EgressDenied);
}

#[tokio::test]
async fn a_host_that_the_operator_names_is_reached_at_the_port_that_he_names() {
    let world = World::new(Manner::Proper).await;
    let port = world.office.address.port();
    for (rule, is_open) in [
        (format!("127.0.0.1:{port}"), true),
        (format!("127.0.0.1:{}", port ^ 1), false),
        ("localhost".to_owned(), false),
    ] {
        let egress = Egress::try_new(EgressOptions {
            allow: vec![rule.parse().unwrap()],
            ..EgressOptions::default()
        });
        let host = url::Host::Ipv4(std::net::Ipv4Addr::LOCALHOST);
        let found = egress.unwrap().sockets(&host, port).await;
        assert_eq!(found.is_ok(), is_open, "{rule}");
    }
}

#[tokio::test]
async fn a_password_never_goes_over_an_open_line() {
    let world = World::new(Manner::Plain).await;
    let error = world.send(note()).await.unwrap_err();
    assert!(error.message.contains("does not offer STARTTLS"), "{error}");
    assert!(!error.retryable);
    let world = world.with("security", "none");
    let error = world.send(note()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ValidationFailed);
    let heard = world.office.heard();
    assert!(
        heard.iter().all(|line| line.starts_with("EHLO")),
        "{heard:?}"
    );
}

#[tokio::test]
async fn a_line_that_somebody_added_before_tls_is_noticed() {
    let world = World::new(Manner::Injected).await;
    let error = world.send(note()).await.unwrap_err();
    assert!(error.message.contains("in the clear"), "{error}");
    assert!(world.office.received().is_empty());
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_not_taken() {
    let world = World::new(Manner::Proper).await.without("caCertificate");
    let error = world.send(note()).await.unwrap_err();
    assert!(error.message.contains("certificate"), "{error}");
    assert!(!error.retryable);
    // One for another name is none either.
    let mut world = World::new(Manner::Proper)
        .await
        .with("host", "mail.example");
    world.egress = Egress::try_new(EgressOptions {
        allow: vec!["127.0.0.0/8".parse().unwrap()],
        resolver: Arc::new(Names(vec!["127.0.0.1".parse().unwrap()])),
    })
    .unwrap();
    let error = world.send(note()).await.unwrap_err();
    assert!(error.message.contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_server_that_babbles_is_cut_off() {
    for security in ["none", "starttls", "tls"] {
        let world = World::new(Manner::Babbles)
            .await
            .with("security", security)
            .without("username")
            .without("password");
        let error = world.send(note()).await.unwrap_err();
        assert!(
            matches!(
                error.category,
                ErrorCategory::ServerError | ErrorCategory::Network
            ),
            "{security}: {error}"
        );
    }
}

#[tokio::test]
async fn no_field_can_add_a_header_or_a_command() {
    let world = World::new(Manner::Proper).await;
    let file = |name: &str, kind: &str| json!([{ "filename": name, "content": "YQ==", "contentType": kind }]);
    for (field, value) in [
        ("subject", json!("Hello\r\nBcc: eve@example.org")),
        ("subject", json!("Hello\nX: y")),
        ("to", json!("jane@example.org\r\nRCPT TO:<eve@example.org>")),
        (
            "to",
            json!(["Jane\r\nBcc: eve@example.org <jane@example.org>"]),
        ),
        ("cc", json!("<jane@example.org>\n<eve@example.org>")),
        ("replyTo", json!(["a@example.org\r\nX: y"])),
        ("attachments", file("a\r\nX: y", "text/plain")),
        ("attachments", file("a.txt", "text/plain\r\nX: y")),
    ] {
        let mut input = note();
        input[field] = value.clone();
        let error = world.send(input).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::ValidationFailed, "{field}: {value}");
        assert!(!error.message.contains("eve@"), "{error}");
    }
    let error = World::new(Manner::Proper)
        .await
        .with("from", "a@example.org\r\nBcc: eve@example.org")
        .send(note())
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::ValidationFailed);
    assert!(world.office.heard().is_empty());
}

#[tokio::test]
async fn a_quoted_name_stays_a_name() {
    let world = World::new(Manner::Proper).await;
    let mut input = note();
    input["to"] = json!(["\"Doe, Jane; <eve@example.org>\" <jane@example.org>"]);
    world.send(input).await.unwrap();
    assert_eq!(world.letter().to, ["jane@example.org"]);
}

#[tokio::test]
async fn too_much_is_refused_before_anybody_is_spoken_to() {
    let world = World::new(Manner::Proper).await;
    let many: Vec<_> = (0..101).map(|n| format!("n{n}@example.org")).collect();
    let half: Vec<_> = (0..60).map(|n| format!("n{n}@example.org")).collect();
    let other: Vec<_> = (60..120).map(|n| format!("n{n}@example.org")).collect();
    let large = "QUFB".repeat(4 * 1024 * 1024);
    for (fields, code) in [
        (json!({ "to": many }), ErrorCode::ValidationFailed),
        (
            json!({ "to": half, "bcc": other }),
            ErrorCode::ValidationFailed,
        ),
        (json!({ "to": "" }), ErrorCode::ValidationFailed),
        (json!({ "to": [] }), ErrorCode::ValidationFailed),
        (
            json!({ "subject": "x".repeat(901) }),
            ErrorCode::ValidationFailed,
        ),
        (
            json!({ "attachments": [{ "filename": "a", "content": large }] }),
            ErrorCode::PayloadTooLarge,
        ),
        (
            json!({ "attachments": [{ "filename": "a", "content": "no base64!" }] }),
            ErrorCode::ValidationFailed,
        ),
    ] {
        let mut input = note();
        for (name, value) in fields.as_object().unwrap() {
            input[name] = value.clone();
        }
        let error = world.send(input).await.unwrap_err();
        assert_eq!(error.code, code, "{error}");
    }
    assert!(world.office.heard().is_empty());
}

#[tokio::test]
async fn addresses_beyond_ascii_go_to_servers_that_take_them() {
    let mut input = note();
    input["to"] = json!("jörg@example.org");
    let world = World::new(Manner::Proper).await;
    world.send(input.clone()).await.unwrap();
    assert_eq!(world.letter().to, ["jörg@example.org"]);
    let world = World::new(Manner::Ascii).await;
    let error = world.send(input).await.unwrap_err();
    assert!(error.message.contains("ASCII"), "{error}");
}

#[tokio::test]
async fn wrong_credentials_are_told_by_their_field_and_never_by_their_text() {
    for (name, value) in [
        ("host", json!("")),
        ("host", json!("mail example")),
        ("port", json!(0)),
        ("port", json!(70_000)),
        ("port", json!("many")),
        ("security", json!("maybe")),
        ("username", json!("")),
        ("password", json!("")),
        ("from", json!("nobody")),
        ("caCertificate", json!("sesame")),
    ] {
        let world = World::new(Manner::Proper).await.with(name, value);
        let error = world.send(note()).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::ValidationFailed, "{name}");
        assert!(error.message.contains(&format!("`{name}`")), "{error}");
        assert!(!error.message.contains("sesame"), "{error}");
    }
}

#[tokio::test]
async fn no_text_can_end_the_letter_whatever_its_lines_end_with() {
    for body in [
        "a\r\n.\r\nMAIL FROM:<eve@example.org>",
        "a\n.\nb",
        "a\r.\rb",
        "a\n.\r\nb",
    ] {
        let world = World::new(Manner::Proper).await;
        let mut input = note();
        input["body"] = json!(body);
        input["html"] = json!(body);
        input["attachments"] = json!([{ "filename": "a.txt", "content": "YQ0ALg0ACi4K" }]);
        world.send(input).await.unwrap();
        let letter = world.letter().letter;
        // Line ends come in pairs, and a part is where it was put.
        assert!(
            !letter.replace("\r\n", "").contains(['\r', '\n']),
            "{letter:?}"
        );
        assert!(letter.contains("filename=\"a.txt\""), "{letter}");
    }
}
