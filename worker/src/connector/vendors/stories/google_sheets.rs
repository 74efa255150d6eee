//! Google Sheets as a service account.

use std::time::Duration;

use serde_json::{Value, json};
use toolroom_domain::ErrorCategory::{Authentication, Authorization, Validation};

use super::super::{
    google::{FOREIGN_SHEET, Google, SHEET, forged_key_file, key_file},
    world::{World, refuses},
};

async fn world() -> World {
    let world = World::new(
        "GOOGLE_SHEETS",
        "https://sheets.googleapis.com",
        Google::default(),
    )
    .await;
    let key = key_file(&world.vendor.base);
    world.with(json!({ "serviceAccount": key, "spreadsheetId": SHEET }))
}

fn actions() -> Vec<(&'static str, Value)> {
    let rows = json!([["2026-07-01", 42], [null, true]]);
    vec![
        ("google-sheets.read", json!({ "range": "Class Data!A2:B" })),
        (
            "google-sheets.append",
            json!({ "range": "Log!A:B", "values": rows }),
        ),
        (
            "google-sheets.update",
            json!({ "range": "Log!A7:B8", "values": rows }),
        ),
        ("google-sheets.clear", json!({ "range": "Log!A1:B" })),
    ]
}

#[tokio::test]
async fn cells_are_read_appended_updated_and_cleared_with_one_token() {
    let world = world().await;
    world.covers(&actions());
    let updated = |range: &str| json!({ "updatedRange": range, "updatedRows": 2, "updatedColumns": 2, "updatedCells": 4 });
    let mut appended = updated("Log!A:B");
    appended["spreadsheetId"] = json!(SHEET);
    let outputs = [
        json!({ "range": "Class Data!A2:B", "values": [["Alexandra", "Female"], ["Andrew"]] }),
        appended,
        updated("Log!A7:B8"),
        json!({ "clearedRange": "Log!A1:B" }),
    ];
    for ((action, input), output) in actions().into_iter().zip(outputs) {
        assert_eq!(world.run(action, input).await.unwrap(), output, "{action}");
    }
    let seen = world.vendor.seen();
    let tokens = seen.iter().filter(|seen| seen.path == "/token").count();
    assert_eq!((tokens, seen.len()), (1, 5));
}

#[tokio::test]
async fn a_range_of_empty_cells_has_no_rows() {
    let world = world().await;
    let output = world
        .run("google-sheets.read", json!({ "range": "Empty!A1" }))
        .await;
    assert_eq!(
        output.unwrap(),
        json!({ "range": "Empty!A1", "values": [] })
    );
}

#[tokio::test]
async fn the_key_file_may_be_its_text() {
    let world = world().await;
    let text = key_file(&world.vendor.base).to_string();
    let world = world.with(json!({ "serviceAccount": text, "spreadsheetId": SHEET }));
    let (action, input) = actions().remove(0);
    world.run(action, input).await.unwrap();
}

#[tokio::test]
async fn the_account_acts_for_whom_it_may() {
    let world = world().await;
    let key = key_file(&world.vendor.base);
    let (action, input) = actions().remove(0);
    let as_user =
        |user: &str| json!({ "serviceAccount": key, "spreadsheetId": SHEET, "subject": user });
    let world = world.with(as_user("jane@example.com"));
    world.run(action, input.clone()).await.unwrap();
    let world = world.with(as_user("joe@example.com"));
    let outcome = world.run(action, input).await;
    refuses(outcome, Authorization, "may not act for that user");
}

#[tokio::test]
async fn what_google_refuses_is_sorted() {
    let world = world().await;
    for (action, mut input) in actions() {
        let range = input["range"].clone();
        input["range"] = json!("Nowhere!A1");
        let outcome = world.run(action, input.clone()).await;
        refuses(outcome, Validation, "Unable to parse range");
        input["range"] = range;
        input["spreadsheetId"] = json!(FOREIGN_SHEET);
        let outcome = world.run(action, input.clone()).await;
        refuses(outcome, Authorization, "share the spreadsheet");
        input["spreadsheetId"] = json!("1Nowhere");
        let outcome = world.run(action, input).await;
        refuses(outcome, Validation, "not found");
    }
}

#[tokio::test]
async fn a_key_that_is_none_any_more_is_told_as_such() {
    let world = world().await;
    let key = forged_key_file(&world.vendor.base);
    let world = world.with(json!({ "serviceAccount": key, "spreadsheetId": SHEET }));
    for (action, input) in actions() {
        let outcome = world.run(action, input).await;
        refuses(
            outcome,
            Authentication,
            "service account's key is not taken",
        );
    }
    let world = world.with(json!({ "serviceAccount": { "type": "x" }, "spreadsheetId": SHEET }));
    let (action, input) = actions().remove(0);
    let outcome = world.run(action, input).await;
    refuses(outcome, Authentication, "client_email");
}

#[tokio::test]
async fn bad_days_are_told_apart() {
    let world = world().await;
    let (action, input) = actions().remove(0);
    // The token is there already: it is Sheets that has the bad days.
    world.run(action, input).await.unwrap();
    let wait = Some(Duration::from_secs(30));
    world.has_bad_days(&actions(), wait).await;
}

#[tokio::test]
async fn nothing_of_the_key_or_the_token_is_told() {
    let world = world().await;
    let (action, input) = actions().remove(1);
    let shown = world.rehearse(action, input).await.unwrap().to_string();
    assert!(
        !shown.contains("PRIVATE KEY") && !shown.contains("ya29"),
        "{shown}"
    );
    let (action, input) = actions().remove(0);
    world.run(action, input).await.unwrap();
    let receipts = format!("{:?}", world.receipts());
    assert!(
        receipts.contains("/token") && !receipts.contains("ya29"),
        "{receipts}"
    );
}

#[tokio::test]
async fn the_connection_is_tested_by_looking_at_the_spreadsheet() {
    let world = world().await;
    let tested = world.test().await.unwrap();
    assert_eq!(tested["message"], "connected to the spreadsheet Log");
    let key = key_file(&world.vendor.base);
    let without = world.with(json!({ "serviceAccount": key })).test().await;
    assert_eq!(without.unwrap()["details"]["sent"], false);
}
