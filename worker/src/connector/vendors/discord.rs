//! Discord: <https://discord.com/developers/docs/resources/webhook>.

use serde_json::{Value, json};

use super::stand_in::{Answer, Seen, Vendor};

pub(super) const WEBHOOK: &str = "/api/webhooks/223704706495545344/3d89bb7572e0fb30d812";
pub(super) const MESSAGE: &str = "1100000000000000001";

pub(super) struct Discord;

impl Vendor for Discord {
    fn answer(&self, seen: &Seen, _: &str) -> Answer {
        let Some(rest) = seen.path.strip_prefix(WEBHOOK) else {
            let known = seen.path.starts_with("/api/webhooks/223704706495545344/");
            return if known {
                refusal(401, 50027, "Invalid Webhook Token")
            } else {
                refusal(404, 10015, "Unknown Webhook")
            };
        };
        let answer = match (seen.method.as_str(), rest) {
            ("GET", "") => Answer::json(
                200,
                json!({ "id": "223704706495545344", "type": 1, "name": "test webhook" }),
            ),
            ("POST", "") => match checked(seen) {
                Err(refused) => refused,
                // What is not waited for tells nothing.
                Ok(_) if seen.query("wait") != Some("true") => Answer::empty(204),
                Ok(body) => message(&body),
            },
            ("PATCH", path) => match path.strip_prefix("/messages/") {
                Some(MESSAGE) => checked(seen).map_or_else(|refused| refused, |b| message(&b)),
                _ => refusal(404, 10008, "Unknown Message"),
            },
            _ => refusal(405, 0, "405: Method Not Allowed"),
        };
        answer
            .with("x-ratelimit-limit", 5)
            .with("x-ratelimit-remaining", 4)
            .with("x-ratelimit-reset-after", "1.000")
    }

    fn busy(&self) -> Answer {
        let body = json!({ "message": "You are being rate limited.", "retry_after": 64.57, "global": false });
        Answer::json(429, body)
            .with("retry-after", 65)
            .with("x-ratelimit-remaining", 0)
            .with("x-ratelimit-reset-after", "64.57")
    }
}

fn refusal(status: u16, code: u32, message: &str) -> Answer {
    Answer::json(status, json!({ "message": message, "code": code }))
}

fn checked(seen: &Seen) -> Result<Value, Answer> {
    let invalid = || refusal(400, 50035, "Invalid Form Body");
    let body = seen
        .json()
        .ok_or_else(|| refusal(400, 50109, "The request body contains invalid JSON."))?;
    if seen
        .query("thread_id")
        .is_some_and(|thread| thread == "404")
    {
        return Err(refusal(400, 10003, "Unknown Channel"));
    }
    let content = body["content"].as_str().unwrap_or_default();
    let embeds = body["embeds"].as_array().map_or(&[][..], Vec::as_slice);
    if content.is_empty() && embeds.is_empty() {
        return Err(refusal(400, 50006, "Cannot send an empty message"));
    }
    if content.chars().count() > 2000 || embeds.len() > 10 {
        return Err(invalid());
    }
    // Names that a webhook must not have.
    let name = body["username"].as_str().unwrap_or_default().to_lowercase();
    if name.contains("discord") || name.contains("clyde") {
        return Err(invalid());
    }
    if !body["allowed_mentions"]["parse"].is_array() {
        return Err(invalid());
    }
    Ok(body)
}

fn message(body: &Value) -> Answer {
    let message = json!({
        "id": MESSAGE,
        "channel_id": "199737254929760256",
        "content": body["content"].as_str().unwrap_or_default(),
        "embeds": body["embeds"],
    });
    Answer::json(200, message)
}
