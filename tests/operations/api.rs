//! A running server, spoken to over HTTP in one of its workspaces.

use reqwest::{RequestBuilder, Response, header::HeaderMap};
use serde_json::{Value, json};

use crate::support::{PATIENCE, Serving};

/// The owner of a server in local mode, in one workspace.
pub struct Api {
    url: String,
    workspace: Option<String>,
    http: reqwest::Client,
}

/// An answer, its body as it came.
pub struct Fetched {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Fetched {
    async fn of(response: Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await.expect("the answer is whole").into(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("is JSON")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

impl Api {
    #[allow(
        clippy::disallowed_methods,
        reason = "a client of the server, on this machine"
    )]
    pub fn of(server: &Serving) -> Self {
        Self {
            url: server.url(),
            workspace: None,
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(PATIENCE)
                .build()
                .expect("a client"),
        }
    }

    /// The same server in another workspace.
    pub fn within(&self, workspace: &str) -> Self {
        Self {
            url: self.url.clone(),
            workspace: Some(workspace.to_owned()),
            http: self.http.clone(),
        }
    }

    async fn send(&self, request: RequestBuilder) -> Fetched {
        let request = match &self.workspace {
            Some(workspace) => request.header("x-workspace-id", workspace),
            None => request,
        };
        Fetched::of(request.send().await.expect("the server answers")).await
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Fetched {
        let url = match path.starts_with("http") {
            true => path.to_owned(),
            false => format!("{}{path}", self.url),
        };
        let request = headers.iter().fold(self.http.get(url), |r, (name, value)| {
            r.header(*name, *value)
        });
        self.send(request).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Fetched {
        self.send(self.http.post(format!("{}{path}", self.url)).json(body))
            .await
    }

    pub async fn graphql(&self, query: &str, variables: Value) -> Value {
        let body = json!({ "query": query, "variables": variables });
        self.post("/graphql", &body).await.json()
    }

    /// Sends a GraphQL request and takes its data.
    pub async fn data(&self, query: &str, variables: Value) -> Value {
        let mut answer = self.graphql(query, variables).await;
        assert!(answer.get("errors").is_none(), "{}", answer["errors"]);
        answer["data"].take()
    }

    /// Sends a GraphQL request and takes the code and message of its first error.
    pub async fn refused(&self, query: &str, variables: Value) -> (String, String) {
        let answer = self.graphql(query, variables).await;
        let error = &answer["errors"][0];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&error["extensions"]["code"]), text(&error["message"]))
    }

    /// Registers a tool that gives back what it is given.
    pub async fn register_echo(&self, name: &str) {
        let register = "mutation($i: RegisterToolInput!) { registerTool(input: $i) { id } }";
        let input = json!({"name": name, "description": "gives back what it is given",
                           "native": {"functionPath": "echo"}});
        self.data(register, json!({ "i": input })).await;
    }

    /// Runs a tool and waits for its end.
    pub async fn run(&self, tool: &str, input: &Value) -> Value {
        let run = "mutation($t: String, $i: JSON!) { executeTool(toolName: $t, input: $i) {
            id status inputRef { digest bytes url } outputRef { digest bytes url }
            error { code message } } }";
        let mut ran = self.data(run, json!({ "t": tool, "i": input })).await;
        ran["executeTool"].take()
    }

    pub async fn create_workspace(&self, name: &str) -> String {
        let create = "mutation($n: String!) { createWorkspace(name: $n) { id } }";
        let made = self.data(create, json!({ "n": name })).await;
        made["createWorkspace"]["id"].as_str().unwrap().to_owned()
    }
}
