//! Twilio: <https://www.twilio.com/docs/messaging/api/message-resource>.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};

use super::stand_in::{Answer, Seen, Vendor};

pub(super) const ACCOUNT: &str = "AC00000000000000000000000000000000";
pub(super) const AUTH_TOKEN: &str = "0123456789abcdef0123456789abcdef";
pub(super) const API_KEY: &str = "SK00000000000000000000000000000000";
pub(super) const API_SECRET: &str = "fedcba9876543210fedcba9876543210";
pub(super) const FROM: &str = "+15017122661";
pub(super) const SERVICE: &str = "MG00000000000000000000000000000000";

pub(super) struct Twilio;

impl Vendor for Twilio {
    fn answer(&self, seen: &Seen, _: &str) -> Answer {
        match checked(seen) {
            Ok((status, body)) => Answer::json(status, body),
            Err((status, code, message)) => refusal(status, code, message),
        }
    }

    fn busy(&self) -> Answer {
        refusal(429, 20429, "Too Many Requests")
    }

    fn broken(&self) -> Answer {
        refusal(503, 20503, "Service is temporarily unavailable")
    }
}

fn refusal(status: u16, code: u32, message: &str) -> Answer {
    let body = json!({
        "code": code,
        "message": message,
        "more_info": format!("https://www.twilio.com/docs/errors/{code}"),
        "status": status,
    });
    Answer::json(status, body)
}

fn checked(seen: &Seen) -> Result<(u16, Value), (u16, u32, &'static str)> {
    let given = seen.header("authorization").strip_prefix("Basic ");
    let given = given.and_then(|pair| String::from_utf8(BASE64.decode(pair).ok()?).ok());
    let known = [
        format!("{ACCOUNT}:{AUTH_TOKEN}"),
        format!("{API_KEY}:{API_SECRET}"),
    ];
    if !given.is_some_and(|given| known.contains(&given)) {
        return Err((401, 20003, "Authenticate"));
    }
    let account = format!("/2010-04-01/Accounts/{ACCOUNT}");
    match (seen.method.as_str(), seen.path.strip_prefix(&account)) {
        ("GET", Some(".json")) => Ok((
            200,
            json!({ "friendly_name": "Example", "status": "active" }),
        )),
        ("POST", Some("/Messages.json")) => {
            let to = seen
                .form("To")
                .ok_or((400, 21604, "A 'To' phone number is required."))?;
            let body = seen
                .form("Body")
                .ok_or((400, 21602, "Message body is required."))?;
            if body.chars().count() > 1600 {
                return Err((
                    400,
                    21617,
                    "The concatenated message body exceeds the limit.",
                ));
            }
            let sender = match (seen.form("From"), seen.form("MessagingServiceSid")) {
                (Some(from), None) if from == FROM => json!(from),
                (None, Some(service)) if service == SERVICE => Value::Null,
                (None, None) => {
                    return Err((400, 21603, "A 'From' phone number is required."));
                }
                _ => {
                    return Err((
                        400,
                        21606,
                        "The 'From' number is not a number of the account.",
                    ));
                }
            };
            match to.as_str() {
                "+15550000001" => Err((
                    400,
                    21211,
                    "The 'To' number +15550000001 is not a valid phone number.",
                )),
                "+15550000002" => Err((400, 21610, "Attempt to send to unsubscribed recipient")),
                to => Ok((
                    201,
                    json!({
                        "sid": "SM00000000000000000000000000000001",
                        "status": "queued",
                        "to": to,
                        "from": sender,
                        "num_segments": "1",
                    }),
                )),
            }
        }
        _ => Err((404, 20404, "The requested resource was not found")),
    }
}
