//! Somebody who receives webhooks and checks them as Standard Webhooks wants it.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::json;

use super::stand_in::{Answer, Seen, Vendor};

pub(super) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// When the stories play; older than five minutes is a replay.
const NOW: i64 = 1_782_907_200;

pub(super) struct Receiver;

impl Vendor for Receiver {
    fn answer(&self, seen: &Seen, _: &str) -> Answer {
        if seen.method != "POST" || seen.content_type() != "application/json" {
            return Answer::text(415, "JSON, please");
        }
        if !is_signed(seen) {
            return Answer::json(401, json!({ "error": "invalid signature" }));
        }
        match seen.path.as_str() {
            "/hook" => Answer::json(200, json!({ "seen": true })),
            "/quiet" => Answer::empty(204),
            "/gone" => Answer::empty(410),
            _ => Answer::json(404, json!({ "error": "no such hook" })),
        }
    }

    fn busy(&self) -> Answer {
        Answer::empty(429).with("retry-after", 9)
    }
}

fn is_signed(seen: &Seen) -> bool {
    let (id, timestamp) = (seen.header("webhook-id"), seen.header("webhook-timestamp"));
    let timely = timestamp
        .parse::<i64>()
        .is_ok_and(|at| (at - NOW).abs() < 300);
    let secret = SECRET.trim_start_matches("whsec_");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64.decode(secret).unwrap());
    let message = [id.as_bytes(), b".", timestamp.as_bytes(), b".", &seen.body].concat();
    let signatures = seen.header("webhook-signature").split(' ');
    let mut ours = signatures.filter_map(|one| BASE64.decode(one.strip_prefix("v1,")?).ok());
    timely && !id.is_empty() && ours.any(|one| hmac::verify(&key, &message, &one).is_ok())
}
