//! What can be said of a run in one contract can be said in the others, and is answered alike.

use serde_json::{Value, json};

use crate::support::{Answering, App, native};

const JOB: &str = "{ jobs(first: 1) { nodes { id toolVersion isTest stdout stderr exitCode } } }";

async fn last_job(app: &App) -> Value {
    app.data(JOB, json!({})).await["jobs"]["nodes"][0].clone()
}

/// A tool of two versions that gives back what it is given.
async fn app() -> App {
    let app = App::start().await;
    let tool = app.register(native("say", "echo")).await;
    let update = "mutation ($id: ID!) { updateTool(id: $id, input: {policy: {maxAttempts: 2}}) { version } }";
    let updated = app.data(update, json!({"id": tool["id"]})).await;
    assert_eq!(updated["updateTool"]["version"], 2);
    app.register(native("calc", "math.evaluate")).await;
    app
}

const EXECUTE: &str = "/api/v1/tools/say/execute";
const ACTION: &str = "/api/trpc/tools.executeAction";

fn action(more: Value) -> Value {
    let mut call = json!({"toolId": "say", "actionId": "run", "parameters": {"a": 1}});
    call.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    call
}

#[tokio::test]
async fn a_version_and_a_rehearsal_can_be_asked_for_everywhere() {
    let app = app().await;
    let usage = |more: Value| {
        let mut call = json!({"name": "say", "parameters": {"a": 1}});
        call.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({ "tool_call": call })
    };
    let asked = json!({"tool_version": 1, "is_test": true});
    let rest = json!({"input": {"a": 1}, "tool_version": 1, "is_test": true});
    for (path, body) in [
        (EXECUTE, rest),
        ("/tool_usage", usage(asked)),
        (ACTION, action(json!({"toolVersion": 1, "isTest": true}))),
    ] {
        let answer = app.post(path, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let job = last_job(&app).await;
        assert_eq!(
            (&job["toolVersion"], &job["isTest"]),
            (&json!(1), &json!(true)),
            "{path}"
        );
    }
    let rest = json!({"input": {"a": 1}});
    for (path, body) in [
        (EXECUTE, rest),
        ("/tool_usage", usage(json!({}))),
        (ACTION, action(json!({}))),
    ] {
        assert_eq!(app.post(path, body).await.status, 200, "{path}");
        let job = last_job(&app).await;
        assert_eq!(
            (&job["toolVersion"], &job["isTest"]),
            (&json!(2), &json!(false)),
            "{path}"
        );
    }
    for (path, body, status) in [
        (EXECUTE, json!({"tool_version": 3}), 404),
        ("/tool_usage", usage(json!({"tool_version": 3})), 404),
        (ACTION, action(json!({"toolVersion": 3})), 404),
        (EXECUTE, json!({"tool_version": 0}), 400),
        ("/tool_usage", usage(json!({"tool_version": "1"})), 400),
        (ACTION, action(json!({"toolVersion": 1.5})), 400),
    ] {
        let answer = app.post(path, body).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
    }
}

#[tokio::test]
async fn an_output_is_mapped_alike_everywhere() {
    let app = app().await;
    let output = json!({"Global Quote": {"05. price": "1.5"}, "items": [{"id": 7}, {"id": 8}]});
    let mapping = json!({
        "price": "Global Quote.05. price", "$..id": "ids", "first": "items[0].id",
        "second": "$.items[1].id", "nothing": "$.nowhere",
    });
    let mapped = json!({"price": "1.5", "ids": [7, 8], "first": 7, "second": 8});
    let query = "mutation ($i: JSON!, $m: JSON) { executeTool(toolName: \"say\", input: $i, outputMapping: $m) {
        id output stdout } }";
    let run = app.data(query, json!({"i": output, "m": mapping})).await["executeTool"].clone();
    assert_eq!(run["output"], mapped);
    assert_eq!(
        run["stdout"].as_str().unwrap().parse::<Value>().unwrap(),
        output
    );
    assert_eq!(
        app.job(run["id"].as_str().unwrap()).await["output"],
        output,
        "all is kept"
    );
    let sent = json!({"input": output, "output_mapping": mapping});
    assert_eq!(app.post(EXECUTE, sent).await.body["output"], mapped);
    let sent = action(json!({"parameters": output, "outputMapping": mapping}));
    let answer = app.post(ACTION, sent).await.body;
    assert_eq!(answer["result"]["data"]["data"], mapped, "{answer}");

    // What is no mapping is refused before anything runs.
    let runs =
        async || app.data("{ jobs { totalCount } }", json!({})).await["jobs"]["totalCount"].clone();
    let before = runs().await;
    for wrong in [json!({"id": "$["}), json!({"id": 7}), json!({"": "a"})] {
        let key = wrong.as_object().unwrap().keys().next().unwrap().clone();
        let path = |name: &str| format!("{name}.{key}").trim_end_matches('.').to_owned();
        let answer = app.graphql(query, json!({"i": {}, "m": wrong})).await.body;
        let details = &answer["errors"][0]["extensions"]["details"];
        assert_eq!(details[0]["path"], path("outputMapping"), "{answer}");
        let answer = app.post(EXECUTE, json!({"output_mapping": wrong})).await;
        assert_eq!(
            (answer.status, &answer.body["details"][0]["path"]),
            (400, &json!(path("output_mapping")))
        );
        let answer = app
            .post(ACTION, action(json!({"outputMapping": wrong})))
            .await;
        assert_eq!(answer.status, 400, "{}", answer.body);
    }
    assert_eq!(runs().await, before);
}

#[tokio::test]
async fn a_job_ends_as_a_process_would_in_every_contract() {
    let app = app().await;
    let told = async |answer: Value| {
        let job = last_job(&app).await;
        for field in ["stdout", "stderr", "exitCode"] {
            let said = match &job[field] {
                Value::Null => json!(""),
                said => said.clone(),
            };
            assert_eq!(answer[field], said, "{field}: {answer} {job}");
        }
        job
    };
    let answer = app.post(ACTION, action(json!({}))).await.body;
    let job = told(answer["result"]["data"].clone()).await;
    assert_eq!(
        (&job["stdout"], &job["exitCode"]),
        (&json!("{\"a\":1}"), &json!(0))
    );
    assert_eq!(job["stderr"], Value::Null);
    let wrong = json!({"toolId": "calc", "actionId": "run", "parameters": {"expression": "1/"}});
    let answer = app.post(ACTION, wrong).await.body;
    let job = told(answer["error"]["data"]["result"].clone()).await;
    assert_eq!(
        (&job["stdout"], &job["exitCode"]),
        (&Value::Null, &json!(1))
    );
    assert_eq!(job["stderr"], answer["error"]["message"]);
}

#[tokio::test]
async fn the_actions_of_a_connectors_tool_are_learned_and_run_by_rest() {
    let app = App::start_with(&[("TOOLROOM_EGRESS_ALLOW", "127.0.0.1")]).await;
    let service = Answering::with(json!({"ok": true})).await;
    let connector =
        |kind: &str, credentials: Value| json!({"type": kind, "credentials": credentials});
    for (name, connector) in [
        ("web", connector("HTTP", json!({"baseUrl": service.url}))),
        (
            "team",
            connector("SLACK", json!({"botToken": "xoxb-of-nobody"})),
        ),
    ] {
        app.register(json!({"name": name, "description": "d", "connector": connector}))
            .await;
    }
    app.register(native("say", "echo")).await;
    let ids = |tool: &Value| -> Vec<String> {
        let actions = tool["actions"].as_array().into_iter().flatten();
        actions
            .map(|action| action["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let graphql = app
        .data(
            "{ tools { nodes { name actions { id inputSchema } } } }",
            json!({}),
        )
        .await;
    let graphql = graphql["tools"]["nodes"].as_array().unwrap().clone();
    for name in ["web", "team"] {
        let known = graphql.iter().find(|tool| tool["name"] == name).unwrap();
        for path in [format!("/api/v1/tools/{name}"), format!("/tools/{name}")] {
            let shown = app.get(&path).await.body;
            assert_eq!(ids(&shown), ids(known), "{path}: {shown}");
            assert_eq!(
                shown["actions"][0]["input_schema"],
                known["actions"][0]["inputSchema"]
            );
        }
    }
    assert!(ids(&app.get("/tools/team").await.body).contains(&"slack.send-message".to_owned()));
    // Where a tool does one thing, its schema is that thing's.
    let listed = app.get("/api/v1/tools").await.body["tools"].clone();
    let listed = |name: &str| {
        listed
            .as_array()
            .unwrap()
            .iter()
            .find(|t| t["id"] == name)
            .unwrap()
            .clone()
    };
    assert!(listed("web")["input_schema"]["properties"]["path"].is_object());
    assert_eq!(
        ids(&listed("team")),
        ids(&app.get("/tools/team").await.body)
    );
    assert_eq!(listed("say").get("actions"), None);
    let parameters = app.get("/tools/web").await.body["parameters"].clone();
    assert!(
        parameters
            .as_array()
            .unwrap()
            .iter()
            .any(|p| p["name"] == "path"),
        "{parameters}"
    );

    let call = |action: &str| json!({"tool_call": {"name": "web", "action": action, "parameters": {"path": "a"}}});
    let used = app.post("/tool_usage", call("http.request")).await.body;
    assert_eq!(used["result"]["body"], json!({"ok": true}), "{used}");
    let wrong = app.post("/tool_usage", call("http.reqest")).await;
    assert_eq!(
        (wrong.status, &wrong.body["details"][0]["path"]),
        (400, &json!("tool_call.action"))
    );
}
