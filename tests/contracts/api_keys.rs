//! API keys over REST, at both paths of the contracts.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App};

const PATHS: [&str; 2] = ["/api-keys", "/api/v1/api-keys"];

#[tokio::test]
async fn a_key_is_made_shown_once_used_listed_and_revoked() {
    let app = App::start_closed().await;
    let operator = app.operator();
    for path in PATHS {
        let new = json!({ "name": "ci", "role": "VIEWER", "expires_at": "2999-01-01T00:00:00Z" });
        let made = operator.send(Method::POST, path, Some(&new)).await;
        assert_eq!(made.status, 201, "{}", made.body);
        assert_eq!(made.headers["cache-control"], "no-store");
        let secret = made.body["secret"].as_str().expect("a secret").to_owned();
        let key = &made.body["api_key"];
        let expected = json!({
            "id": key["id"], "name": "ci", "prefix": &secret[3..15], "role": "VIEWER",
            "operator": false, "created_by": key["created_by"], "created_at": key["created_at"], "expires_at": "2999-01-01T00:00:00Z",
            "last_used_at": null, "revoked_at": null,
        });
        assert_eq!(*key, expected);
        // The first key, which a first start makes with this id.
        let first = "key:key_00000000000000000000000000000001";
        assert_eq!(key["created_by"], first);
        assert!(key["id"].as_str().unwrap().starts_with("key_"));

        let listed = operator.send(Method::GET, path, None).await;
        assert_eq!(listed.body[0], expected, "the newest first");
        assert!(!listed.body.to_string().contains(&secret[16..]));

        let holder = app.shown(Some(&secret));
        let viewer = "{ viewer { id role authenticatedBy } }";
        let told = holder.data(viewer, json!({})).await;
        let id = key["id"].as_str().unwrap();
        let expected =
            json!({ "id": format!("key:{id}"), "role": "VIEWER", "authenticatedBy": "api_key" });
        assert_eq!(told["viewer"], expected);
        let refused = holder.send(Method::POST, path, Some(&new)).await;
        assert_eq!(refused.status, 403, "{}", refused.body);

        let one = format!("{path}/{id}");
        for _ in 0..2 {
            let revoked = operator.send(Method::DELETE, &one, None).await;
            assert_eq!(revoked.status, 200, "{}", revoked.body);
            assert!(revoked.body["revoked_at"].is_string());
        }
        assert_eq!(holder.send(Method::GET, "/tools", None).await.status, 401);
        assert!(
            !app.output().contains(&secret[16..]),
            "the log tells the secret"
        );
    }
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_key_is_named() {
    let app = App::start_closed().await;
    let operator = app.operator();
    let paths = async |body: Value| {
        let answer = operator.send(Method::POST, PATHS[0], Some(&body)).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
        let details = answer.body["details"].as_array().unwrap().clone();
        let each = details
            .into_iter()
            .map(|detail| detail["path"].as_str().unwrap().to_owned());
        each.collect::<Vec<_>>()
    };
    assert_eq!(paths(json!({})).await, ["name", "role"]);
    let wrong = json!({ "name": 1, "role": "BOSS", "expires_at": "soon", "rol": 1 });
    assert_eq!(paths(wrong).await, ["name", "role", "expires_at", "rol"]);
    let past = json!({ "name": "", "role": "VIEWER", "expires_at": "2001-01-01T00:00:00Z" });
    assert_eq!(paths(past).await, ["name", "expires_at"]);
    let unknown = operator.send(Method::DELETE, "/api-keys/x", None).await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn an_idempotency_key_makes_one_key_and_shows_it_once() {
    let app = App::start_closed().await;
    let post = async || {
        let new = json!({ "name": "ci", "role": "VIEWER" });
        let request = app.http.post(format!("{}/api-keys", app.url)).json(&new);
        Answer::of(request.header("Idempotency-Key", "once")).await
    };
    let (first, again) = (post().await, post().await);
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.body["api_key"], again.body["api_key"]);
    assert!(first.body["secret"].is_string() && again.body["secret"].is_null());
}
