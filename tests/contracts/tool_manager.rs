//! The tool manager's contract: its own examples, unchanged.

use serde_json::{Value, json};

use crate::support::{Answer, Answering, App};

/// "Registering a Native Tool", as the contract's document has it.
const FORMAT_TEXT: &str = r#"{
  "name": "format_text",
  "description": "Formats text according to specified style",
  "parameters_schema": {
    "type": "object",
    "properties": {
      "text": {
        "type": "string",
        "description": "Text to format"
      },
      "style": {
        "type": "string",
        "description": "Style to apply (bold, italic, etc.)",
        "enum": ["bold", "italic", "underline", "code"]
      }
    },
    "required": ["text", "style"]
  },
  "is_native": true,
  "function_path": "app.tools.text.format_text"
}"#;

/// "Registering an External Tool".
const WEATHER_FORECAST: &str = r#"{
  "name": "weather_forecast",
  "description": "Get weather forecast for a location",
  "parameters_schema": {
    "type": "object",
    "properties": {
      "location": {
        "type": "string",
        "description": "City name or coordinates"
      },
      "days": {
        "type": "integer",
        "description": "Number of days to forecast",
        "default": 1
      }
    },
    "required": ["location"]
  },
  "is_native": false,
  "endpoint_url": "https://your-weather-api.example.com/forecast"
}"#;

/// "Executing a Tool".
const USE_FORMAT_TEXT: &str = r#"{
  "tool_call": {
    "name": "format_text",
    "parameters": {
      "text": "Hello world",
      "style": "bold"
    }
  }
}"#;

async fn post(app: &App, path: &str, body: &str) -> Answer {
    app.post(path, serde_json::from_str(body).unwrap()).await
}

async fn send(app: &App, method: &str, path: &str, body: Option<Value>) -> Answer {
    let method = method.parse().unwrap();
    let request = app.http.request(method, format!("{}{path}", app.url));
    Answer::of(match body {
        Some(body) => request.json(&body),
        None => request,
    })
    .await
}

fn paths(answer: &Answer) -> Vec<&str> {
    let details = answer.body["details"].as_array().unwrap();
    details
        .iter()
        .map(|detail| detail["path"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn the_documents_examples_run_unchanged() {
    let app = App::start().await;
    let created = post(&app, "/tools", FORMAT_TEXT).await;
    assert_eq!(created.status, 200, "{}", created.body);
    assert_eq!(created.body["id"], 1);
    assert_eq!(created.body["function_path"], "app.tools.text.format_text");
    assert_eq!(created.body["endpoint_url"], Value::Null);
    assert!(created.headers.contains_key("x-toolroom-position"));

    let external = post(&app, "/tools", WEATHER_FORECAST).await;
    assert_eq!(external.status, 200, "{}", external.body);
    assert_eq!(external.body["is_native"], false);
    let url = "https://your-weather-api.example.com/forecast";
    assert_eq!(external.body["endpoint_url"], url);

    let used = post(&app, "/tool_usage", USE_FORMAT_TEXT).await;
    assert_eq!(used.status, 200);
    assert_eq!(
        used.body,
        json!({"result": "**Hello world**", "error": null})
    );
}

#[tokio::test]
async fn a_tool_is_read_changed_and_deleted_by_number_name_or_id() {
    let app = App::start().await;
    let created = post(&app, "/tools", FORMAT_TEXT).await.body;
    for tool in ["1", "format_text"] {
        let read = app.get(&format!("/tools/{tool}")).await;
        assert_eq!((read.status, read.body), (200, created.clone()));
    }
    let change = json!({"name": "style_text", "description": "Styles text"});
    let changed = send(&app, "PUT", "/tools/1", Some(change)).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let mut expected = created.clone();
    expected["name"] = json!("style_text");
    expected["description"] = json!("Styles text");
    assert_eq!(changed.body, expected, "what was not named stayed");
    assert_eq!(app.get("/tools/format_text").await.status, 404);

    let whole = send(&app, "PUT", "/tools/style_text", Some(expected.clone())).await;
    assert_eq!((whole.status, whole.body), (200, expected));

    let deleted = send(&app, "DELETE", "/tools/1", None).await;
    assert_eq!(deleted.status, 200);
    let message = "Tool 'style_text' deleted successfully";
    assert_eq!(deleted.body, json!({"message": message}));
    for method in ["GET", "DELETE"] {
        assert_eq!(send(&app, method, "/tools/1", None).await.status, 404);
    }
    assert_eq!(app.get("/tools").await.body, json!([]));
}

#[tokio::test]
async fn a_new_schema_leaves_the_function_and_makes_new_parameters() {
    let app = App::start().await;
    post(&app, "/tools", FORMAT_TEXT).await;
    let schema = json!({"type": "object", "properties": {"text": {"type": "string"}}});
    let change = json!({"parameters_schema": schema});
    let changed = send(&app, "PUT", "/tools/1", Some(change)).await.body;
    assert_eq!(changed["parameters_schema"], schema);
    assert_eq!(changed["function_path"], "app.tools.text.format_text");
    let parameter = json!({
        "id": 100_001, "tool_id": 1, "name": "text", "description": "",
        "parameter_type": "string", "required": false,
    });
    assert_eq!(changed["parameters"], json!([parameter]));
}

#[tokio::test]
async fn a_list_is_a_bare_array_that_can_be_narrowed() {
    let app = App::start().await;
    for name in ["a", "b", "c"] {
        let tool =
            json!({"name": name, "description": "d", "is_native": true, "function_path": "echo"});
        assert_eq!(app.post("/tools", tool).await.status, 200);
    }
    let names = |answer: &Answer| -> Vec<String> {
        let tools = answer.body.as_array().unwrap();
        tools
            .iter()
            .map(|t| t["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = app.get("/tools").await;
    assert_eq!(names(&all), ["a", "b", "c"]);
    assert_eq!(all.headers["x-total-count"], "3");
    assert!(!all.headers.contains_key("link"));
    let middle = app.get("/tools?limit=1&offset=1").await;
    assert_eq!(names(&middle), ["b"]);
    assert_eq!(middle.headers["x-total-count"], "3");
    let link = middle.headers["link"].to_str().unwrap();
    assert!(
        link.contains("</tools?limit=1&offset=2>; rel=\"next\""),
        "{link}"
    );
    assert_eq!(app.get("/tools?limit=none").await.status, 400);
}

#[tokio::test]
async fn what_is_wrong_is_400_and_names_each_field_in_the_contracts_words() {
    let app = App::start().await;
    let answer = app
        .post("/tools", json!({"nam": "x", "is_native": false}))
        .await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        paths(&answer),
        ["name", "description", "endpoint_url", "nam"]
    );
    assert_eq!(answer.body["code"], "VALIDATION_FAILED");
    assert_eq!(answer.body["error"], answer.body["detail"]);

    let unknown_function =
        json!({"name": "x", "description": "d", "function_path": "app.tools.nothing"});
    let answer = app.post("/tools", unknown_function).await;
    assert_eq!(
        (answer.status, paths(&answer)),
        (400, vec!["function_path"])
    );

    for (field, value) in [
        ("endpoint_url", json!("ftp://example.org")),
        ("parameters_schema", json!({"type": "strin"})),
    ] {
        let mut tool = json!({
            "name": "x", "description": "d", "is_native": false,
            "endpoint_url": "https://example.org", "parameters_schema": {"type": "object"},
        });
        tool[field] = value;
        let answer = app.post("/tools", tool).await;
        assert_eq!(answer.status, 400);
        let found = paths(&answer);
        assert!(
            found.iter().all(|path| path.starts_with(field)),
            "{found:?}"
        );
        assert!(!found.is_empty());
    }
    assert_eq!(
        app.get("/tools").await.body,
        json!([]),
        "nothing was half-written"
    );
}

#[tokio::test]
async fn a_name_that_is_taken_is_409() {
    let app = App::start().await;
    assert_eq!(post(&app, "/tools", FORMAT_TEXT).await.status, 200);
    let again = post(&app, "/tools", FORMAT_TEXT).await;
    assert_eq!(
        (again.status, &again.body["code"]),
        (409, &json!("CONFLICT"))
    );
}

#[tokio::test]
async fn the_same_idempotency_key_creates_one_tool() {
    let app = App::start().await;
    let send = async || {
        let request = app.http.post(format!("{}/tools", app.url));
        let request = request
            .header("Idempotency-Key", "once")
            .header("content-type", "application/json");
        Answer::of(request.body(FORMAT_TEXT)).await
    };
    let (first, again) = (send().await, send().await);
    assert_eq!((first.status, again.status), (200, 200), "{}", again.body);
    assert_eq!(first.body, again.body);
    assert_eq!(app.get("/tools").await.headers["x-total-count"], "1");
}

#[tokio::test]
async fn a_run_that_is_refused_has_a_null_result_beside_the_error() {
    let app = App::start().await;
    post(&app, "/tools", FORMAT_TEXT).await;
    let unknown = json!({"tool_call": {"name": "fromat_text", "parameters": {}}});
    let answer = app.post("/tool_usage", unknown).await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.body["result"], Value::Null);
    assert!(answer.body.as_object().unwrap().contains_key("result"));
    assert_eq!(answer.body["candidates"], json!(["format_text"]));

    let wrong = json!({"tool_call": {"name": "format_text", "parameters": {"text": 7}}});
    let answer = app.post("/tool_usage", wrong).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert_eq!(answer.body["result"], Value::Null);
    let found = paths(&answer);
    assert!(found.contains(&"tool_call.parameters.text"), "{found:?}");

    let answer = app.post("/tool_usage", json!({"tool_cal": {}})).await;
    assert_eq!(
        (answer.status, paths(&answer)),
        (400, vec!["tool_call", "tool_cal"])
    );
}

#[tokio::test]
async fn a_tool_that_fails_is_200_with_its_error() {
    let app = App::start_with(&[("TOOLROOM_EGRESS_ALLOW", "127.0.0.1")]).await;
    let endpoint = Answering::with(json!({"temperature": 21})).await;
    let tool = json!({
        "name": "weather", "description": "d", "is_native": false, "endpoint_url": endpoint.url,
        "parameters_schema": {"type": "object"},
    });
    app.post("/tools", tool).await;
    let call = json!({"tool_call": {"name": "weather", "parameters": {"city": "Berlin"}}});
    let used = app.post("/tool_usage", call.clone()).await;
    assert_eq!(
        used.body,
        json!({"result": {"temperature": 21}, "error": null})
    );
    drop(endpoint);
    let failed = app.post("/tool_usage", call).await;
    assert_eq!((failed.status, &failed.body["result"]), (200, &Value::Null));
    assert!(failed.body["error"].is_string(), "{}", failed.body);
}

#[tokio::test]
async fn a_rest_tool_shows_as_external_with_our_own_address() {
    let app = App::start().await;
    app.register(crate::support::rest(
        "city",
        json!({"base_url": "https://example.org"}),
    ))
    .await;
    let tool = app.get("/tools/city").await.body;
    assert_eq!(tool["is_native"], false);
    let url = format!("{}/api/v1/tools/city/execute", app.url);
    assert_eq!(tool["endpoint_url"], url);
    let change = json!({"description": "tells of cities", "endpoint_url": url});
    let changed = send(&app, "PUT", "/tools/city", Some(change)).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(changed.body["endpoint_url"], url, "it stayed a REST tool");
}

#[tokio::test]
async fn what_is_not_there_is_404_as_json_whatever_a_browser_would_like() {
    let app = App::start().await;
    for path in ["/tools/abc", "/tools/77", "/api/v1/tools/abc"] {
        let request = app.http.get(format!("{}{path}", app.url));
        let answer = Answer::of(request.header("accept", "text/html")).await;
        assert_eq!(answer.status, 404);
        assert_eq!(answer.body["code"], "NOT_FOUND");
    }
}
