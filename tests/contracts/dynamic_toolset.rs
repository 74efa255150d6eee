//! The contract of tools defined by JSON: its own shapes.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Answering, App};

const ALL: &str = "/api/v1/tools";

/// "Configuration Schema", as the contract's document has it, filled in.
fn weather(base_url: &str) -> Value {
    json!({
        "name": "weather_api",
        "description": "Tells the weather",
        "api": {
            "base_url": base_url,
            "method": "GET",
            "auth": {"method": "api_key_query", "key_name": "apikey", "secret_ref": "${API_KEY}"},
        },
        "input_schema": {
            "type": "object",
            "properties": {"location": {"type": "string"}},
            "required": ["location"],
        },
        "output_schema": {
            "type": "object",
            "properties": {"temperature": {"type": "number"}, "condition": {"type": "string"}},
        },
        "mapping": {
            "input_to_params": {"location": "q"},
            "response_to_output": {"$.current.temp": "temperature", "$.current.sky": "condition"},
        },
    })
}

/// A server whose tools may call loopback, and know the secret of the example.
async fn app() -> App {
    App::start_with(&[
        ("TOOLROOM_EGRESS_ALLOW", "127.0.0.1"),
        ("TOOLROOM_ENV_SECRETS", "API_KEY"),
        ("API_KEY", "s3cret-of-the-test"),
    ])
    .await
}

async fn send(app: &App, method: Method, path: &str, body: Option<Value>) -> Answer {
    let request = app.http.request(method, format!("{}{path}", app.url));
    Answer::of(match body {
        Some(body) => request.json(&body),
        None => request,
    })
    .await
}

fn paths(answer: &Answer) -> Vec<&str> {
    let details = answer.body["details"].as_array().expect("details");
    details
        .iter()
        .map(|detail| detail["path"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_definition_is_registered_listed_and_run() {
    let app = app().await;
    let service = Answering::with(json!({"current": {"temp": 65, "sky": "sunny"}})).await;
    let created = app.post(ALL, weather(&service.url)).await;
    assert_eq!(created.status, 201, "{}", created.body);
    assert_eq!(
        created.body,
        json!({"tool_id": "weather_api", "registered": true})
    );
    assert!(created.headers.contains_key("x-toolroom-position"));

    let definition = weather(&service.url);
    let listed = app.get(ALL).await;
    assert_eq!(listed.headers["x-total-count"], "1");
    assert_eq!(
        listed.body,
        json!({"tools": [{
            "id": "weather_api",
            "name": "weather_api",
            "description": "Tells the weather",
            "input_schema": definition["input_schema"],
            "output_schema": definition["output_schema"],
        }]})
    );

    let shown = app.get("/api/v1/tools/weather_api").await.body;
    assert_eq!(
        (&shown["id"], &shown["type"]),
        (&json!("weather_api"), &json!("REST"))
    );
    for field in [
        "name",
        "description",
        "input_schema",
        "output_schema",
        "mapping",
    ] {
        assert_eq!(shown["config"][field], definition[field], "{field}");
    }
    assert_eq!(shown["config"]["api"]["auth"]["secret_ref"], "${API_KEY}");

    let call = json!({"input": {"location": "San Francisco"}});
    let ran = app.post("/api/v1/tools/weather_api/execute", call).await;
    assert_eq!(ran.status, 200, "{}", ran.body);
    assert_eq!(ran.body["success"], true);
    assert_eq!(
        ran.body["output"],
        json!({"temperature": 65, "condition": "sunny"})
    );
    assert!(ran.body["execution_time_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(ran.body.as_object().unwrap().len(), 3);
}

#[tokio::test]
async fn saved_tools_are_the_catalogue() {
    let app = app().await;
    let saved = "/api/v1/tools/saved";
    let created = app.post(saved, weather("https://example.org")).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let (all, same) = (app.get(ALL).await.body, app.get(saved).await.body);
    assert_eq!(all, same);
    for tool in ["weather_api", "1"] {
        let shown = app.get(&format!("{saved}/{tool}")).await;
        assert_eq!(shown.body, app.get(&format!("{ALL}/{tool}")).await.body);
    }
    let change = json!({"description": "Tells the weather of today", "tags": ["weather"]});
    let path = format!("{saved}/weather_api");
    let changed = send(&app, Method::PUT, &path, Some(change)).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(changed.body["tags"], json!(["weather"]));
    assert_eq!(changed.body["version"], 1, "what it does is the same");
    let deleted = send(&app, Method::DELETE, &path, None).await;
    assert_eq!(
        (deleted.status, deleted.body),
        (200, json!({"tool_id": "weather_api", "deleted": true}))
    );
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(send(&app, method, &path, None).await.status, 404);
    }
    assert_eq!(app.get(saved).await.body, json!({"tools": []}));
}

#[tokio::test]
async fn fields_of_a_definition_change_one_by_one() {
    let app = app().await;
    app.post(ALL, weather("https://example.org")).await;
    let path = "/api/v1/tools/weather_api";
    let before = app.get(path).await.body;
    let change = json!({"mapping": {"input_to_params": {"location": "city"}}});
    let changed = send(&app, Method::PATCH, path, Some(change.clone()))
        .await
        .body;
    assert_eq!(changed["version"], 2, "{changed}");
    assert_eq!(changed["config"]["mapping"], change["mapping"]);
    assert_eq!(changed["config"]["api"], before["config"]["api"]);

    let whole = send(&app, Method::PUT, path, Some(before.clone())).await;
    assert_eq!(whole.status, 200, "{}", whole.body);
    assert_eq!(whole.body["version"], 3);
    assert_eq!(whole.body["config"], before["config"]);

    let wrong = json!({"api": {"base_url": "ftp://example.org"}, "colour": "red"});
    let refused = send(&app, Method::PATCH, path, Some(wrong)).await;
    assert_eq!((refused.status, paths(&refused)), (400, vec!["colour"]));
    let wrong = json!({"api": {"base_url": "ftp://example.org"}});
    let refused = send(&app, Method::PATCH, path, Some(wrong)).await;
    assert_eq!(
        (refused.status, paths(&refused)),
        (400, vec!["api.base_url"])
    );
    assert_eq!(app.get(path).await.body["version"], 3);
}

#[tokio::test]
async fn a_free_name_is_a_title_beside_the_id() {
    let app = app().await;
    let mut definition = weather("https://example.org");
    definition["name"] = json!("Get Weather");
    let created = app.post(ALL, definition.clone()).await.body;
    assert_eq!(created["tool_id"], "get_weather");
    definition["id"] = json!("weather_api");
    let created = app.post(ALL, definition).await.body;
    assert_eq!(created["tool_id"], "weather_api");
    let listed = app.get(ALL).await.body;
    let names: Vec<_> = listed["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| (tool["id"].as_str().unwrap(), tool["name"].as_str().unwrap()))
        .collect();
    let expected = [
        ("get_weather", "Get Weather"),
        ("weather_api", "Get Weather"),
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_wrong_definition_is_400_and_names_each_field() {
    let app = app().await;
    let empty = app.post(ALL, json!({})).await;
    assert_eq!(empty.status, 400);
    assert_eq!(
        paths(&empty),
        ["name", "description", "api", "input_schema"]
    );
    for (field, value, path) in [
        ("description", json!("  "), "description"),
        (
            "api",
            json!({"base_url": "ftp://example.org"}),
            "api.base_url",
        ),
        (
            "api",
            json!({"base_url": "https://example.org", "verb": "GET"}),
            "api.verb",
        ),
        (
            "input_schema",
            json!({"type": "strin"}),
            "input_schema.type",
        ),
        ("policy", json!({"timeout_ms": 0}), "policy.timeout_ms"),
    ] {
        let mut definition = weather("https://example.org");
        definition[field] = value;
        let refused = app.post(ALL, definition).await;
        assert_eq!(refused.status, 400, "{}", refused.body);
        assert_eq!(refused.body["code"], "VALIDATION_FAILED");
        let found = paths(&refused);
        assert!(found.iter().all(|found| *found == path), "{found:?}");
    }
    assert_eq!(app.get(ALL).await.body, json!({"tools": []}));
    assert_eq!(
        app.post(ALL, weather("https://example.org")).await.status,
        201
    );
    let again = app.post(ALL, weather("https://example.org")).await;
    assert_eq!(
        (again.status, &again.body["code"]),
        (409, &json!("CONFLICT"))
    );
}

#[tokio::test]
async fn a_run_that_is_refused_or_fails_has_no_success() {
    let app = app().await;
    let service = Answering::with(json!({"current": {}})).await;
    let mut definition = weather(&service.url);
    definition["policy"] = json!({"max_attempts": 1});
    app.post(ALL, definition).await;
    let execute = "/api/v1/tools/weather_api/execute";

    let wrong = app.post(execute, json!({"input": {"location": 7}})).await;
    assert_eq!((wrong.status, paths(&wrong)), (400, vec!["input.location"]));
    assert_eq!(wrong.body["success"], false);
    let unknown = json!({"input": {}});
    let unknown = app.post("/api/v1/tools/wether_api/execute", unknown).await;
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.body["candidates"], json!(["weather_api"]));

    drop(service);
    let call = json!({"input": {"location": "Berlin"}});
    let failed = app.post(execute, call).await;
    assert_eq!(failed.status, 500, "{}", failed.body);
    assert_eq!(failed.body["success"], false);
    assert_eq!(failed.body["error"], failed.body["detail"]);
    assert!(failed.body["execution_time_ms"].is_number());
    assert!(failed.body["code"].is_string());
    let job = failed.body["jobId"].as_str().expect("names its job");
    assert_eq!(app.job(job).await["status"], "FAILED");
}
