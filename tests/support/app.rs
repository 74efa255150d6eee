//! The binary as a process on a database of the test's own, spoken to over HTTP.

use std::collections::VecDeque;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, PgPool, postgres::PgConnectOptions};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use toolroom_eventlog::testing::TestDatabase;

use super::PATIENCE;

/// Lines of the server's output that are shown when a test fails.
const SHOWN_LINES: usize = 40;

/// Lines of it that are kept: more than any test has a server write.
const KEPT_LINES: usize = 100_000;

/// A server process. Killed when dropped.
pub struct App {
    pub url: String,
    pub http: reqwest::Client,
    database: Option<Arc<TestDatabase>>,
    connect: PgConnectOptions,
    options: Vec<(String, String)>,
    process: Child,
    output: Arc<Mutex<VecDeque<String>>>,
    heard: Arc<Notify>,
    folder: Arc<tempfile::TempDir>,
}

impl App {
    /// Starts a server on an empty database.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// As [`Self::start`], with further variables of the environment.
    pub async fn start_with(options: &[(&str, &str)]) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        Self::start_in(folder, options).await
    }

    /// As [`Self::start_with`], its data in this folder.
    pub async fn start_in(folder: Arc<tempfile::TempDir>, options: &[(&str, &str)]) -> Self {
        let database = Arc::new(TestDatabase::create().await);
        let options = options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let connect = database.connect_options();
        Self::on(Some(database), connect, folder, options).await
    }

    /// Starts a server on a database that the test keeps, already migrated or not.
    pub async fn start_on(connect: PgConnectOptions) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        Self::on(None, connect, folder, Vec::new()).await
    }

    /// A second node on the same database.
    pub async fn another_node(&self) -> Self {
        Self::on(
            self.database.clone(),
            self.connect.clone(),
            Arc::clone(&self.folder),
            self.options.clone(),
        )
        .await
    }

    async fn on(
        database: Option<Arc<TestDatabase>>,
        connect: PgConnectOptions,
        folder: Arc<tempfile::TempDir>,
        options: Vec<(String, String)>,
    ) -> Self {
        let mut process = binary()
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.path())
            .env("DATABASE_URL", database_url(&connect))
            // Most tests are about something else than who asks.
            .env("TOOLROOM_AUTH_REQUIRED", "false")
            .env("TOOLROOM_LOG", "info")
            .envs(options.iter().map(|(n, v)| (n, v)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let output = Arc::new(Mutex::new(VecDeque::new()));
        let heard = Arc::new(Notify::new());
        let (address, found) = tokio::sync::oneshot::channel();
        let address = Arc::new(Mutex::new(Some(address)));
        let stdout = process.stdout.take().expect("is piped");
        let stderr = process.stderr.take().expect("is piped");
        tokio::spawn(read_lines(
            stdout,
            Arc::clone(&output),
            Arc::clone(&heard),
            Arc::clone(&address),
        ));
        tokio::spawn(read_lines(
            stderr,
            Arc::clone(&output),
            Arc::clone(&heard),
            address,
        ));
        let address = tokio::time::timeout(PATIENCE, found).await;
        let Ok(Ok(url)) = address else {
            panic!("the server does not listen: {:#?}", output.lock().unwrap());
        };
        Self {
            url,
            http: reqwest::Client::builder()
                .no_proxy()
                .build()
                .expect("a client"),
            database,
            connect,
            options,
            process,
            output,
            heard,
            folder,
        }
    }

    /// Where its data are.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Kills the process as a crash would.
    pub async fn kill9(&mut self) {
        self.process
            .kill()
            .await
            .expect("the process can be killed");
    }

    /// Asks the process to stop and waits until it has; its exit code.
    pub async fn stop(&mut self) -> Option<i32> {
        let id = self.process.id().expect("the process runs").to_string();
        let sent = std::process::Command::new("kill")
            .args(["-TERM", &id])
            .status();
        assert!(sent.is_ok_and(|status| status.success()));
        let status = tokio::time::timeout(PATIENCE, self.process.wait()).await;
        status
            .expect("the server stops")
            .expect("has a status")
            .code()
    }

    /// The last lines that the server wrote.
    pub fn output(&self) -> String {
        let lines = self.output.lock().unwrap();
        let before = lines.len().saturating_sub(SHOWN_LINES);
        Vec::from_iter(lines.iter().skip(before).map(String::as_str)).join("\n")
    }

    /// All lines that the server wrote.
    pub fn all_output(&self) -> String {
        let lines = self.output.lock().unwrap();
        Vec::from_iter(lines.iter().map(String::as_str)).join("\n")
    }

    /// Waits until the server has written this.
    pub async fn said(&self, text: &str) {
        loop {
            let heard = self.heard.notified();
            if self.all_output().contains(text) {
                return;
            }
            let more = tokio::time::timeout(PATIENCE, heard).await;
            assert!(
                more.is_ok(),
                "the server did not say {text:?}: {}",
                self.output()
            );
        }
    }

    /// A connection to the database as its owner.
    pub async fn owner(&self) -> PgPool {
        PgPool::connect_with(self.connect.clone())
            .await
            .expect("the database answers")
    }

    /// Sends a GraphQL request and takes its data.
    ///
    /// # Panics
    /// When the answer holds errors.
    pub async fn data(&self, query: &str, variables: Value) -> Value {
        let answer = self.graphql(query, variables).await;
        assert!(
            answer.body.get("errors").is_none(),
            "{}\n{}",
            answer.body,
            self.output()
        );
        answer.body["data"].clone()
    }

    /// Sends a GraphQL request and takes the code of its first error.
    pub async fn refusal(&self, query: &str, variables: Value) -> String {
        let answer = self.graphql(query, variables).await;
        let code = &answer.body["errors"][0]["extensions"]["code"];
        code.as_str()
            .unwrap_or_else(|| panic!("no refusal with a code: {}", answer.body))
            .to_owned()
    }

    /// Sends a GraphQL request.
    pub async fn graphql(&self, query: &str, variables: Value) -> Answer {
        self.post("/graphql", json!({"query": query, "variables": variables}))
            .await
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        let request = self.http.post(format!("{}{path}", self.url)).json(&body);
        Answer::of(request).await
    }

    /// Gets JSON.
    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.http.get(format!("{}{path}", self.url))).await
    }

    /// Registers a tool.
    pub async fn register(&self, input: Value) -> Value {
        let query = "mutation($i: RegisterToolInput!) { registerTool(input: $i) { id number name version kind } }";
        self.data(query, json!({"i": input})).await["registerTool"].clone()
    }

    /// Runs a tool and waits for its end.
    pub async fn run(&self, tool: &str, input: Value) -> Value {
        let query = "mutation($t: String, $i: JSON!) { executeTool(toolName: $t, input: $i) {
            id status output toolVersion error { code category message retryable details } attempts { number } } }";
        self.data(query, json!({"t": tool, "i": input})).await["executeTool"].clone()
    }

    /// Submits a job to run in the background; its id.
    pub async fn submit(&self, tool: &str, input: Value) -> String {
        let query =
            "mutation($t: String, $i: JSON!) { submitJob(toolName: $t, input: $i) { id status } }";
        let job = self.data(query, json!({"t": tool, "i": input})).await;
        job["submitJob"]["id"].as_str().expect("an id").to_owned()
    }

    /// A job as it is now.
    pub async fn job(&self, id: &str) -> Value {
        let query = "query($id: ID!) { job(id: $id) { id status input output lastEvent error { code message }
            attempts { number startedAt finishedAt } } }";
        self.data(query, json!({"id": id})).await["job"].clone()
    }

    /// Waits, by its subscription, until a job has ended.
    pub async fn ended(&self, id: &str) -> Value {
        let mut socket = super::Socket::connect(self).await;
        let query = "subscription($id: ID!) { jobProgress(jobId: $id) { status } }";
        socket.subscribe("ended", query, json!({"id": id})).await;
        while socket.next().await.is_some() {}
        self.job(id).await
    }
}

/// The binary, in an environment without settings for it.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_toolroom"));
    // Cargo hands its build's variables on, which the server would take for its configuration.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TOOLROOM_")) {
        if name != "TOOLROOM_PG_BIN" {
            command.env_remove(name);
        }
    }
    command
}

fn database_url(options: &PgConnectOptions) -> String {
    options.to_url_lossy().to_string()
}

async fn read_lines(
    stream: impl tokio::io::AsyncRead + Unpin,
    output: Arc<Mutex<VecDeque<String>>>,
    heard: Arc<Notify>,
    address: Arc<Mutex<Option<tokio::sync::oneshot::Sender<String>>>>,
) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(url) = listening_on(&line)
            && let Some(sender) = address.lock().unwrap().take()
        {
            let _ = sender.send(url);
        }
        let mut output = output.lock().unwrap();
        output.push_back(line);
        if output.len() > KEPT_LINES {
            output.pop_front();
        }
        drop(output);
        heard.notify_waiters();
    }
}

/// The address in a line that tells one.
fn listening_on(line: &str) -> Option<String> {
    const ADDRESS: &str = "://127.0.0.1:";
    let (before, after) = line.split_once(ADDRESS)?;
    let scheme = if before.ends_with("https") {
        "https"
    } else {
        "http"
    };
    let port: String = after.chars().take_while(char::is_ascii_digit).collect();
    Some(format!("{scheme}{ADDRESS}{port}"))
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    /// Sends the request and reads the whole answer.
    pub async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request
            .timeout(PATIENCE)
            .send()
            .await
            .expect("the server answers");
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await.expect("the answer is whole");
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self {
            status,
            headers,
            body,
        }
    }
}

/// The registration of a native function.
pub fn native(name: &str, function_path: &str) -> Value {
    json!({"name": name, "description": format!("runs {function_path}"), "native": {"functionPath": function_path}})
}

/// The registration of a REST tool.
pub fn rest(name: &str, api: Value) -> Value {
    json!({"name": name, "description": "calls an API", "rest": {
        "api": api,
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }})
}
