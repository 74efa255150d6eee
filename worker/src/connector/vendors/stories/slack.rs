//! Slack by a bot and by a webhook.

use std::time::Duration;

use serde_json::{Value, json};
use toolroom_domain::ErrorCategory::{Authentication, Authorization, ServerError, Validation};

use super::super::{
    slack::{CHANNEL, Slack, TOKEN, TS, WEBHOOK},
    world::{World, refuses},
};

async fn bot() -> World {
    let world = World::new("SLACK", "https://slack.com", Slack).await;
    world.with(json!({ "botToken": TOKEN, "channel": "#general" }))
}

async fn webhook() -> World {
    let world = World::new("SLACK", "https://slack.com", Slack).await;
    world
        .with(json!({ "channel": "#general" }))
        .at("webhookUrl", WEBHOOK)
}

fn actions() -> Vec<(&'static str, Value)> {
    vec![
        (
            "slack.send-message",
            json!({ "message": "Hello from API!" }),
        ),
        (
            "slack.update-message",
            json!({ "channel": CHANNEL, "ts": TS, "message": "Over." }),
        ),
        (
            "slack.upload-text",
            json!({ "filename": "build.log", "content": "all well ✓\n", "channel": CHANNEL }),
        ),
        ("slack.list-channels", json!({})),
    ]
}

#[tokio::test]
async fn a_bot_does_all_there_is() {
    let world = bot().await;
    world.covers(&actions());
    let [send, update, upload, list] = actions().try_into().unwrap();
    assert_eq!(
        world.run(send.0, send.1).await.unwrap(),
        json!({ "ok": true, "channel": CHANNEL, "ts": TS })
    );
    let seen = world.vendor.last();
    assert_eq!(seen.place(), ("POST", "/api/chat.postMessage"));
    assert_eq!(
        seen.json().unwrap(),
        json!({ "channel": "#general", "text": "Hello from API!" })
    );
    assert_eq!(
        world.run(update.0, update.1).await.unwrap(),
        json!({ "ok": true, "channel": CHANNEL, "ts": TS })
    );
    assert_eq!(
        world.run(upload.0, upload.1).await.unwrap(),
        json!({
            "ok": true,
            "fileId": "F123ABC456",
            "permalink": "https://example.slack.com/files/U1/F123ABC456/build.log",
        })
    );
    let [.., place, bytes, share] = &world.vendor.seen()[..] else {
        panic!("three calls");
    };
    // Bytes are counted, not letters.
    assert_eq!(place.form("length").unwrap(), "13");
    assert_eq!(&bytes.body[..], "all well ✓\n".as_bytes());
    assert_eq!(share.json().unwrap()["channel_id"], CHANNEL);
    let page = world.run(list.0, list.1).await.unwrap();
    assert_eq!(page["nextCursor"], "dGVhbTpD");
    let last = world.run(list.0, json!({ "cursor": "dGVhbTpD" })).await;
    assert_eq!(
        last.unwrap(),
        json!({ "channels": [{ "id": "C061EG9T2", "name": "random" }] })
    );
}

#[tokio::test]
async fn a_message_may_have_blocks_and_belong_to_a_thread() {
    let world = bot().await;
    let blocks = json!([{ "type": "section", "text": { "type": "mrkdwn", "text": "*Hi*" } }]);
    let input = json!({ "message": "Hi", "blocks": blocks, "threadTs": TS, "channel": CHANNEL });
    world.run("send-message", input).await.unwrap();
    assert_eq!(
        world.vendor.last().json().unwrap(),
        json!({ "channel": CHANNEL, "text": "Hi", "blocks": blocks, "thread_ts": TS })
    );
}

#[tokio::test]
async fn a_webhook_sends_and_nothing_else() {
    let world = webhook().await;
    let input = json!({ "channel": "#general", "message": "Hello from API!" });
    let sent = world.run("slack.send-message", input).await.unwrap();
    assert_eq!(sent, json!({ "ok": true }));
    assert_eq!(world.vendor.last().place(), ("POST", WEBHOOK));
    for (action, input) in actions().into_iter().skip(1) {
        refuses(world.run(action, input).await, Validation, "a bot's token");
    }
    assert_eq!(world.vendor.seen().len(), 1);
}

#[tokio::test]
async fn what_slack_refuses_is_sorted() {
    let world = bot().await;
    let to = |channel: &str| json!({ "message": "Hi", "channel": channel });
    for (channel, category, words) in [
        ("#nowhere", Validation, "channel_not_found"),
        ("#archive", Validation, "is_archived"),
        ("#private", Authorization, "invite it"),
        ("#announcements", Authorization, "restricted_action"),
        ("#broken", ServerError, "internal_error"),
    ] {
        let outcome = world.run("slack.send-message", to(channel)).await;
        refuses(outcome, category, words);
    }
    let other = json!({ "channel": CHANNEL, "ts": "1.1", "message": "Over." });
    let outcome = world.run("slack.update-message", other).await;
    refuses(outcome, Validation, "message_not_found");
    let large = json!({ "filename": "too-large.bin", "content": "x" });
    let outcome = world.run("slack.upload-text", large).await;
    refuses(outcome, Validation, "file_upload_size_restricted");
    let outcome = world
        .run("slack.list-channels", json!({ "types": "im" }))
        .await;
    refuses(outcome, Authorization, "scope");
    let cursor = json!({ "cursor": "old" });
    let outcome = world.run("slack.list-channels", cursor).await;
    refuses(outcome, Validation, "invalid_cursor");

    let world = webhook().await;
    for (channel, category, words) in [
        ("#archive", Validation, "channel_is_archived"),
        ("#announcements", Authorization, "restricted where"),
    ] {
        let outcome = world.run("slack.send-message", to(channel)).await;
        refuses(outcome, category, words);
    }
}

#[tokio::test]
async fn credentials_that_are_none_any_more_are_told_as_such() {
    let world = bot()
        .await
        .with(json!({ "botToken": "xoxb-revoked", "channel": "#general" }));
    for (action, input) in actions() {
        let outcome = world.run(action, input).await;
        refuses(outcome, Authentication, "does not take the bot's token");
    }
    let world = webhook().await.at("webhookUrl", "/services/T000/B000/gone");
    let outcome = world
        .run("slack.send-message", json!({ "message": "Hi" }))
        .await;
    refuses(outcome, Authentication, "no_service");
}

#[tokio::test]
async fn bad_days_are_told_apart() {
    let wait = Some(Duration::from_secs(30));
    bot().await.has_bad_days(&actions(), wait).await;
    webhook().await.has_bad_days(&actions()[..1], wait).await;
}

#[tokio::test]
async fn the_connection_is_tested_without_a_message() {
    let tested = bot().await.test().await.unwrap();
    assert_eq!(tested["message"], "connected to Example as robot");
    let world = webhook().await;
    let tested = world.test().await.unwrap();
    assert_eq!(tested["details"]["sent"], false);
    assert!(world.vendor.seen().is_empty());
}

#[tokio::test]
async fn a_rehearsal_shows_the_request_without_its_secrets() {
    for world in [bot().await, webhook().await] {
        let input = json!({ "message": "Hi" });
        let shown = world.rehearse("slack.send-message", input).await.unwrap();
        assert!(shown.to_string().contains("Hi"), "{shown}");
        assert!(!shown.to_string().contains(TOKEN), "{shown}");
        assert!(!shown.to_string().contains(WEBHOOK), "{shown}");
        assert!(world.vendor.seen().is_empty());
    }
}
