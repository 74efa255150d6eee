//! Any request to any server.

use std::time::Duration;

use serde_json::{Value, json};
use toolroom_domain::ErrorCategory::{Authentication, Authorization, ServerError, Validation};

use super::super::{
    http::{BEARER, KEY, PASSWORD, Server, USER},
    stand_in::Day,
    world::{World, refuses},
};

const REQUEST: &str = "http.request";

/// A tool with a server of its own.
async fn own(credentials: Value) -> World {
    let world = World::new("HTTP", "", Server).await;
    let mut whole = credentials;
    whole["baseUrl"] = format!("{}/v1/", world.vendor.base).into();
    world.with(whole)
}

async fn bearer() -> World {
    own(json!({ "bearerToken": BEARER })).await
}

/// What the server was sent.
async fn sent(world: &World, input: Value) -> Value {
    let output = world.run(REQUEST, input).await.unwrap();
    assert_eq!(output["status"], 200);
    output["body"].clone()
}

#[tokio::test]
async fn each_way_to_authenticate_is_taken_by_the_server_and_masked_in_its_answer() {
    for credentials in [
        json!({ "bearerToken": BEARER }),
        json!({ "username": USER, "password": PASSWORD }),
        json!({ "headerName": "X-API-Key", "headerValue": KEY }),
        json!({ "queryName": "key", "queryValue": KEY }),
    ] {
        let world = own(credentials.clone()).await;
        world.covers(&[(REQUEST, Value::Null)]);
        let echo = [BEARER, PASSWORD, KEY].join(" ");
        let body = sent(
            &world,
            json!({ "path": "items/1", "query": { "echo": echo } }),
        )
        .await;
        assert_eq!(
            (&body["method"], &body["path"]),
            (&json!("GET"), &json!("/v1/items/1"))
        );
        let masked = body["query"].to_string();
        assert!(masked.contains("***"), "{credentials}: {masked}");
        let wrong = json!({ "bearerToken": "bearer-of-another" });
        refuses(
            own(wrong).await.run(REQUEST, json!({ "path": "a" })).await,
            Authentication,
            "401",
        );
    }
}

#[tokio::test]
async fn any_address_is_called_without_credentials() {
    let world = World::new("HTTP", "", Server).await;
    let url = format!("{}/open/a?sort=name", world.vendor.base);
    let body = sent(
        &world,
        json!({ "url": url, "query": { "tag": ["a", "b c"], "n": 7 } }),
    )
    .await;
    let query = [["sort", "name"], ["n", "7"], ["tag", "a"], ["tag", "b c"]];
    assert_eq!(body["query"].as_array().unwrap().len(), query.len());
    for pair in query {
        assert!(
            body["query"].as_array().unwrap().contains(&json!(pair)),
            "{pair:?}: {body}"
        );
    }
    assert_eq!(world.vendor.last().header("authorization"), "");
    refuses(
        world.run(REQUEST, json!({ "path": "a" })).await,
        Validation,
        "`url`",
    );
}

#[tokio::test]
async fn credentials_go_to_the_tools_own_server_alone() {
    let world = bearer().await;
    let elsewhere = json!({ "url": format!("{}/open", world.vendor.base) });
    refuses(world.run(REQUEST, elsewhere).await, Validation, "`path`");
    for path in ["../open", "a/../../open"] {
        let outcome = world.run(REQUEST, json!({ "path": path })).await;
        assert!(outcome.is_err(), "{path}: {outcome:?}");
    }
    assert_eq!(world.vendor.seen().len(), 0);
    // What looks like a server is part of the path.
    for path in ["//other.example/x?y=1#z", "a/%2e%2e/open", "..\\open"] {
        let body = sent(&world, json!({ "path": path })).await;
        assert!(body["path"].as_str().unwrap().starts_with("/v1/"), "{body}");
    }
}

#[tokio::test]
async fn each_form_of_a_body_arrives_as_its_type() {
    let world = bearer().await;
    for (input, content_type, body) in [
        (
            json!({ "json": { "a": [1, null] } }),
            "application/json",
            r#"{"a":[1,null]}"#,
        ),
        (json!({ "json": null }), "", ""),
        (
            json!({ "form": { "a": "b c", "n": [1, 2] } }),
            "application/x-www-form-urlencoded",
            "a=b+c&n=1&n=2",
        ),
        (json!({ "text": "some words" }), "text/plain", "some words"),
        (
            json!({ "text": "<a/>", "contentType": "application/xml" }),
            "application/xml",
            "<a/>",
        ),
        (
            json!({ "base64": "aGVsbG8=", "contentType": "image/png" }),
            "image/png",
            "hello",
        ),
    ] {
        let mut input = input;
        input["method"] = json!("POST");
        input["path"] = json!("items");
        input["headers"] = json!({ "x-trace": "t-1" });
        let seen = sent(&world, input.clone()).await;
        assert_eq!(seen["method"], "POST");
        assert_eq!(
            (&seen["type"], &seen["body"]),
            (&json!(content_type), &json!(body)),
            "{input}"
        );
        assert_eq!(seen["trace"], "t-1");
    }
}

#[tokio::test]
async fn a_request_has_one_body() {
    let bodies = [
        ("json", json!({ "a": 1 })),
        ("form", json!({ "a": 1 })),
        ("text", json!("a")),
        ("base64", json!("YQ==")),
    ];
    let world = bearer().await;
    for (index, (one, a)) in bodies.iter().enumerate() {
        for (other, b) in &bodies[index + 1..] {
            let input = json!({ "method": "POST", "path": "a", *one: a, *other: b });
            refuses(world.run(REQUEST, input).await, Validation, "schema");
        }
    }
}

#[tokio::test]
async fn each_form_of_an_answer_is_given_back() {
    let world = bearer().await;
    for (path, status, body) in [
        ("empty", 204, Value::Null),
        ("text", 200, json!("plain words")),
    ] {
        let output = world.run(REQUEST, json!({ "path": path })).await.unwrap();
        assert_eq!(
            (&output["status"], &output["body"]),
            (&json!(status), &body),
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_the_server_refuses_is_sorted() {
    let world = bearer().await;
    for (path, category, words) in [
        ("forbidden", Authorization, "403"),
        ("missing", Validation, "404"),
        ("wrong", Validation, "422"),
    ] {
        refuses(
            world.run(REQUEST, json!({ "path": path })).await,
            category,
            words,
        );
    }
    let input = json!({ "path": "items" });
    world
        .has_bad_days(&[(REQUEST, input)], Some(Duration::from_secs(7)))
        .await;
}

#[tokio::test]
async fn a_post_is_repeated_where_the_server_takes_a_key() {
    let input = json!({ "method": "POST", "path": "items", "json": {} });
    let keyed = own(json!({ "bearerToken": BEARER, "idempotencyHeader": "X-Request-Key" })).await;
    for (world, is_repeated) in [(bearer().await, false), (keyed, true)] {
        world.vendor.is_on(Day::Broken);
        let error = world.run(REQUEST, input.clone()).await.unwrap_err();
        assert_eq!(
            (error.category, error.retryable),
            (ServerError, is_repeated),
            "{error}"
        );
        let receipt = world.receipts()[0].clone();
        assert_eq!(receipt.repeatable, is_repeated);
        let key = world.vendor.last().header("x-request-key").to_owned();
        assert_eq!(key == receipt.idempotency_key, is_repeated, "{key}");
    }
    let own_header = json!({ "bearerToken": BEARER, "idempotencyHeader": "Host" });
    refuses(
        own(own_header).await.run(REQUEST, input).await,
        Validation,
        "header",
    );
}

#[tokio::test]
async fn a_rehearsal_sends_nothing_and_shows_no_credential() {
    let world = bearer().await;
    let input = json!({ "method": "DELETE", "path": "items/1" });
    let shown = world.rehearse(REQUEST, input).await.unwrap();
    assert_eq!(shown["sent"], false);
    assert_eq!(shown["request"]["headers"]["authorization"], "Bearer ***");
    assert_eq!(world.vendor.seen().len(), 0);
    let tested = world.test().await.unwrap();
    assert_eq!(tested["message"], "the server answers 200");
}
