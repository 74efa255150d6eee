//! Text messages by Twilio.

use serde_json::{Value, json};
use toolroom_domain::ErrorCategory::{Authentication, Authorization, Validation};

use super::super::{
    twilio::{ACCOUNT, API_KEY, API_SECRET, AUTH_TOKEN, FROM, SERVICE, Twilio},
    world::{World, refuses},
};

async fn world() -> World {
    let world = World::new("SMS", "https://api.twilio.com", Twilio).await;
    world.with(json!({ "accountSid": ACCOUNT, "authToken": AUTH_TOKEN, "from": FROM }))
}

fn actions() -> Vec<(&'static str, Value)> {
    vec![(
        "sms.send",
        json!({ "to": "+15558675310", "message": "Nine o'clock." }),
    )]
}

#[tokio::test]
async fn a_message_is_sent_by_a_number_or_by_a_service() {
    let world = world().await;
    world.covers(&actions());
    let input = actions().remove(0).1;
    assert_eq!(
        world.run("sms.send", input.clone()).await.unwrap(),
        json!({
            "sid": "SM00000000000000000000000000000001",
            "status": "queued",
            "to": "+15558675310",
            "from": FROM,
            "segments": "1",
        })
    );
    let service = json!({ "accountSid": ACCOUNT, "apiKey": API_KEY, "apiSecret": API_SECRET, "messagingServiceSid": SERVICE });
    let world = world.with(service.clone());
    let sent = world.run("sms.send", input.clone()).await.unwrap();
    assert!(sent.get("from").is_none(), "{sent}");
    // Who is named in the call wins.
    let mut named = input;
    named["from"] = json!(FROM);
    let sent = world.run("sms.send", named).await.unwrap();
    assert_eq!(sent["from"], FROM);
}

#[tokio::test]
async fn what_twilio_refuses_is_sorted() {
    let world = world().await;
    let to = |to: &str| json!({ "to": to, "message": "Hi" });
    // What it says names the number, and an error's message stays in the log.
    for (number, category, code, said) in [
        (
            "+15550000001",
            Validation,
            "21211",
            "not a valid phone number",
        ),
        (
            "+15550000002",
            Authorization,
            "21610",
            "unsubscribed recipient",
        ),
    ] {
        let outcome = world.run("sms.send", to(number)).await;
        let message = outcome.clone().unwrap_err().message;
        assert!(
            message.contains(code) && !message.contains(&number[1..]),
            "{message}"
        );
        refuses(outcome, category, said);
    }
    let mut foreign = to("+15558675310");
    foreign["from"] = json!("+15017122662");
    let outcome = world.run("sms.send", foreign).await;
    refuses(outcome, Authorization, "21606");
    let world = world.with(json!({ "accountSid": ACCOUNT, "authToken": AUTH_TOKEN }));
    let outcome = world.run("sms.send", to("+15558675310")).await;
    refuses(outcome, Validation, "(21603)");
}

#[tokio::test]
async fn a_token_that_is_none_any_more_is_told_as_such() {
    let other = json!({ "accountSid": ACCOUNT, "authToken": "other", "from": FROM });
    let world = world().await.with(other);
    let (action, input) = actions().remove(0);
    let outcome = world.run(action, input).await;
    refuses(outcome, Authentication, "copy them anew");
}

#[tokio::test]
async fn bad_days_are_told_apart() {
    // Twilio counts calls under way and tells no time.
    world().await.has_bad_days(&actions(), None).await;
}

#[tokio::test]
async fn the_connection_is_tested_by_looking_at_the_account() {
    let tested = world().await.test().await.unwrap();
    assert_eq!(
        tested["message"],
        "connected to the account Example, which is active"
    );
}
