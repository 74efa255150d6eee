//! Teams.

use std::time::Duration;

use serde_json::{Value, json};
use toolroom_domain::ErrorCategory::{Authentication, Authorization, Validation};

use super::super::{
    teams::{SIGNATURE, Teams, WORKFLOW},
    world::{World, refuses},
};

async fn world() -> World {
    World::new("TEAMS", "", Teams).await.at(
        "webhookUrl",
        &format!("{WORKFLOW}?api-version=1&sig={SIGNATURE}"),
    )
}

fn actions() -> Vec<(&'static str, Value)> {
    vec![(
        "teams.send-message",
        json!({ "title": "Build 512", "message": "All tests passed." }),
    )]
}

#[tokio::test]
async fn texts_become_cards_and_cards_stay_as_they_are() {
    let world = world().await;
    world.covers(&actions());
    let card = |seen: Value| seen["attachments"][0]["content"].clone();
    for (input, lines) in [
        (json!({ "message": "Hi" }), 1),
        (json!({ "message": "Hi", "title": "There" }), 2),
    ] {
        let sent = world.run("teams.send-message", input).await.unwrap();
        assert_eq!(sent, json!({ "ok": true }));
        let card = card(world.vendor.last().json().unwrap());
        assert_eq!(card["body"].as_array().unwrap().len(), lines);
    }
    let own = json!({
        "type": "AdaptiveCard",
        "version": "1.5",
        "body": [{ "type": "TextBlock", "text": "{{ not.a.template }}" }],
    });
    let input = json!({ "card": own });
    world.run("teams.send-message", input).await.unwrap();
    assert_eq!(card(world.vendor.last().json().unwrap()), own);
}

#[tokio::test]
async fn what_the_workflow_refuses_is_sorted() {
    let world = world().await;
    let no_card = json!({ "card": { "type": "AdaptiveCard" } });
    let outcome = world.run("teams.send-message", no_card).await;
    refuses(outcome, Validation, "The card is not valid");
    let both = json!({ "message": "Hi", "card": { "type": "AdaptiveCard" } });
    let outcome = world.run("teams.send-message", both).await;
    refuses(outcome, Validation, "schema");
    let world = world.at("webhookUrl", "/disabled/x?api-version=1&sig=x-signature-x");
    let outcome = world
        .run("teams.send-message", json!({ "message": "Hi" }))
        .await;
    refuses(outcome, Authorization, "switched off");
}

#[tokio::test]
async fn a_signature_that_is_none_any_more_is_told_as_such() {
    for path in [
        format!("{WORKFLOW}?api-version=1&sig=other"),
        "/workflows/gone/triggers/manual/paths/invoke?sig=x".to_owned(),
    ] {
        let world = world().await.at("webhookUrl", &path);
        let outcome = world
            .run("teams.send-message", json!({ "message": "Hi" }))
            .await;
        refuses(outcome, Authentication, "webhookUrl");
    }
}

#[tokio::test]
async fn bad_days_are_told_apart() {
    let wait = Some(Duration::from_secs(5));
    world().await.has_bad_days(&actions(), wait).await;
}

#[tokio::test]
async fn nothing_is_posted_to_test_the_connection() {
    let world = world().await;
    assert_eq!(world.test().await.unwrap()["details"]["sent"], false);
    assert!(world.vendor.seen().is_empty());
}
