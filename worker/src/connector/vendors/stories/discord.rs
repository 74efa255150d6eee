//! Discord.

use std::time::Duration;

use serde_json::{Value, json};
use toolroom_domain::ErrorCategory::{Authentication, Validation};

use super::super::{
    discord::{Discord, MESSAGE, WEBHOOK},
    world::{World, refuses},
};

async fn world() -> World {
    World::new("DISCORD", "", Discord)
        .await
        .at("webhookUrl", WEBHOOK)
}

fn actions() -> Vec<(&'static str, Value)> {
    vec![
        (
            "discord.send-message",
            json!({ "message": "Hi", "embeds": [{ "title": "Build 512", "color": 5763719 }] }),
        ),
        (
            "discord.update-message",
            json!({ "messageId": MESSAGE, "message": "Over." }),
        ),
    ]
}

#[tokio::test]
async fn messages_are_posted_and_changed() {
    let world = world().await;
    world.covers(&actions());
    let output = json!({ "id": MESSAGE, "channelId": "199737254929760256" });
    for (action, input) in actions() {
        assert_eq!(world.run(action, input).await.unwrap(), output, "{action}");
    }
    let seen = world.vendor.seen();
    assert_eq!(seen[0].query("wait"), Some("true"));
    assert_eq!(seen[0].query("thread_id"), None);
    assert_eq!(
        seen[0].json().unwrap(),
        json!({
            "content": "Hi",
            "embeds": [{ "title": "Build 512", "color": 5763719 }],
            // Nobody is notified who was not meant.
            "allowed_mentions": { "parse": [] },
        })
    );
    assert_eq!(seen[1].method, "PATCH");
    let input = json!({ "embeds": [{ "title": "x" }], "mentions": ["users"], "threadId": "42" });
    world.run("send-message", input).await.unwrap();
    let seen = world.vendor.last();
    assert_eq!(seen.query("thread_id"), Some("42"));
    assert_eq!(
        seen.json().unwrap()["allowed_mentions"]["parse"],
        json!(["users"])
    );
}

#[tokio::test]
async fn what_discord_refuses_is_sorted() {
    let world = world().await;
    for (action, input, words) in [
        (
            "discord.send-message",
            json!({ "message": "Hi", "username": "Discord" }),
            "(50035)",
        ),
        (
            "discord.send-message",
            json!({ "message": "Hi", "threadId": "404" }),
            "(10003)",
        ),
        (
            "discord.update-message",
            json!({ "messageId": "404", "message": "Hi" }),
            "(10008)",
        ),
    ] {
        refuses(world.run(action, input).await, Validation, words);
    }
    let outcome = world.run("discord.send-message", json!({})).await;
    refuses(outcome, Validation, "schema");
}

#[tokio::test]
async fn a_webhook_that_is_gone_is_told_as_such() {
    for path in [
        "/api/webhooks/1/x",
        "/api/webhooks/223704706495545344/other",
    ] {
        let world = world().await.at("webhookUrl", path);
        for (action, input) in actions() {
            let outcome = world.run(action, input).await;
            refuses(outcome, Authentication, "does not know the webhook");
        }
    }
}

#[tokio::test]
async fn bad_days_are_told_apart() {
    // The body tells it to the hundredth.
    let wait = Some(Duration::from_millis(64_570));
    world().await.has_bad_days(&actions(), wait).await;
}

#[tokio::test]
async fn the_connection_is_tested_without_a_message() {
    let world = world().await;
    let tested = world.test().await.unwrap();
    assert_eq!(tested["message"], "connected to the webhook test webhook");
    assert_eq!(world.vendor.last().method, "GET");
    let gone = world.at("webhookUrl", "/api/webhooks/1/x").test().await;
    refuses(gone, Authentication, "does not know");
}

#[tokio::test]
async fn what_is_left_is_known_to_the_fraction_of_a_second() {
    let world = world().await;
    let (action, input) = actions().remove(0);
    world.run(action, input).await.unwrap();
    assert_eq!(world.limit(), (Some(4), Some(Duration::from_secs(1))));
}
