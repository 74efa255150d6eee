//! Trello: <https://developer.atlassian.com/cloud/trello/rest/>.

use serde_json::{Value, json};

use super::stand_in::{Answer, Seen, Vendor};

pub(super) const KEY: &str = "0123456789abcdef0123456789abcdef";
pub(super) const TOKEN: &str = "ATTA0123456789abcdef";
pub(super) const LIST: &str = "5abbe4b7ddc1b351ef961414";
pub(super) const OTHER_LIST: &str = "5abbe4b7ddc1b351ef961416";
pub(super) const FOREIGN_LIST: &str = "5abbe4b7ddc1b351ef961499";
pub(super) const CARD: &str = "5abbe4b7ddc1b351ef961415";
pub(super) const BOARD: &str = "dLmvRYWZ";

pub(super) struct Trello;

impl Vendor for Trello {
    fn answer(&self, seen: &Seen, _: &str) -> Answer {
        let answer = match checked(seen) {
            Ok(body) => Answer::json(200, body),
            // Trello's refusals are texts.
            Err((status, words)) => Answer::text(status, words),
        };
        answer
            .with("x-rate-limit-api-token-interval-ms", 10_000)
            .with("x-rate-limit-api-token-max", 100)
            .with("x-rate-limit-api-token-remaining", 99)
    }

    fn busy(&self) -> Answer {
        let body = json!({ "error": "API_TOKEN_LIMIT_EXCEEDED", "message": "Rate limit exceeded" });
        Answer::json(429, body).with("x-rate-limit-api-token-remaining", 0)
    }
}

fn checked(seen: &Seen) -> Result<Value, (u16, &'static str)> {
    let authorization = seen.header("authorization");
    let parts = authorization
        .strip_prefix("OAuth ")
        .ok_or((401, "unauthorized permission requested"))?;
    let part = |name: &str| {
        parts.split(", ").find_map(|part| {
            let (key, value) = part.split_once('=')?;
            (key == name).then(|| value.trim_matches('"'))
        })
    };
    if part("oauth_consumer_key") != Some(KEY) {
        return Err((401, "invalid key"));
    }
    if part("oauth_token") != Some(TOKEN) {
        return Err((401, "invalid token"));
    }
    let body = match seen.method.as_str() {
        "GET" => Value::Null,
        _ => seen.json().ok_or((400, "invalid JSON"))?,
    };
    let not_found = (404, "The requested resource was not found.");
    let path: Vec<_> = seen.path.split('/').skip(1).collect();
    let list = || match body["idList"].as_str() {
        Some(LIST | OTHER_LIST) => Ok(body["idList"].clone()),
        Some(FOREIGN_LIST) => Err((401, "unauthorized permission requested")),
        _ => Err((400, "invalid value for idList")),
    };
    let card = |name: &Value, list: Value| json!({ "id": CARD, "name": name, "idList": list, "shortUrl": "https://trello.com/c/H0TZyzbK" });
    match (seen.method.as_str(), path.as_slice()) {
        ("GET", ["1", "members", "me"]) => Ok(json!({ "id": "1", "username": "jane" })),
        ("POST", ["1", "cards"]) => Ok(card(&body["name"], list()?)),
        ("PUT", ["1", "cards", CARD]) => Ok(card(&json!("Write the report"), list()?)),
        ("POST", ["1", "cards", CARD, "actions", "comments"]) => match body["text"].as_str() {
            Some(text) if !text.is_empty() && text.len() <= 16_384 => {
                Ok(json!({ "id": "5abbe4b7ddc1b351ef961417", "type": "commentCard" }))
            }
            _ => Err((400, "invalid value for text")),
        },
        ("GET", ["1", "lists", LIST, "cards"]) => {
            assert!(seen.query("fields").is_some());
            Ok(json!([{ "id": CARD, "name": "Write the report" }]))
        }
        ("GET", ["1", "boards", BOARD, "lists"]) => Ok(json!([{ "id": LIST, "name": "To do" }])),
        _ => Err(not_found),
    }
}
