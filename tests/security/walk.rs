//! Everything that can be asked, by everybody who could ask: each answer is as the one table says.

use std::time::Duration;

use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Map, Value, json};
use toolroom_api::trpc::Kind;
use toolroom_domain::{
    Role,
    access::{Caller as As, Operation, Place, permits},
};

use crate::support::{Answer, App, people::Caller};

/// How long a subscription that is open to its caller may be silent before it counts as open.
const SILENCE: Duration = Duration::from_millis(300);

const FIELDS: &str = "{ __schema {
    queryType { ...F } mutationType { ...F } subscriptionType { ...F }
    types { name kind enumValues { name } inputFields { name defaultValue type { ...T } } }
} }
fragment F on __Type { fields { name args { name defaultValue type { ...T } } type { ...T } } }
fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";

struct Everybody(Vec<(As, Caller)>);

impl Everybody {
    async fn of(app: &App) -> Self {
        let operator = app.operator();
        let mut all = vec![
            (As::Anonymous, app.shown(None)),
            (As::User(None), app.user("stranger")),
            (As::Operator, operator.clone()),
        ];
        for role in Role::ALL {
            let query = "mutation ($name: String!, $role: Role!) {
                createApiKey(name: $name, role: $role) { secret } }";
            let made = operator
                .data(
                    query,
                    json!({ "name": role.as_str(), "role": role.as_str() }),
                )
                .await;
            let key = made["createApiKey"]["secret"].as_str().expect("shown once");
            all.push((As::Key(role), app.shown(Some(key))));
        }
        Self(all)
    }
}

/// What must be seen of an answer.
fn check(what: &str, caller: As, operation: Operation, status: u16, code: Option<&str>) {
    let refused =
        matches!(code, Some("UNAUTHENTICATED" | "FORBIDDEN")) || matches!(status, 401 | 403);
    assert_eq!(
        !refused,
        permits(caller, operation),
        "{what} by {caller:?}: {status} {code:?}"
    );
    if refused {
        let expected = match caller {
            As::Anonymous => "UNAUTHENTICATED",
            _ => "FORBIDDEN",
        };
        assert_eq!(code, Some(expected), "{what} by {caller:?}");
    }
}

#[tokio::test]
async fn every_rest_route_asks_the_table() {
    let app = App::start_closed().await;
    let everybody = Everybody::of(&app).await;
    let routes = toolroom_api::rest::listed();
    assert!(routes.len() > 5, "{routes:?}");
    for route in routes {
        let path = concrete(route.path);
        let body = matches!(route.method, Method::POST | Method::PUT | Method::PATCH);
        let body = body.then(|| json!({}));
        for (caller, sender) in &everybody.0 {
            let answer = sender
                .send(route.method.clone(), &path, body.as_ref())
                .await;
            let what = format!("{} {}", route.method, route.path);
            let code = answer.code();
            check(
                &what,
                *caller,
                route.operation,
                answer.status,
                code.as_deref(),
            );
        }
    }
}

#[tokio::test]
async fn every_procedure_asks_the_table() {
    let app = App::start_closed().await;
    let everybody = Everybody::of(&app).await;
    for procedure in toolroom_api::trpc::PROCEDURES {
        let path = format!("/api/trpc/{}", procedure.path);
        let (method, body) = match procedure.kind {
            Kind::Query => (Method::GET, None),
            Kind::Mutation => (Method::POST, Some(json!({}))),
        };
        for (caller, sender) in &everybody.0 {
            let answer = sender.send(method.clone(), &path, body.as_ref()).await;
            let code = answer.code();
            let code = code.as_deref();
            check(
                procedure.path,
                *caller,
                procedure.operation,
                answer.status,
                code,
            );
            // What a batch hides in its list is refused as well.
            let batch = format!("{path}?batch=1");
            let inputs = body.as_ref().map(|_| json!({"0": {}}));
            let answer = sender.send(method.clone(), &batch, inputs.as_ref()).await;
            let code = answer.body[0]["error"]["data"]["errorCode"].as_str();
            let code = code.or(answer.body["error"]["data"]["errorCode"].as_str());
            check(
                procedure.path,
                *caller,
                procedure.operation,
                answer.status,
                code,
            );
        }
    }
}

#[tokio::test]
async fn what_the_whole_server_does_is_told_to_auditors_of_its_own_workspace() {
    let app = App::start_closed().await;
    for (caller, sender) in Everybody::of(&app).await.0 {
        let answer = sender.send(Method::GET, "/metrics", None).await;
        let code = answer.code();
        check(
            "/metrics",
            caller,
            Operation::Metrics,
            answer.status,
            code.as_deref(),
        );
    }
    let elsewhere = app.user("owner-of-another");
    let create = "mutation { createWorkspace(name: \"theirs\") { id } }";
    elsewhere.data(create, json!({})).await;
    let answer = elsewhere.send(Method::GET, "/metrics", None).await;
    assert_eq!(answer.status, 403, "{}", answer.body);
    for open in ["/livez", "/readyz", "/health", "/"] {
        let answer = app.shown(None).send(Method::GET, open, None).await;
        assert_eq!(answer.status, 200, "{open}: {}", answer.body);
    }
}

/// A path whose parameters name nothing.
fn concrete(path: &str) -> String {
    let part = |part: &str| match part.starts_with('{') {
        true => "nothing-of-this-name".to_owned(),
        false => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_operation_of_the_schema_asks_the_table() {
    let app = App::start_closed().await;
    let everybody = Everybody::of(&app).await;
    let schema = app.data(FIELDS, json!({})).await;
    let mut asked = Vec::new();
    for (place, root, word) in [
        (Place::Query, "queryType", "query"),
        (Place::Mutation, "mutationType", "mutation"),
        (Place::Subscription, "subscriptionType", "subscription"),
    ] {
        for field in schema["__schema"][root]["fields"].as_array().unwrap() {
            let name = field["name"].as_str().unwrap();
            let operation = Operation::find(place, name);
            let operation = operation.unwrap_or_else(|| panic!("`{name}` is not in the table"));
            let document = format!("{word} {{ {} }}", call(&schema, field));
            for (caller, sender) in &everybody.0 {
                // Whoever makes a workspace has one from then on.
                let newcomer = app.user(&format!("stranger-to-{name}"));
                let sender = match caller {
                    As::User(None) => &newcomer,
                    _ => sender,
                };
                let code = match place {
                    Place::Subscription => {
                        begin(sender, &document, permits(*caller, operation)).await
                    }
                    _ => {
                        let answer = sender.graphql(&document, json!({})).await;
                        assert_valid(&answer, &document);
                        answer.code()
                    }
                };
                check(name, *caller, operation, 200, code.as_deref());
            }
            asked.push(operation);
        }
    }
    for operation in Operation::ALL {
        let elsewhere = matches!(operation.place(), Place::Session | Place::Probe);
        assert!(
            elsewhere || asked.contains(operation),
            "{operation:?} was not asked for"
        );
    }
}

/// A document that was refused for its form would prove nothing.
fn assert_valid(answer: &Answer, document: &str) {
    let message = answer.body["errors"][0]["message"]
        .as_str()
        .unwrap_or_default();
    for sign in [
        "Unknown",
        "is required",
        "expected type",
        "Invalid value for argument",
    ] {
        assert!(!message.contains(sign), "{document}: {message}");
    }
}

/// The code that a subscription begins with; none where it is open.
async fn begin(sender: &Caller, document: &str, open: bool) -> Option<String> {
    let request = sender
        .http
        .post(format!("{}/graphql", sender.url))
        .header("accept", "text/event-stream")
        .json(&json!({ "query": document }));
    let response = request.send().await.expect("the server answers");
    let mut chunks = response.bytes_stream();
    let first = match open {
        true => tokio::time::timeout(SILENCE, chunks.next()).await.ok()??,
        false => chunks.next().await.expect("it is refused"),
    };
    let text = String::from_utf8_lossy(&first.expect("is whole")).into_owned();
    let data = text.lines().find_map(|line| line.strip_prefix("data: "))?;
    let event: Value = serde_json::from_str(data).expect("is JSON");
    let code = &event["errors"][0]["extensions"]["code"];
    code.as_str().map(str::to_owned)
}

/// A field with its required arguments, and of an object its name.
fn call(schema: &Value, field: &Value) -> String {
    let arguments = required(field["args"].as_array().unwrap());
    let arguments: Vec<_> = arguments
        .map(|argument| {
            let value = sample(schema, &argument["type"]["ofType"]);
            format!("{}: {value}", argument["name"].as_str().unwrap())
        })
        .collect();
    let arguments = match arguments.is_empty() {
        true => String::new(),
        false => format!("({})", arguments.join(", ")),
    };
    let selection = match innermost(&field["type"])["kind"].as_str() {
        Some("OBJECT" | "INTERFACE" | "UNION") => " { __typename }",
        _ => "",
    };
    format!("{}{arguments}{selection}", field["name"].as_str().unwrap())
}

fn required(inputs: &[Value]) -> impl Iterator<Item = &Value> {
    inputs
        .iter()
        .filter(|input| input["type"]["kind"] == "NON_NULL" && input["defaultValue"].is_null())
}

fn innermost(of: &Value) -> &Value {
    match &of["ofType"] {
        Value::Null => of,
        within => innermost(within),
    }
}

/// A value of a type, that names nothing that there is.
fn sample(schema: &Value, of: &Value) -> String {
    let name = of["name"].as_str().unwrap_or_default();
    let known = || {
        let types = schema["__schema"]["types"].as_array().unwrap();
        types.iter().find(|known| known["name"] == name).unwrap()
    };
    match of["kind"].as_str().unwrap() {
        "LIST" => "[]".to_owned(),
        "NON_NULL" => sample(schema, &of["ofType"]),
        "ENUM" => known()["enumValues"]
            .as_array()
            .and_then(|all| all.last())
            .unwrap()["name"]
            .as_str()
            .unwrap()
            .to_owned(),
        "INPUT_OBJECT" => {
            let fields = known()["inputFields"].as_array().unwrap();
            let fields: Vec<_> = required(fields)
                .map(|field| {
                    let value = sample(schema, &field["type"]["ofType"]);
                    format!("{}: {value}", field["name"].as_str().unwrap())
                })
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        _ => match name {
            "Int" | "Float" => "1".to_owned(),
            "Boolean" => "true".to_owned(),
            "JSON" => Value::Object(Map::new()).to_string(),
            "DateTime" => "\"2030-01-01T00:00:00Z\"".to_owned(),
            "Position" => "\"1\"".to_owned(),
            _ => "\"nothing-of-this-name\"".to_owned(),
        },
    }
}
