//! Trello.

use std::time::Duration;

use serde_json::{Value, json};
use toolroom_domain::ErrorCategory::{Authentication, Authorization, Validation};

use super::super::{
    trello::{BOARD, CARD, FOREIGN_LIST, KEY, LIST, OTHER_LIST, TOKEN, Trello},
    world::{World, refuses},
};

const NOWHERE: &str = "000000000000000000000000";

async fn world() -> World {
    let world = World::new("TRELLO", "https://api.trello.com", Trello).await;
    world.with(json!({ "apiKey": KEY, "token": TOKEN }))
}

fn actions() -> Vec<(&'static str, Value)> {
    vec![
        (
            "trello.create-card",
            json!({ "listId": LIST, "name": "Write the report" }),
        ),
        (
            "trello.move-card",
            json!({ "cardId": CARD, "listId": OTHER_LIST }),
        ),
        (
            "trello.comment-card",
            json!({ "cardId": CARD, "text": "Half done." }),
        ),
        ("trello.list-cards", json!({ "listId": LIST })),
        ("trello.list-lists", json!({ "boardId": BOARD })),
    ]
}

#[tokio::test]
async fn cards_are_created_moved_commented_and_listed() {
    let world = world().await;
    world.covers(&actions());
    let card = |list: &str| json!({ "id": CARD, "name": "Write the report", "listId": list, "url": "https://trello.com/c/H0TZyzbK" });
    let outputs = [
        card(LIST),
        card(OTHER_LIST),
        json!({ "id": "5abbe4b7ddc1b351ef961417" }),
        json!({ "cards": [{ "id": CARD, "name": "Write the report" }] }),
        json!({ "lists": [{ "id": LIST, "name": "To do" }] }),
    ];
    for ((action, input), output) in actions().into_iter().zip(outputs) {
        assert_eq!(world.run(action, input).await.unwrap(), output, "{action}");
    }
    // Neither key nor token is in an address, which ends up in logs.
    for seen in world.vendor.seen() {
        let query = format!("{:?}", seen.query);
        assert!(!query.contains(KEY) && !query.contains(TOKEN), "{query}");
    }
}

#[tokio::test]
async fn what_a_card_may_have_goes_along() {
    let world = world().await;
    let input = json!({
        "listId": LIST,
        "name": "Write the report",
        "description": "All of it",
        "due": "2027-01-31T17:00:00Z",
        "memberIds": [CARD],
        "position": 1.5,
    });
    world.run("trello.create-card", input).await.unwrap();
    assert_eq!(
        world.vendor.last().json().unwrap(),
        json!({
            "idList": LIST,
            "name": "Write the report",
            "desc": "All of it",
            "due": "2027-01-31T17:00:00Z",
            "idMembers": [CARD],
            "pos": 1.5,
        })
    );
}

#[tokio::test]
async fn what_trello_refuses_is_sorted() {
    let world = world().await;
    for (action, input, words) in [
        (
            "trello.create-card",
            json!({ "listId": NOWHERE, "name": "x" }),
            "invalid value for idList",
        ),
        (
            "trello.move-card",
            json!({ "cardId": NOWHERE, "listId": LIST }),
            "there is no such card",
        ),
        (
            "trello.comment-card",
            json!({ "cardId": NOWHERE, "text": "x" }),
            "there is no such card",
        ),
        (
            "trello.list-cards",
            json!({ "listId": NOWHERE }),
            "there is no such",
        ),
        (
            "trello.list-lists",
            json!({ "boardId": NOWHERE }),
            "there is no such",
        ),
    ] {
        refuses(world.run(action, input).await, Validation, words);
    }
    let foreign = json!({ "listId": FOREIGN_LIST, "name": "x" });
    let outcome = world.run("trello.create-card", foreign).await;
    refuses(outcome, Authorization, "may not do that");
}

#[tokio::test]
async fn a_key_or_token_that_is_none_any_more_is_told_as_such() {
    for credentials in [
        json!({ "apiKey": KEY, "token": "ATTArevoked" }),
        json!({ "apiKey": "other", "token": TOKEN }),
    ] {
        let world = world().await.with(credentials);
        for (action, input) in actions() {
            let outcome = world.run(action, input).await;
            refuses(outcome, Authentication, "create them anew");
        }
    }
}

#[tokio::test]
async fn bad_days_are_told_apart() {
    // Trello does not tell; its windows have ten seconds.
    let wait = Some(Duration::from_secs(10));
    world().await.has_bad_days(&actions(), wait).await;
}

#[tokio::test]
async fn the_connection_is_tested_by_asking_who_one_is() {
    let tested = world().await.test().await.unwrap();
    assert_eq!(tested["message"], "connected as jane");
}

#[tokio::test]
async fn what_is_left_is_known_and_holds_for_a_window_of_ten_seconds() {
    let world = world().await;
    let (action, input) = actions().remove(0);
    world.run(action, input).await.unwrap();
    assert_eq!(world.limit(), (Some(99), Some(Duration::from_secs(10))));
}
