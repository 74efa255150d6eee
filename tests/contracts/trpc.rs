//! The tool actions' contract over the tRPC HTTP protocol: the envelopes byte for byte, and the
//! shapes that its document shows. `@trpc/client` itself is let loose in `journeys/trpc_client.rs`.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Answering, App, native};

async fn query(app: &App, target: &str, input: Value) -> Answer {
    query_after(app, None, target, input).await
}

/// A query that waits until what was written up to a position can be read.
async fn query_after(app: &App, position: Option<&str>, target: &str, input: Value) -> Answer {
    let mut url = reqwest::Url::parse(&format!("{}/api/trpc/{target}", app.url)).unwrap();
    if !input.is_null() {
        url.query_pairs_mut()
            .append_pair("input", &input.to_string());
    }
    let request = app.http.get(url);
    Answer::of(match position {
        Some(position) => request.header("x-min-position", position),
        None => request,
    })
    .await
}

async fn mutate(app: &App, target: &str, input: Value) -> Answer {
    app.post(&format!("/api/trpc/{target}"), input).await
}

/// The data of a call that is carried out.
fn data(answer: &Answer) -> &Value {
    assert_eq!(answer.status, 200, "{}", answer.body);
    &answer.body["result"]["data"]
}

/// What a call that is refused says: its word, its status and where its fields are wrong.
fn refused(answer: &Answer) -> (String, u64, Vec<String>) {
    let data = &answer.body["error"]["data"];
    assert_eq!(data["httpStatus"], answer.status, "{}", answer.body);
    let details = data["details"].as_array().cloned().unwrap_or_default();
    let paths = details.iter().filter_map(|detail| detail["path"].as_str());
    (
        data["code"].as_str().unwrap().to_owned(),
        data["httpStatus"].as_u64().unwrap(),
        paths.map(str::to_owned).collect(),
    )
}

fn masked(mut shown: Value, fields: &[&str]) -> Value {
    for field in fields {
        assert!(!shown[field].is_null(), "{field}: {shown}");
        shown[field] = json!(format!("<{field}>"));
    }
    shown
}

#[tokio::test]
async fn tools_are_listed_read_changed_and_deleted() {
    let app = App::start().await;
    app.register(native("say", "echo")).await;
    app.register(native("count", "text.format")).await;
    let all = query(&app, "tools.getAll", Value::Null).await;
    assert_eq!(data(&all)["total"], 2);
    let shown = masked(data(&all)["tools"][0].clone(), &["createdAt", "updatedAt"]);
    assert_eq!(
        shown,
        json!({
            "id": 1, "userId": "user:local", "name": "say", "type": "NATIVE", "credentials": {},
            "description": "runs echo", "tags": [], "isActive": true,
            "createdAt": "<createdAt>", "updatedAt": "<updatedAt>",
        })
    );
    let some =
        json!({"limit": 1, "offset": 1, "type": "native", "isActive": true, "search": "text"});
    let some = query(&app, "tools.getAll", some).await;
    assert_eq!(data(&some)["total"], 1);
    assert_eq!(data(&some)["tools"], json!([]), "it was passed over");

    let change = json!({"id": 1, "name": "Say Again", "isActive": false, "tags": ["talk"]});
    let changed = data(&mutate(&app, "tools.update", change).await).clone();
    assert_eq!(
        (&changed["name"], &changed["isActive"], &changed["tags"]),
        (&json!("Say Again"), &json!(false), &json!(["talk"]))
    );
    let read = query(&app, "tools.getById", json!({"id": 1})).await;
    assert_eq!(data(&read), &changed);
    let inactive = query(&app, "tools.getAll", json!({"isActive": false})).await;
    assert_eq!(data(&inactive)["total"], 1);

    let deleted = mutate(&app, "tools.delete", json!({"id": 1})).await;
    assert_eq!(data(&deleted), &json!({"success": true}));
    let gone = query(&app, "tools.getById", json!({"id": 1})).await;
    assert_eq!(refused(&gone), ("NOT_FOUND".to_owned(), 404, Vec::new()));
}

#[tokio::test]
async fn an_action_answers_with_its_result_or_rejects_with_it() {
    let app = App::start_with(&[("TOOLROOM_EGRESS_ALLOW", "127.0.0.1")]).await;
    let endpoint = Answering::with(json!({"message": {"ts": "1.5"}, "ok": true})).await;
    app.register(json!({
        "name": "post", "description": "d", "policy": {"maxAttempts": 1},
        "external": {"endpointUrl": endpoint.url, "inputSchema": {
            "type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"],
        }},
    }))
    .await;
    let call = json!({
        "toolId": 1, "actionId": "run", "toolType": "external", "parameters": {"text": "hi"},
        "outputMapping": {"id": "$.message.ts"},
    });
    let answer = mutate(&app, "tools.executeAction", call.clone()).await;
    let result = data(&answer);
    assert_eq!(result["data"], json!({"id": "1.5"}));
    assert_eq!(
        result["stdout"].as_str().unwrap().parse::<Value>().unwrap(),
        json!({"message": {"ts": "1.5"}, "ok": true})
    );
    assert_eq!(
        (&result["stderr"], &result["exitCode"]),
        (&json!(""), &json!(0))
    );
    assert_eq!(result["healthStatus"]["status"], "healthy");
    assert!(result["healthStatus"]["latency"].as_f64().unwrap() > 0.0);

    let mut wrong = call.clone();
    wrong["parameters"] = json!({"text": 7});
    wrong["outputMapping"] = json!({"id": "$["});
    let answer = mutate(&app, "tools.executeAction", wrong.clone()).await;
    let paths = vec!["outputMapping.id".to_owned()];
    assert_eq!(refused(&answer), ("BAD_REQUEST".to_owned(), 400, paths));
    wrong.as_object_mut().unwrap().remove("outputMapping");
    let answer = mutate(&app, "tools.executeAction", wrong).await;
    let paths = vec!["parameters.text".to_owned()];
    assert_eq!(refused(&answer), ("BAD_REQUEST".to_owned(), 400, paths));
    for (field, value) in [("actionId", "shout"), ("toolType", "SLACK")] {
        let mut wrong = call.clone();
        wrong[field] = json!(value);
        let answer = mutate(&app, "tools.executeAction", wrong).await;
        let paths = vec![field.to_owned()];
        assert_eq!(refused(&answer), ("BAD_REQUEST".to_owned(), 400, paths));
    }

    drop(endpoint);
    let answer = mutate(&app, "tools.executeAction", call).await;
    let (word, status, _) = refused(&answer);
    assert_eq!((&*word, status), ("INTERNAL_SERVER_ERROR", 500));
    let error = &answer.body["error"];
    assert_eq!(error["code"], -32603);
    let told = &error["data"];
    assert_eq!(told["path"], "tools.executeAction");
    assert_eq!(
        (&told["category"], &told["retryable"]),
        (&json!("network"), &json!(true))
    );
    assert!(told["jobId"].is_string());
    let result = &told["result"];
    assert_eq!(
        (&result["exitCode"], &result["stdout"]),
        (&json!(1), &json!(""))
    );
    assert_eq!(result["stderr"], error["message"]);
}

#[tokio::test]
async fn a_connectors_tool_is_made_tried_and_changed_without_showing_its_secrets() {
    let app = App::start_with(&[("TOOLROOM_EGRESS_ALLOW", "127.0.0.1")]).await;
    let service = Answering::with(json!({"ok": true})).await;
    let sent = json!({
        "name": "Team Service", "type": "http", "tags": ["team"], "isActive": true,
        "credentials": {"baseUrl": service.url, "bearerToken": "s3cret-token-of-ours"},
    });
    let made = data(&mutate(&app, "tools.create", sent).await).clone();
    assert_eq!(
        masked(made.clone(), &["createdAt", "updatedAt"]),
        json!({
            "id": 1, "userId": "user:local", "name": "Team Service", "type": "HTTP",
            "credentials": {"baseUrl": service.url, "bearerToken": "***"},
            "description": "Team Service: a HTTP tool", "tags": ["team"], "isActive": true,
            "createdAt": "<createdAt>", "updatedAt": "<updatedAt>",
        })
    );
    let found = query(&app, "tools.getAll", json!({"type": "Http"})).await;
    assert_eq!(data(&found)["tools"], json!([made]));

    let tested = mutate(&app, "tools.testConnection", json!({"id": 1})).await;
    let tested = data(&tested);
    assert_eq!(tested["success"], true, "{tested}");
    assert!(tested["message"].is_string() && tested["details"].is_object());

    let call = json!({"toolId": 1, "actionId": "http.request", "parameters": {"path": "items"}});
    let ran = mutate(&app, "tools.executeAction", call.clone()).await;
    assert_eq!(data(&ran)["data"]["body"], json!({"ok": true}));
    let last = ran.headers["x-toolroom-position"].to_str().ok();
    let stats = json!({"groupBy": "action"});
    let stats = query_after(&app, last, "tools.getStats", stats).await;
    assert_eq!(data(&stats)[0]["key"], "http.request");

    let mut whole = made.clone();
    whole["description"] = json!("Calls the team's service");
    let changed = data(&mutate(&app, "tools.update", whole).await).clone();
    assert_eq!(changed["credentials"], made["credentials"]);
    assert_eq!(changed["description"], "Calls the team's service");
    let other = json!({"id": 1, "credentials": {"baseUrl": service.url, "username": "u"}});
    let wrong = mutate(&app, "tools.update", other).await;
    assert_eq!(refused(&wrong).0, "BAD_REQUEST");
    assert!(
        refused(&wrong)
            .2
            .iter()
            .all(|path| path.starts_with("credentials"))
    );
    let other = json!({"id": 1, "credentials": {"baseUrl": service.url, "bearerToken": "***"}});
    let kept = mutate(&app, "tools.update", other).await;
    assert_eq!(data(&kept)["credentials"], made["credentials"]);
    assert_eq!(mutate(&app, "tools.executeAction", call).await.status, 200);

    let unknown = json!({"name": "x", "type": "NO_SUCH_SERVICE", "credentials": {}});
    let unknown = mutate(&app, "tools.create", unknown).await;
    assert_eq!(refused(&unknown).2, ["type"]);
    assert!(!app.output().contains("s3cret-token"), "{}", app.output());
}

#[tokio::test]
async fn logs_and_stats_tell_of_what_was_run() {
    let app = App::start_with(&[("TOOLROOM_EGRESS_ALLOW", "127.0.0.1")]).await;
    app.register(native("say", "echo")).await;
    let nowhere = json!({
        "name": "post", "description": "d", "policy": {"maxAttempts": 1},
        "external": {"endpointUrl": "http://127.0.0.1:1/", "inputSchema": {"type": "object"}},
    });
    app.register(nowhere).await;
    for n in 0..3 {
        let call = json!({"toolId": 1, "actionId": "run", "parameters": {"n": n}});
        data(&mutate(&app, "tools.executeAction", call).await);
    }
    let call = json!({"toolId": 2, "actionId": "run", "parameters": {}});
    let last = mutate(&app, "tools.executeAction", call).await;
    assert_eq!(last.status, 500);
    let last = last.headers["x-toolroom-position"].to_str().ok();
    let query = async |target, input| query_after(&app, last, target, input).await;

    let recent = query("toolActionLogs.getRecent", json!({"limit": 2})).await;
    let recent = data(&recent);
    assert_eq!(recent["total"], 4);
    let fields = ["id", "createdAt", "executionTime", "errorMessage"];
    assert_eq!(
        masked(recent["logs"][0].clone(), &fields),
        json!({
            "id": "<id>", "eventId": null, "toolId": 2, "toolType": "EXTERNAL",
            "actionType": "query", "actionId": "run", "parameters": {}, "result": null,
            "status": "FAILURE", "executionTime": "<executionTime>",
            "errorMessage": "<errorMessage>", "isTest": false, "createdAt": "<createdAt>",
        })
    );
    assert_eq!(recent["logs"][1]["result"], json!({"n": 2}));
    for (filter, total, shown) in [
        (json!({"status": "SUCCESS"}), 3, 3),
        (json!({"status": "failure"}), 1, 1),
        (json!({"toolType": "native", "limit": 1, "offset": 1}), 3, 1),
        (json!({"toolType": "slack"}), 0, 0),
        (json!({"toolType": "NATIVE", "status": "FAILURE"}), 0, 0),
        (json!({"toolId": 2}), 1, 1),
    ] {
        let answer = query("toolActionLogs.getRecent", filter.clone()).await;
        let found = data(&answer);
        assert_eq!(found["total"], total, "{filter}");
        assert_eq!(found["logs"].as_array().unwrap().len(), shown, "{filter}");
    }
    let of_event = query("toolActionLogs.getByEventId", json!({"eventId": 456})).await;
    assert_eq!(data(&of_event), &json!([]));

    let stats = json!({"period": "day", "groupBy": "type"});
    let stats = data(&query("tools.getStats", stats).await).clone();
    let counted: Vec<_> = stats
        .as_array()
        .unwrap()
        .iter()
        .map(|bucket| {
            let runs = bucket["runs"].as_i64().unwrap();
            (
                bucket["key"].as_str().unwrap(),
                runs,
                bucket["failed"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(counted, [("EXTERNAL", 1, 1), ("NATIVE", 3, 0)]);
    let average = stats[1]["avgMs"].as_f64().unwrap();
    assert!(average > 0.0 && average < 1_000.0, "{average}");
    let by_status = json!({"period": "hour", "groupBy": "status", "toolId": 1});
    let by_status = data(&query("tools.getStats", by_status).await).clone();
    assert_eq!(by_status[0]["key"], "SUCCESS");
    let unknown = query("tools.getStats", json!({"toolId": 77})).await;
    assert_eq!(refused(&unknown).0, "NOT_FOUND");
    let long = json!({"period": "hour", "from": "2001-01-01T00:00:00Z"});
    let long = query("tools.getStats", long).await;
    assert_eq!(refused(&long).2, ["from"]);
}

#[tokio::test]
async fn an_event_is_checked_whole_and_then_told_that_there_are_no_schedules() {
    let app = App::start().await;
    app.register(native("say", "echo")).await;
    // As in the contract's document: the configuration is a text.
    let event = |config: Value| {
        json!({
            "name": "Daily Slack Update", "type": "TOOL_ACTION",
            "toolActionConfig": config.to_string(),
            "triggerType": "SCHEDULE", "schedule": "0 9 * * *",
        })
    };
    let config = json!({
        "toolType": "NATIVE", "toolId": 1, "actionId": "run",
        "parameters": {"message": "Daily update: {{DATE}}"},
    });
    let answer = mutate(&app, "events.create", event(config.clone())).await;
    assert_eq!(refused(&answer).0, "NOT_IMPLEMENTED", "{}", answer.body);
    let told = answer.body["error"]["message"].as_str().unwrap();
    assert!(told.contains("no schedules"), "{told}");

    let mut wrong = config.clone();
    wrong["actionId"] = json!("shout");
    let answer = mutate(&app, "events.create", event(wrong)).await;
    assert_eq!(refused(&answer).2, ["toolActionConfig.actionId"]);
    let bare = json!({"type": "SCRIPT", "triggerType": "SCHEDULE", "toolActionConfig": "{"});
    let answer = mutate(&app, "events.create", bare).await;
    assert_eq!(
        refused(&answer).2,
        ["name", "type", "schedule", "toolActionConfig"]
    );
}

#[tokio::test]
async fn a_batch_is_answered_in_its_order() {
    let app = App::start().await;
    app.register(native("say", "echo")).await;
    let paths = "tools.getById,tools.getById,tools.nothing?batch=1";
    let inputs = json!({"0": {"id": 1}, "1": {"id": 2}});
    let batch = query(&app, paths, inputs).await;
    assert_eq!(batch.status, 207, "{}", batch.body);
    assert_eq!(batch.body[0]["result"]["data"]["name"], "say");
    assert_eq!(batch.body[1]["error"]["data"]["path"], "tools.getById");
    assert_eq!(
        batch.body[2]["error"]["message"],
        "no procedure found on path \"tools.nothing\""
    );
    let call = json!({"toolId": 1, "actionId": "run", "parameters": {}});
    let both = "tools.executeAction,tools.executeAction?batch=1";
    let fine = mutate(&app, both, json!({"0": call, "1": call})).await;
    assert_eq!(fine.status, 200);
    assert_eq!(fine.body.as_array().unwrap().len(), 2);
    let mixed = query(&app, "tools.getAll,tools.delete?batch=1", json!({})).await;
    assert_eq!(refused(&mixed).0, "BAD_REQUEST");
}

#[tokio::test]
async fn what_is_no_call_is_told_in_the_protocols_words() {
    let app = App::start().await;
    let no_procedure = query(&app, "tools.nothing", Value::Null).await;
    assert_eq!(refused(&no_procedure).0, "NOT_FOUND");
    assert_eq!(no_procedure.body["error"]["data"]["path"], "tools.nothing");
    let by_get = query(&app, "tools.delete", json!({"id": 1})).await;
    assert_eq!(refused(&by_get).0, "METHOD_NOT_SUPPORTED");
    assert_eq!(by_get.headers["allow"], "POST");
    let no_object = query(&app, "tools.getById", json!([1])).await;
    assert_eq!(refused(&no_object).0, "BAD_REQUEST");
    let missing = query(&app, "tools.getById", json!({})).await;
    assert_eq!(refused(&missing).2, ["id"]);
    let url = format!("{}/api/trpc/tools.delete", app.url);
    let form = app.http.post(&url).header("content-type", "text/plain");
    assert_eq!(
        refused(&Answer::of(form.body("{}")).await).0,
        "UNSUPPORTED_MEDIA_TYPE"
    );
    let warm = Answer::of(app.http.request(Method::HEAD, &url)).await;
    assert_eq!(warm.status, 204);
}

#[tokio::test]
async fn one_idempotency_key_names_each_call_of_a_batch() {
    let app = App::start().await;
    app.register(native("say", "echo")).await;
    let call = json!({"toolId": 1, "actionId": "run", "parameters": {}});
    let send = async || {
        let url = format!(
            "{}/api/trpc/tools.executeAction,tools.executeAction?batch=1",
            app.url
        );
        let request = app.http.post(url).header("Idempotency-Key", "once");
        Answer::of(request.json(&json!({"0": call, "1": call}))).await
    };
    assert_eq!(send().await.status, 200);
    let again = send().await;
    assert_eq!(again.status, 200, "{}", again.body);
    let written = again.headers["x-toolroom-position"].to_str().ok();
    let recent = query_after(&app, written, "toolActionLogs.getRecent", Value::Null).await;
    assert_eq!(data(&recent)["total"], 2, "repeated, it ran nothing");
}
