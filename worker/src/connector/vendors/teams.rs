//! A workflow of Teams: <https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using>.

use serde_json::{Value, json};

use super::stand_in::{Answer, Seen, Vendor};

pub(super) const WORKFLOW: &str = "/workflows/0a1b/triggers/manual/paths/invoke";
pub(super) const SIGNATURE: &str = "x-signature-x";

pub(super) struct Teams;

impl Vendor for Teams {
    fn answer(&self, seen: &Seen, _: &str) -> Answer {
        if seen.path.contains("/disabled/") {
            return refusal(
                400,
                "WorkflowTriggerIsNotEnabled",
                "Could not execute workflow 'x' trigger 'manual' with state 'Disabled'.",
            );
        }
        if seen.path != WORKFLOW {
            return refusal(404, "WorkflowNotFound", "The workflow could not be found.");
        }
        if seen.query("sig") != Some(SIGNATURE) || seen.query("api-version").is_none() {
            return refusal(
                401,
                "DirectApiAuthorizationRequired",
                "The request must be authenticated only by Shared Access scheme.",
            );
        }
        let body = seen.json().filter(|_| seen.method == "POST");
        let Some(body) = body.filter(is_message) else {
            return refusal(
                400,
                "TriggerInputSchemaMismatch",
                "The input body for trigger 'manual' of type 'Request' did not match its schema definition.",
            );
        };
        let card = &body["attachments"][0]["content"];
        if !card["body"].is_array() || !card["version"].is_string() {
            return refusal(400, "BadRequest", "The card is not valid.");
        }
        Answer::empty(202)
    }

    fn busy(&self) -> Answer {
        refusal(
            429,
            "TooManyRequests",
            "Rate limit is exceeded. Try again in 5 seconds.",
        )
        .with("retry-after", 5)
    }
}

fn is_message(body: &Value) -> bool {
    let attachment = &body["attachments"][0];
    body["type"] == "message"
        && attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
        && attachment["content"]["type"] == "AdaptiveCard"
}

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(
        status,
        json!({ "error": { "code": code, "message": message } }),
    )
}
