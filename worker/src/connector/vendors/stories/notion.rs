//! Notion.

use std::time::Duration;

use serde_json::{Value, json};
use toolroom_domain::ErrorCategory::{Authentication, Validation};

use super::super::{
    notion::{BLOCK, DATABASE, Notion, PAGE, SOURCE, TOKEN},
    world::{World, refuses},
};

const NOWHERE: &str = "00000000-0000-4000-8000-000000000000";

async fn world() -> World {
    let world = World::new("NOTION", "https://api.notion.com", Notion).await;
    world.with(json!({ "token": TOKEN }))
}

fn actions() -> Vec<(&'static str, Value)> {
    vec![
        (
            "notion.create-page",
            json!({ "pageId": PAGE, "title": "Minutes" }),
        ),
        (
            "notion.append-block",
            json!({ "blockId": PAGE, "text": "One more thing." }),
        ),
        ("notion.query-database", json!({ "databaseId": DATABASE })),
        (
            "notion.update-page",
            json!({ "pageId": PAGE, "properties": { "Done": { "checkbox": true } } }),
        ),
    ]
}

#[tokio::test]
async fn pages_are_created_below_pages_and_in_databases() {
    let world = world().await;
    let page = json!({ "id": "page-new", "url": "https://www.notion.so/new" });
    let properties = json!({ "Name": { "title": [{ "text": { "content": "Kale" } }] } });
    for (input, calls) in [
        (json!({ "pageId": PAGE, "title": "Minutes" }), 1),
        (
            json!({ "dataSourceId": SOURCE, "properties": properties }),
            1,
        ),
        (
            json!({ "databaseId": DATABASE, "properties": properties }),
            2,
        ),
    ] {
        let before = world.vendor.seen().len();
        assert_eq!(world.run("notion.create-page", input).await.unwrap(), page);
        assert_eq!(world.vendor.seen().len() - before, calls);
    }
    assert_eq!(
        world.vendor.last().json().unwrap(),
        json!({
            "parent": { "type": "data_source_id", "data_source_id": SOURCE },
            "properties": properties,
        })
    );
}

#[tokio::test]
async fn blocks_are_appended_and_pages_changed() {
    let world = world().await;
    world.covers(&actions());
    let blocks = json!({ "blocks": [{ "object": "block", "id": BLOCK }] });
    let children = json!([{ "object": "block", "type": "divider", "divider": {} }]);
    for input in [
        json!({ "blockId": PAGE, "text": "One more thing." }),
        json!({ "blockId": PAGE, "children": children }),
    ] {
        assert_eq!(
            world.run("notion.append-block", input).await.unwrap(),
            blocks
        );
    }
    assert_eq!(
        world.vendor.last().json().unwrap(),
        json!({ "children": children })
    );
    let input = json!({ "pageId": PAGE, "inTrash": true });
    let output = world.run("notion.update-page", input).await.unwrap();
    assert_eq!(
        output,
        json!({ "id": PAGE, "url": "https://www.notion.so/5983" })
    );
    assert_eq!(
        world.vendor.last().json().unwrap(),
        json!({ "in_trash": true })
    );
}

#[tokio::test]
async fn a_database_is_read_page_by_page() {
    let world = world().await;
    let first = world.run("notion.query-database", json!({ "databaseId": DATABASE }));
    assert_eq!(
        first.await.unwrap(),
        json!({ "results": [{ "object": "page", "id": "row-1" }], "nextCursor": "row-2", "hasMore": true })
    );
    let input = json!({ "dataSourceId": SOURCE, "cursor": "row-2", "pageSize": 10 });
    assert_eq!(
        world.run("notion.query-database", input).await.unwrap(),
        json!({ "results": [{ "object": "page", "id": "row-2" }], "hasMore": false })
    );
    assert_eq!(
        world.vendor.last().json().unwrap(),
        json!({ "start_cursor": "row-2", "page_size": 10 })
    );
}

#[tokio::test]
async fn what_notion_refuses_is_sorted() {
    let world = world().await;
    for (action, input, words) in [
        (
            "notion.create-page",
            json!({ "dataSourceId": SOURCE, "properties": { "Price": {} } }),
            "not a property that exists",
        ),
        (
            "notion.create-page",
            json!({ "pageId": NOWHERE, "title": "x" }),
            "not shared with the integration",
        ),
        (
            "notion.create-page",
            json!({ "databaseId": NOWHERE, "properties": {} }),
            "not shared with the integration",
        ),
        (
            "notion.append-block",
            json!({ "blockId": PAGE, "children": [{}] }),
            "children[0].type should be defined",
        ),
        (
            "notion.query-database",
            json!({ "databaseId": DATABASE, "filter": { "property": "Unknown" } }),
            "Could not find property",
        ),
        (
            "notion.update-page",
            json!({ "pageId": PAGE, "properties": { "Unknown": {} } }),
            "not a property that exists",
        ),
    ] {
        refuses(world.run(action, input).await, Validation, words);
    }
}

#[tokio::test]
async fn a_token_that_is_none_any_more_is_told_as_such() {
    let world = world().await.with(json!({ "token": "ntn_revoked" }));
    for (action, input) in actions() {
        let outcome = world.run(action, input).await;
        refuses(outcome, Authentication, "does not take the token");
    }
}

#[tokio::test]
async fn bad_days_are_told_apart() {
    let wait = Some(Duration::from_secs(12));
    world().await.has_bad_days(&actions(), wait).await;
}

#[tokio::test]
async fn the_connection_is_tested_by_asking_who_one_is() {
    let tested = world().await.test().await.unwrap();
    assert_eq!(tested["message"], "connected as Robot");
}
