//! Two workspaces with the same names of everything, driven at random at the same time: each is as
//! its own model says, and nothing of the other is in any answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App, Socket, people::Caller};

/// Pairs of workspaces, one after the other on one server.
const PAIRS: usize = 4;

/// Operations as each of a pair.
const OPERATIONS: usize = 60;

/// Names that both use, for tools and keys.
const NAMES: [&str; 4] = ["say", "sum", "tell", "ask"];

#[derive(Clone, Debug)]
enum Step {
    Register(usize),
    Describe(usize),
    Switch(usize, bool),
    Delete(usize),
    Run(usize),
    Submit(usize),
    CreateKey(usize),
    RevokeKey(usize),
    /// Tries one of the ways to what the other has.
    Pry(usize),
    /// Reads everything and compares.
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0..NAMES.len();
    prop_oneof![
        3 => name().prop_map(Step::Register),
        1 => name().prop_map(Step::Describe),
        1 => (name(), any::<bool>()).prop_map(|(name, on)| Step::Switch(name, on)),
        1 => name().prop_map(Step::Delete),
        4 => name().prop_map(Step::Run),
        2 => name().prop_map(Step::Submit),
        2 => name().prop_map(Step::CreateKey),
        1 => (0..6_usize).prop_map(Step::RevokeKey),
        4 => (0..64_usize).prop_map(Step::Pry),
        1 => Just(Step::Look),
    ]
}

/// What a workspace must hold.
#[derive(Default)]
struct Model {
    /// By name: id and whether it is active. Without those deleted.
    tools: BTreeMap<String, (String, bool)>,
    jobs: BTreeSet<String>,
    /// By id: name and whether it was revoked.
    keys: BTreeMap<String, (String, bool)>,
}

/// What is known of a workspace to whoever must not see it.
#[derive(Default)]
struct Traces {
    /// Ids and words that must be in none of the other's answers.
    words: BTreeSet<String>,
    tools: Vec<String>,
    jobs: Vec<String>,
    keys: Vec<String>,
    positions: Vec<String>,
    cursors: Vec<String>,
}

struct Tenant {
    marker: String,
    workspace: String,
    caller: Caller,
    model: Model,
    own: Arc<Mutex<Traces>>,
    others: Arc<Mutex<Traces>>,
}

impl Tenant {
    async fn new(app: &App, subject: &str) -> Self {
        let marker = format!("marker-of-{subject}");
        let create = "mutation ($name: String!) { createWorkspace(name: $name) { id } }";
        let made = app
            .user(subject)
            .data(create, json!({ "name": marker }))
            .await;
        let workspace = made["createWorkspace"]["id"].as_str().unwrap().to_owned();
        let words = BTreeSet::from([marker.clone(), workspace.clone(), subject.to_owned()]);
        Self {
            caller: app.user_in(subject, &workspace),
            marker,
            workspace,
            model: Model::default(),
            own: Arc::new(Mutex::new(Traces {
                words,
                ..Traces::default()
            })),
            others: Arc::default(),
        }
    }

    /// Sends a document, and looks for traces of the other in the answer.
    async fn ask(&self, query: &str, variables: Value) -> Answer {
        let answer = self.caller.graphql(query, variables.clone()).await;
        self.inspect(&format!("{query} {variables}"), &answer);
        answer
    }

    fn inspect(&self, asked: &str, answer: &Answer) {
        let told = format!("{} {:?}", answer.body, answer.headers);
        for word in &self.others.lock().unwrap().words {
            assert!(
                asked.contains(word) || !told.contains(word.as_str()),
                "{} sees {word} by {asked}: {told}",
                self.marker
            );
        }
    }

    async fn data(&self, query: &str, variables: Value) -> Value {
        let answer = self.ask(query, variables).await;
        assert!(
            answer.body.get("errors").is_none(),
            "{query}: {}",
            answer.body
        );
        answer.body["data"].clone()
    }

    fn leave(&self, kind: fn(&mut Traces) -> &mut Vec<String>, id: &str) {
        let mut own = self.own.lock().unwrap();
        own.words.insert(id.to_owned());
        kind(&mut own).push(id.to_owned());
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Register(name) => self.register(NAMES[*name]).await,
            Step::Describe(name) => self.describe(NAMES[*name]).await,
            Step::Switch(name, on) => self.switch(NAMES[*name], *on).await,
            Step::Delete(name) => self.delete(NAMES[*name]).await,
            Step::Run(name) => self.run(NAMES[*name], true).await,
            Step::Submit(name) => self.run(NAMES[*name], false).await,
            Step::CreateKey(name) => self.create_key(NAMES[*name]).await,
            Step::RevokeKey(nth) => self.revoke_key(*nth).await,
            Step::Pry(way) => self.pry(*way).await,
            Step::Look => self.look().await,
        }
    }

    async fn register(&mut self, name: &str) {
        let input = json!({ "name": name, "description": self.marker, "native": { "functionPath": "echo" } });
        let query = "mutation ($i: RegisterToolInput!) { registerTool(input: $i) { id number } }";
        let answer = self.ask(query, json!({ "i": input })).await;
        if self.model.tools.contains_key(name) {
            assert_eq!(
                answer.code().as_deref(),
                Some("CONFLICT"),
                "{}",
                answer.body
            );
            return;
        }
        let tool = &answer.body["data"]["registerTool"];
        let id = tool["id"]
            .as_str()
            .unwrap_or_else(|| panic!("{}", answer.body))
            .to_owned();
        self.leave(|traces| &mut traces.tools, &id);
        self.model.tools.insert(name.to_owned(), (id, true));
    }

    fn id_of(&self, name: &str) -> Option<String> {
        self.model.tools.get(name).map(|(id, _)| id.clone())
    }

    async fn describe(&mut self, name: &str) {
        let Some(id) = self.id_of(name) else { return };
        let query = "mutation ($id: ID!, $d: String!) { updateTool(id: $id, input: { description: $d }) { description } }";
        let words = format!("{} again", self.marker);
        self.data(query, json!({ "id": id, "d": words })).await;
    }

    async fn switch(&mut self, name: &str, on: bool) {
        let Some(id) = self.id_of(name) else { return };
        let query = "mutation ($id: ID!, $on: Boolean!) { setToolActive(id: $id, active: $on) { isActive } }";
        self.data(query, json!({ "id": id, "on": on })).await;
        self.model.tools.insert(name.to_owned(), (id, on));
    }

    async fn delete(&mut self, name: &str) {
        let Some(id) = self.id_of(name) else { return };
        self.data(
            "mutation ($id: ID!) { deleteTool(id: $id) { id } }",
            json!({ "id": id }),
        )
        .await;
        self.model.tools.remove(name);
    }

    async fn run(&mut self, name: &str, wait: bool) {
        let mutation = if wait { "executeTool" } else { "submitJob" };
        let query = format!(
            "mutation ($t: String!, $i: JSON!) {{ {mutation}(toolName: $t, input: $i) {{ id input }} }}"
        );
        let answer = self
            .ask(&query, json!({ "t": name, "i": { "says": self.marker } }))
            .await;
        match self.model.tools.get(name) {
            None => assert_eq!(
                answer.code().as_deref(),
                Some("NOT_FOUND"),
                "{}",
                answer.body
            ),
            Some((_, false)) => assert_eq!(
                answer.code().as_deref(),
                Some("CONFLICT"),
                "{}",
                answer.body
            ),
            Some((_, true)) => {
                let job = &answer.body["data"][mutation];
                assert_eq!(job["input"]["says"], self.marker, "{}", answer.body);
                let id = job["id"].as_str().unwrap().to_owned();
                self.leave(|traces| &mut traces.jobs, &id);
                self.model.jobs.insert(id);
            }
        }
    }

    async fn create_key(&mut self, name: &str) {
        let query = "mutation ($n: String!) { createApiKey(name: $n, role: MEMBER) { apiKey { id prefix } secret } }";
        let made = self.data(query, json!({ "n": name })).await;
        let key = &made["createApiKey"];
        let id = key["apiKey"]["id"].as_str().unwrap().to_owned();
        self.leave(|traces| &mut traces.keys, &id);
        let prefix = key["apiKey"]["prefix"].as_str().unwrap();
        self.own.lock().unwrap().words.insert(prefix.to_owned());
        self.model.keys.insert(id, (name.to_owned(), false));
    }

    async fn revoke_key(&mut self, nth: usize) {
        let Some(id) = self.model.keys.keys().nth(nth).cloned() else {
            return;
        };
        self.data(
            "mutation ($id: ID!) { revokeApiKey(id: $id) { id } }",
            json!({ "id": id }),
        )
        .await;
        if let Some((_, revoked)) = self.model.keys.get_mut(&id) {
            *revoked = true;
        }
    }

    /// Asks for something of the other's, and for something that nobody has: the answers are the
    /// same.
    async fn pry(&self, way: usize) {
        const WAYS: [(&str, &str); 15] = [
            ("tool", "query ($id: ID!) { tool(id: $id) { id } }"),
            (
                "tool",
                "mutation ($id: ID!) { executeTool(toolId: $id, input: {}) { id } }",
            ),
            (
                "tool",
                "mutation ($id: ID!) { submitJob(toolId: $id, input: {}) { id } }",
            ),
            ("tool", "mutation ($id: ID!) { deleteTool(id: $id) { id } }"),
            (
                "tool",
                "mutation ($id: ID!) { setToolActive(id: $id, active: false) { id } }",
            ),
            ("tool", "query ($id: ID!) { stats(toolId: $id) { runs } }"),
            (
                "tool",
                "query ($id: ID!) { tool(id: $id, asOf: \"2100-01-01T00:00:00Z\") { id } }",
            ),
            ("job", "query ($id: ID!) { job(id: $id) { id } }"),
            (
                "job",
                "query ($id: ID!) { jobLogs(jobId: $id) { nodes { message } } }",
            ),
            ("job", "mutation ($id: ID!) { cancelJob(id: $id) { id } }"),
            ("job", "mutation ($id: ID!) { retryJob(id: $id) { id } }"),
            ("job", "mutation ($id: ID!) { rerunJob(id: $id) { id } }"),
            (
                "key",
                "mutation ($id: ID!) { revokeApiKey(id: $id) { id } }",
            ),
            (
                "position",
                "query ($id: Position!) { auditEvent(position: $id) { type } }",
            ),
            (
                "cursor",
                "query ($id: String!) { jobs(first: 50, after: $id) { nodes { id } } }",
            ),
        ];
        let (kind, query) = WAYS[way % WAYS.len()];
        let (foreign, unknown) = {
            let others = self.others.lock().unwrap();
            let (all, unknown) = match kind {
                "tool" => (&others.tools, format!("tool_{}", "0".repeat(32))),
                "job" => (&others.jobs, format!("job_{}", "0".repeat(32))),
                "key" => (&others.keys, format!("key_{}", "0".repeat(32))),
                "position" => (&others.positions, String::new()),
                _ => (&others.cursors, String::new()),
            };
            let Some(foreign) = (!all.is_empty()).then(|| all[way % all.len()].clone()) else {
                return;
            };
            (foreign, unknown)
        };
        let answer = self.ask(query, json!({ "id": foreign })).await;
        if unknown.is_empty() {
            return;
        }
        let made_up = self.ask(query, json!({ "id": unknown })).await;
        let told = |answer: &Answer, id: &str| {
            let mut body = answer.body.to_string().replace(id, "…");
            for error in answer.body["errors"].as_array().into_iter().flatten() {
                let request = error["extensions"]["requestId"]
                    .as_str()
                    .unwrap_or_default();
                body = body.replace(request, "…");
            }
            body
        };
        assert_eq!(told(&answer, &foreign), told(&made_up, &unknown), "{query}");
    }

    /// Reads everything there is, and compares it with the model.
    async fn look(&self) {
        let read = self
            .data(
                "{ workspaces { totalCount nodes { id } } viewer { workspace { id name } }
                   tools(first: 200) { totalCount nodes { id name description isActive } }
                   jobs(first: 200) { totalCount nodes { id input tool { name description } } pageInfo { endCursor } }
                   apiKeys(first: 200) { totalCount nodes { id name revokedAt } }
                   members { totalCount nodes { email } }
                   auditLog(first: 200) { totalCount nodes { position type actor payload } } }",
                json!({}),
            )
            .await;
        assert_eq!(
            read["workspaces"]["nodes"],
            json!([{ "id": self.workspace }])
        );
        assert_eq!(read["members"]["totalCount"], 1);
        let tools: BTreeMap<String, (String, bool)> = nodes(&read["tools"])
            .map(|tool| {
                (
                    text(&tool["name"]),
                    (text(&tool["id"]), tool["isActive"] == true),
                )
            })
            .collect();
        assert_eq!(tools, self.model.tools);
        assert_eq!(read["tools"]["totalCount"], self.model.tools.len());
        let jobs: BTreeSet<String> = nodes(&read["jobs"]).map(|job| text(&job["id"])).collect();
        assert_eq!(jobs, self.model.jobs);
        assert_eq!(read["jobs"]["totalCount"], self.model.jobs.len());
        let keys: BTreeMap<String, (String, bool)> = nodes(&read["apiKeys"])
            .map(|key| {
                (
                    text(&key["id"]),
                    (text(&key["name"]), !key["revokedAt"].is_null()),
                )
            })
            .collect();
        assert_eq!(keys, self.model.keys);
        let total: u64 = {
            let stats = self
                .data("{ stats(groupBy: TYPE) { runs } }", json!({}))
                .await;
            let buckets = stats["stats"].as_array().unwrap();
            buckets
                .iter()
                .filter_map(|bucket| bucket["runs"].as_u64())
                .sum()
        };
        assert!(
            total <= self.model.jobs.len() as u64,
            "{total} runs counted"
        );
        let rest = self.caller.send(Method::GET, "/tools", None).await;
        self.inspect("GET /tools", &rest);
        assert_eq!(rest.body.as_array().unwrap().len(), self.model.tools.len());

        let mut own = self.own.lock().unwrap();
        own.positions = nodes(&read["auditLog"])
            .map(|event| text(&event["position"]))
            .collect();
        if let Some(cursor) = read["jobs"]["pageInfo"]["endCursor"].as_str() {
            own.cursors.push(cursor.to_owned());
        }
    }
}

fn nodes(list: &Value) -> impl Iterator<Item = &Value> {
    list["nodes"].as_array().unwrap().iter()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

async fn drive(mut tenant: Tenant, steps: Vec<Step>) -> Tenant {
    for step in &steps {
        tenant.take(step).await;
    }
    tenant
}

/// A subscription that was open all the while saw the events of its workspace, and no others.
async fn watched(socket: &mut Socket, tenant: &Tenant) {
    let log = tenant
        .data(
            "{ auditLog(first: 200) { totalCount nodes { position } } }",
            json!({}),
        )
        .await;
    let expected: Vec<String> = nodes(&log["auditLog"])
        .map(|event| text(&event["position"]))
        .collect();
    assert_eq!(log["auditLog"]["totalCount"], expected.len());
    let mut seen = Vec::new();
    while seen.len() < expected.len() {
        let event = socket.next().await.expect("it goes on");
        let event = &event["auditEvents"];
        let told = event.to_string();
        for word in &tenant.others.lock().unwrap().words {
            assert!(!told.contains(word.as_str()), "{word}: {told}");
        }
        seen.push(text(&event["position"]));
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn two_workspaces_see_nothing_of_each_other() {
    let app = App::start_closed_with(&[("TOOLROOM_LIMITS_PLANS", "false")]).await;
    let mut runner = TestRunner::default();
    let steps = proptest::collection::vec(step(), OPERATIONS);
    for pair in 0..PAIRS {
        let mut one = Tenant::new(&app, &format!("alice-of-pair-{pair}")).await;
        let mut two = Tenant::new(&app, &format!("bob-of-pair-{pair}")).await;
        one.others = Arc::clone(&two.own);
        two.others = Arc::clone(&one.own);
        let query = "subscription { auditEvents { position type actor payload } }";
        let mut sockets = [Socket::of(&one.caller).await, Socket::of(&two.caller).await];
        for socket in &mut sockets {
            socket.subscribe("1", query, json!({})).await;
        }
        let (first, second) = (
            steps.new_tree(&mut runner).unwrap().current(),
            steps.new_tree(&mut runner).unwrap().current(),
        );
        let told = format!("{first:?}\n{second:?}");
        let ended = tokio::join!(
            tokio::spawn(drive(one, first)),
            tokio::spawn(drive(two, second)),
        );
        let (Ok(one), Ok(two)) = ended else {
            panic!("driven by\n{told}");
        };
        for (tenant, socket) in [&one, &two].into_iter().zip(&mut sockets) {
            tenant.look().await;
            for way in 0..14 {
                tenant.pry(way).await;
            }
            watched(socket, tenant).await;
            let foreign = &if tenant.marker == one.marker {
                &two
            } else {
                &one
            }
            .workspace;
            let elsewhere = app.user_in(tenant.marker.trim_start_matches("marker-of-"), foreign);
            let answer = elsewhere.send(Method::GET, "/tools", None).await;
            assert_eq!(answer.status, 404, "{}", answer.body);
        }
    }
}
