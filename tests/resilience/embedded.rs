//! The server with its own Postgres, as a new user starts it.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::{PATIENCE, binary};

struct Embedded {
    process: Child,
    url: String,
}

fn toolroom(data: &Path) -> Command {
    let mut command = binary();
    command
        .env_remove("DATABASE_URL")
        .env("TOOLROOM_DATA_DIR", data)
        .kill_on_drop(true);
    command
}

async fn serve(data: &Path) -> Embedded {
    let mut process = toolroom(data)
        .args(["serve", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(process.stderr.take().expect("is piped")).lines();
    let url = tokio::time::timeout(PATIENCE, async {
        while let Some(line) = lines.next_line().await.expect("is text") {
            if let Some(from) = line.find("http://127.0.0.1:") {
                let end =
                    line[from + 7..].find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit());
                return line[from..end.map_or(line.len(), |end| from + 7 + end)].to_owned();
            }
        }
        panic!("the server ended before it listened");
    })
    .await
    .expect("the server listens");
    tokio::spawn(async move { while lines.next_line().await.is_ok_and(|line| line.is_some()) {} });
    Embedded { process, url }
}

async fn ask(server: &Embedded, query: &str) -> Value {
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let request = client
        .post(format!("{}/graphql", server.url))
        .json(&json!({"query": query}));
    let answer = request.timeout(PATIENCE).send().await.expect("answers");
    answer.json().await.expect("is JSON")
}

async fn output(mut command: Command) -> (i32, String) {
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .expect("ends")
        .expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_server_survives_kill_9_and_refuses_a_second_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut server = serve(&data).await;
    let register = "mutation { registerTool(input: {name: \"say\", description: \"d\", native: {functionPath: \"echo\"}}) { name } }";
    assert_eq!(
        ask(&server, register).await["data"]["registerTool"]["name"],
        "say"
    );
    let run = "mutation { executeTool(toolName: \"say\", input: {a: 1}) { status } }";
    assert_eq!(
        ask(&server, run).await["data"]["executeTool"]["status"],
        "COMPLETED"
    );

    let mut second = toolroom(&data);
    second.args(["serve", "--listen", "127.0.0.1:0"]);
    let (code, text) = output(second).await;
    assert!(code != 0 && text.contains("in use"), "{code}: {text}");

    let mut verify = toolroom(&data);
    verify.arg("verify");
    let (code, text) = output(verify).await;
    assert_eq!(code, 0, "verify works beside the running server: {text}");

    server.process.kill().await.expect("is killed");
    let again = serve(&data).await;
    let tools = ask(&again, "{ tools { nodes { name } } jobs { totalCount } }").await;
    assert_eq!(
        tools["data"],
        json!({"tools": {"nodes": [{"name": "say"}]}, "jobs": {"totalCount": 1}})
    );

    let mut replay = toolroom(&data);
    replay.arg("replay");
    let (code, text) = output(replay).await;
    assert_eq!(code, 0, "{text}");
    let types: Vec<String> = text
        .lines()
        .filter_map(|line| {
            serde_json::from_str::<Value>(line).ok()?["type"]
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(
        types,
        [
            "WorkspaceCreated",
            "ToolRegistered",
            "JobRequested",
            "JobStarted",
            "JobSucceeded"
        ],
        "{text}"
    );
}
