//! Mail, through the connector's file.

use serde_json::{Value, json};
use toolroom_domain::ErrorCategory::{Authentication, Validation};

use super::super::{
    receiver::Receiver,
    world::{World, refuses},
};
use crate::connector::email::tests::post_office::{Manner, PASSWORD, PostOffice, USERNAME};

fn credentials(office: &PostOffice) -> Value {
    json!({
        "host": "127.0.0.1",
        "port": office.address.port(),
        "username": USERNAME,
        "password": PASSWORD,
        "from": "Toolroom <toolroom@example.com>",
        "caCertificate": office.authority,
    })
}

async fn world(office: &PostOffice) -> World {
    // What speaks no HTTP needs no stand-in that does.
    let world = World::new("EMAIL", "", Receiver).await;
    world.with(credentials(office))
}

fn actions() -> Vec<(&'static str, Value)> {
    vec![(
        "email.send",
        json!({ "to": "jane@example.org", "subject": "Hello", "body": "Notification content..." }),
    )]
}

#[tokio::test]
async fn a_letter_is_sent() {
    let office = PostOffice::open(Manner::Proper).await;
    let world = world(&office).await;
    world.covers(&actions());
    let (action, input) = actions().remove(0);
    let output = world.run(action, input).await.unwrap();
    let received = office.received();
    assert_eq!(received.len(), 1);
    let id = received[0].header("Message-ID").unwrap();
    assert_eq!(output, json!({ "messageId": id, "accepted": 1 }));
    let receipts = world.receipts();
    assert_eq!(receipts.len(), 1);
    assert_eq!(id, format!("<{}@example.com>", receipts[0].idempotency_key));
    assert!(receipts[0].url.starts_with("smtp://127.0.0.1:"));
}

#[tokio::test]
async fn a_template_of_the_tools_settings_is_filled_in() {
    let office = PostOffice::open(Manner::Proper).await;
    let world = world(&office).await.set(json!({ "templates": {
        "welcome": { "subject": "Welcome, {{ name }}", "body": "Dear {{ name }}" },
    } }));
    let input =
        json!({ "to": "jane@example.org", "template": "welcome", "variables": { "name": "Jane" } });
    world.run("email.send", input).await.unwrap();
    let letter = &office.received()[0];
    assert_eq!(letter.header("Subject").unwrap(), "Welcome, Jane");
}

#[tokio::test]
async fn what_is_refused_is_sorted() {
    let office = PostOffice::open(Manner::Proper).await;
    let world = world(&office).await;
    let to = |to: &str| json!({ "to": to, "subject": "Hello", "body": "x" });
    let outcome = world.run("email.send", to("nobody@example.org")).await;
    refuses(outcome, Validation, "refused a recipient");
    let outcome = world
        .run("email.send", json!({ "to": "jane@example.org" }))
        .await;
    refuses(outcome, Validation, "schema");
    let mut other = credentials(&office);
    other["password"] = json!("wrong");
    let world = world.with(other);
    let outcome = world.run("email.send", to("jane@example.org")).await;
    refuses(outcome, Authentication, "username and the password");
}

#[tokio::test]
async fn the_connection_is_tested_and_a_letter_rehearsed_without_sending_any() {
    let office = PostOffice::open(Manner::Proper).await;
    let world = world(&office).await;
    let tested = world.test().await.unwrap();
    assert_eq!(tested["success"], true);
    assert_eq!(tested["details"]["answer"]["server"], "mail.example");
    let (action, input) = actions().remove(0);
    let shown = world.rehearse(action, input).await.unwrap().to_string();
    assert!(shown.contains("Notification content"), "{shown}");
    assert!(!shown.contains(PASSWORD), "{shown}");
    assert!(office.received().is_empty());
}
