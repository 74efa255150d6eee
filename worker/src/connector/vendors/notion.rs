//! Notion: <https://developers.notion.com/reference/intro>.

use serde_json::{Value, json};

use super::stand_in::{Answer, Seen, Vendor};

pub(super) const TOKEN: &str = "ntn_0123456789abcdef";
pub(super) const PAGE: &str = "59833787-2cf9-4fdf-8782-e53db20768a5";
pub(super) const DATABASE: &str = "248104cd-477e-80fd-b757-e945d38000bd";
pub(super) const SOURCE: &str = "248104cd-477e-80af-bc30-000bd28de8f9";
pub(super) const BLOCK: &str = "2a1b3c4d-0000-4000-8000-000000000003";

pub(super) struct Notion;

impl Vendor for Notion {
    fn answer(&self, seen: &Seen, _: &str) -> Answer {
        match checked(seen) {
            Ok(body) => Answer::json(200, body),
            Err((status, code, message)) => refusal(status, code, message),
        }
    }

    fn busy(&self) -> Answer {
        refusal(
            429,
            "rate_limited",
            "You have been rate limited. Please try again in a few minutes.",
        )
        .with("retry-after", 12)
    }

    fn broken(&self) -> Answer {
        refusal(
            503,
            "service_unavailable",
            "Notion is unavailable. Please try again later.",
        )
    }
}

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let body = json!({ "object": "error", "status": status, "code": code, "message": message });
    Answer::json(status, body)
}

type Refusal = (u16, &'static str, &'static str);

fn checked(seen: &Seen) -> Result<Value, Refusal> {
    if seen.header("authorization") != format!("Bearer {TOKEN}") {
        return Err((401, "unauthorized", "API token is invalid."));
    }
    let version = seen.header("notion-version");
    if version.is_empty() {
        return Err((
            400,
            "missing_version",
            "Notion-Version header should be defined.",
        ));
    }
    assert_eq!(version, "2025-09-03", "the paths below are this version's");
    let invalid = |message| (400, "validation_error", message);
    let missing = (
        404,
        "object_not_found",
        "Could not find it. Make sure it is shared.",
    );
    let body = match seen.method.as_str() {
        "GET" => Value::Null,
        _ => seen
            .json()
            .ok_or((400, "invalid_json", "Error parsing JSON body."))?,
    };
    let path: Vec<_> = seen.path.split('/').skip(1).collect();
    match (seen.method.as_str(), path.as_slice()) {
        ("GET", ["v1", "users", "me"]) => Ok(json!({ "object": "user", "name": "Robot" })),
        ("GET", ["v1", "databases", DATABASE]) => Ok(json!({
            "object": "database",
            "id": DATABASE,
            "data_sources": [{ "id": SOURCE, "name": "Groceries" }],
        })),
        ("POST", ["v1", "pages"]) => {
            let parent = &body["parent"];
            let properties = body["properties"].as_object().ok_or(invalid(
                "body.properties should be defined, instead was undefined.",
            ))?;
            match (
                parent["type"].as_str(),
                &parent["page_id"],
                &parent["data_source_id"],
            ) {
                (Some("page_id"), id, _) if id == PAGE => {
                    let title = &body["properties"]["title"][0]["text"]["content"];
                    if !title.is_string() {
                        return Err(invalid("body.properties.title should be defined."));
                    }
                }
                (Some("data_source_id"), _, id) if id == SOURCE => {
                    if let Some(name) = properties.keys().find(|name| *name != "Name") {
                        assert!(!name.is_empty());
                        return Err(invalid("A property is not a property that exists."));
                    }
                }
                (Some("page_id" | "data_source_id"), ..) => return Err(missing),
                _ => return Err(invalid("body.parent should be defined.")),
            }
            Ok(json!({ "object": "page", "id": "page-new", "url": "https://www.notion.so/new" }))
        }
        ("PATCH", ["v1", "pages", PAGE]) => {
            if body.get("properties").is_none() && body.get("in_trash").is_none() {
                return Err(invalid("nothing is to be changed."));
            }
            if body["properties"].get("Unknown").is_some() {
                return Err(invalid("Unknown is not a property that exists."));
            }
            Ok(json!({ "object": "page", "id": PAGE, "url": "https://www.notion.so/5983" }))
        }
        ("PATCH", ["v1", "blocks", PAGE, "children"]) => {
            let children = body["children"]
                .as_array()
                .ok_or(invalid("body.children should be defined."))?;
            if children.iter().any(|child| !child["type"].is_string()) {
                return Err(invalid("body.children[0].type should be defined."));
            }
            Ok(json!({ "object": "list", "results": [{ "object": "block", "id": BLOCK }] }))
        }
        ("POST", ["v1", "data_sources", SOURCE, "query"]) => {
            if body["filter"]["property"] == "Unknown" {
                return Err(invalid("Could not find property with name or id: Unknown"));
            }
            match body["start_cursor"].as_str() {
                None => Ok(json!({
                    "object": "list",
                    "results": [{ "object": "page", "id": "row-1" }],
                    "next_cursor": "row-2",
                    "has_more": true,
                })),
                Some("row-2") => Ok(json!({
                    "object": "list",
                    "results": [{ "object": "page", "id": "row-2" }],
                    "next_cursor": null,
                    "has_more": false,
                })),
                Some(_) => Err(invalid("start_cursor is not valid.")),
            }
        }
        (
            "GET" | "POST" | "PATCH",
            ["v1", "pages" | "blocks" | "databases" | "data_sources", ..],
        ) => Err(missing),
        _ => Err((400, "invalid_request_url", "Invalid request URL.")),
    }
}
