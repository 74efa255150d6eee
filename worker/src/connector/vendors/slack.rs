//! Slack: <https://docs.slack.dev/reference/methods/> and
//! <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>.

use serde_json::{Value, json};

use super::stand_in::{Answer, Seen, Vendor};

pub(super) const TOKEN: &str = "xoxb-1234-5678-abcdefgh";
pub(super) const WEBHOOK: &str = "/services/T000/B000/XXXXXXXX";
pub(super) const CHANNEL: &str = "C123ABC456";
pub(super) const TS: &str = "1503435956.000247";

pub(super) struct Slack;

impl Vendor for Slack {
    fn answer(&self, seen: &Seen, base: &str) -> Answer {
        if seen.path.starts_with("/services/") {
            return webhook(seen);
        }
        if seen.path.starts_with("/upload/") {
            return upload(seen);
        }
        let Some(method) = seen.path.strip_prefix("/api/") else {
            return Answer::text(404, "not found");
        };
        match called(method, seen, base) {
            Ok(mut body) => {
                body["ok"] = Value::Bool(true);
                Answer::json(200, body)
            }
            Err(error) => Answer::json(200, json!({ "ok": false, "error": error })),
        }
    }

    fn busy(&self) -> Answer {
        Answer::json(429, json!({ "ok": false, "error": "ratelimited" })).with("retry-after", 30)
    }
}

fn called(method: &str, seen: &Seen, base: &str) -> Result<Value, &'static str> {
    match seen.header("authorization").strip_prefix("Bearer ") {
        None => return Err("not_authed"),
        Some(TOKEN) => {}
        Some(_) => return Err("invalid_auth"),
    }
    let body = seen.json().unwrap_or(Value::Null);
    let argument = |name: &str| body[name].as_str().map(str::to_owned);
    match (seen.method.as_str(), method) {
        ("POST", "auth.test") => Ok(json!({ "team": "Example", "user": "robot" })),
        ("POST", "chat.postMessage") => {
            let channel = argument("channel").ok_or("channel_not_found")?;
            if argument("text").is_none_or(|text| text.is_empty()) && !body["blocks"].is_array() {
                return Err("no_text");
            }
            match channel.as_str() {
                "#general" | CHANNEL => Ok(json!({ "channel": CHANNEL, "ts": TS })),
                "#archive" => Err("is_archived"),
                "#private" => Err("not_in_channel"),
                "#announcements" => Err("restricted_action"),
                "#broken" => Err("internal_error"),
                _ => Err("channel_not_found"),
            }
        }
        ("POST", "chat.update") => {
            if argument("channel").as_deref() != Some(CHANNEL) {
                return Err("channel_not_found");
            }
            if argument("ts").as_deref() != Some(TS) {
                return Err("message_not_found");
            }
            let text = argument("text").ok_or("no_text")?;
            Ok(json!({ "channel": CHANNEL, "ts": TS, "text": text }))
        }
        ("POST", "files.getUploadURLExternal") => {
            let length = seen.form("length").ok_or("invalid_arguments")?;
            let name = seen.form("filename").ok_or("invalid_arguments")?;
            if name == "too-large.bin" {
                return Err("file_upload_size_restricted");
            }
            let url = format!("{base}/upload/v1/ABC123?length={length}");
            Ok(json!({ "upload_url": url, "file_id": "F123ABC456" }))
        }
        ("POST", "files.completeUploadExternal") => {
            let file = &body["files"][0];
            if file["id"] != "F123ABC456" {
                return Err("file_not_found");
            }
            if argument("channel_id").is_some_and(|channel| channel != CHANNEL) {
                return Err("invalid_channel");
            }
            let permalink = "https://example.slack.com/files/U1/F123ABC456/build.log";
            Ok(json!({ "files": [{ "id": "F123ABC456", "permalink": permalink }] }))
        }
        ("GET", "conversations.list") => {
            if seen.query("types").is_some_and(|types| types == "im") {
                return Err("missing_scope");
            }
            let general = json!({ "id": CHANNEL, "name": "general" });
            let random = json!({ "id": "C061EG9T2", "name": "random" });
            match seen.query("cursor") {
                None => Ok(json!({
                    "channels": [general],
                    "response_metadata": { "next_cursor": "dGVhbTpD" },
                })),
                Some("dGVhbTpD") => Ok(json!({
                    "channels": [random],
                    "response_metadata": { "next_cursor": "" },
                })),
                Some(_) => Err("invalid_cursor"),
            }
        }
        _ => Err("unknown_method"),
    }
}

fn webhook(seen: &Seen) -> Answer {
    if seen.path != WEBHOOK {
        return Answer::text(404, "no_service");
    }
    let Some(body) = seen.json().filter(|_| seen.method == "POST") else {
        return Answer::text(400, "invalid_payload");
    };
    if body["text"].as_str().is_none_or(str::is_empty) {
        return Answer::text(400, "no_text");
    }
    match body["channel"].as_str() {
        Some("#archive") => Answer::text(410, "channel_is_archived"),
        Some("#announcements") => Answer::text(403, "action_prohibited"),
        _ => Answer::text(200, "ok").with("x-slack-unique-id", "1"),
    }
}

fn upload(seen: &Seen) -> Answer {
    // The address is its own permission; a token has no business here.
    let length = seen.query("length").and_then(|length| length.parse().ok());
    if seen.method != "POST"
        || !seen.header("authorization").is_empty()
        || length != Some(seen.body.len())
    {
        return Answer::text(400, "bad upload");
    }
    Answer::text(200, &format!("OK - {}", seen.body.len()))
}
