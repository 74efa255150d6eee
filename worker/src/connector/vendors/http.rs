//! Servers that speak plain HTTP: one of the tool's own with credentials, and others.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};

use super::stand_in::{Answer, Seen, Vendor};

pub(super) const BEARER: &str = "bearer-of-the-tool";
pub(super) const USER: &str = "tool";
pub(super) const PASSWORD: &str = "pass-of-the-tool";
pub(super) const KEY: &str = "key-of-the-tool";

/// Says back what it was sent, to whoever shows one of its credentials or asks for what is open.
pub(super) struct Server;

impl Vendor for Server {
    fn answer(&self, seen: &Seen, _: &str) -> Answer {
        if !seen.path.starts_with("/open") && !is_known(seen) {
            return Answer::json(401, json!({ "error": "who are you?" }));
        }
        match seen.path.as_str() {
            "/v1/forbidden" => Answer::json(403, json!({ "error": "not for you" })),
            "/v1/missing" => Answer::text(404, "nothing here"),
            "/v1/wrong" => Answer::json(422, json!({ "error": "name is required" })),
            "/v1/empty" => Answer::empty(204),
            "/v1/text" => Answer::text(200, "plain words"),
            _ => Answer::json(200, said_back(seen)),
        }
    }

    fn busy(&self) -> Answer {
        Answer::text(429, "slow down").with("retry-after", 7)
    }
}

fn is_known(seen: &Seen) -> bool {
    let basic = format!("Basic {}", BASE64.encode(format!("{USER}:{PASSWORD}")));
    seen.header("authorization") == format!("Bearer {BEARER}")
        || seen.header("authorization") == basic
        || seen.header("x-api-key") == KEY
        || seen.query("key") == Some(KEY)
}

fn said_back(seen: &Seen) -> Value {
    let query: Vec<_> = seen
        .query
        .iter()
        .filter(|(name, _)| name != "key")
        .collect();
    json!({
        "method": seen.method,
        "path": seen.path,
        "query": query,
        "type": seen.content_type(),
        "body": String::from_utf8_lossy(&seen.body),
        "trace": seen.header("x-trace"),
    })
}
