//! Signed webhooks.

use std::time::Duration;

use serde_json::{Value, json};
use toolroom_domain::ErrorCategory::{Authentication, Authorization, Validation};

use super::super::{
    receiver::{Receiver, SECRET},
    stand_in::Day,
    world::{World, refuses},
};

async fn world() -> World {
    World::new("WEBHOOK", "", Receiver)
        .await
        .with(json!({ "secret": SECRET }))
        .at("url", "/hook")
}

fn actions() -> Vec<(&'static str, Value)> {
    vec![(
        "webhook.send",
        json!({ "type": "contact.created", "data": { "id": 1 } }),
    )]
}

#[tokio::test]
async fn an_event_arrives_signed() {
    let world = world().await;
    world.covers(&actions());
    let (action, input) = actions().remove(0);
    let output = world.run(action, input).await.unwrap();
    assert_eq!(output, json!({ "status": 200, "body": { "seen": true } }));
    let seen = world.vendor.last();
    assert_eq!(
        seen.header("webhook-id"),
        world.receipts()[0].idempotency_key
    );
    assert_eq!(seen.header("authorization"), "");
    let body = seen.json().unwrap();
    assert_eq!(body["type"], "contact.created");
    assert!(
        body["timestamp"]
            .as_str()
            .unwrap()
            .starts_with("2026-07-01T12:00")
    );
}

#[tokio::test]
async fn a_payload_of_any_shape_is_sent_as_it_is() {
    let world = world().await;
    let payload = json!({ "a": [1, { "b": null }], "text": "{{ credentials.secret }}" });
    let input = json!({ "payload": payload });
    world.run("webhook.send", input).await.unwrap();
    assert_eq!(world.vendor.last().json().unwrap(), payload);
}

#[tokio::test]
async fn an_answer_may_be_nothing_and_the_receiver_may_want_a_header_beside() {
    let world = world().await.at("url", "/quiet").at("authorization", "");
    let (action, input) = actions().remove(0);
    let output = world.run(action, input).await.unwrap();
    assert_eq!(output, json!({ "status": 204 }));
    let base = world.vendor.base.clone();
    assert_eq!(world.vendor.last().header("authorization"), base);
}

#[tokio::test]
async fn while_secrets_change_both_sign() {
    let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let world = world().await;
    let base = world.vendor.base.clone();
    let world =
        world.with(json!({ "secret": format!("{other} {SECRET}"), "url": format!("{base}/hook") }));
    let (action, input) = actions().remove(0);
    world.run(action, input).await.unwrap();
}

#[tokio::test]
async fn a_repetition_is_known_by_its_id() {
    let world = world().await;
    let (action, input) = actions().remove(0);
    world.vendor.is_on(Day::Broken);
    let error = world.run(action, input.clone()).await.unwrap_err();
    assert!(error.retryable, "the receiver can tell: {error}");
    world.vendor.is_on(Day::Ordinary);
    world.run(action, input).await.unwrap();
    let ids: Vec<_> = world
        .vendor
        .seen()
        .iter()
        .map(|s| s.header("webhook-id").to_owned())
        .collect();
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn what_the_receiver_refuses_is_sorted() {
    let (action, input) = actions().remove(0);
    for (path, category, words) in [
        ("/gone", Authorization, "wants no more webhooks"),
        ("/other", Validation, "404"),
    ] {
        let world = world().await.at("url", path);
        refuses(world.run(action, input.clone()).await, category, words);
    }
    let both = json!({ "type": "a", "data": {}, "payload": {} });
    let outcome = world().await.run(action, both).await;
    refuses(outcome, Validation, "schema");
}

#[tokio::test]
async fn a_secret_that_is_none_or_another_is_told_as_such() {
    let (action, input) = actions().remove(0);
    let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let world = world().await;
    let url = format!("{}/hook", world.vendor.base);
    let world = world.with(json!({ "secret": other, "url": url }));
    let outcome = world.run(action, input.clone()).await;
    refuses(outcome, Authentication, "401");
    let world = world.with(json!({ "secret": "sesame", "url": url }));
    let error = world.run(action, input).await.unwrap_err();
    assert!(
        error.message.contains("whsec_") && !error.message.contains("sesame"),
        "{error}"
    );
}

#[tokio::test]
async fn bad_days_are_told_apart() {
    let wait = Some(Duration::from_secs(9));
    world().await.has_bad_days(&actions(), wait).await;
}
