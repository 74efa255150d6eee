//! Commands that talk to a server: log in, keys, workspaces.

mod keys;
mod login;
mod real;
mod refusals;
mod stand_in;
mod workspaces;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use self::stand_in::StandIn;
use crate::support::{Operator, PATIENCE, Ran};

/// A whole API key that opens nothing.
const KEY: &str = "tr_111111111111_11111111111111111111111111111111111111111110f6v9J";

/// A token that opens nothing.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln";

const WORKSPACE: &str = "ws_00000000000000000000000000000007";

async fn ran(command: &mut Command) -> Ran {
    let process = command.spawn().expect("the command starts");
    let ended = tokio::time::timeout(PATIENCE, process.wait_with_output()).await;
    Ran::new(ended.expect("the command ends").expect("has a status"))
}

/// Runs a command with something on its standard input.
async fn fed(mut command: Command, input: &str) -> Ran {
    let mut process = command
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut stdin = process.stdin.take().expect("is piped");
    // It may have refused before it read.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let ended = tokio::time::timeout(PATIENCE, process.wait_with_output()).await;
    Ran::new(ended.expect("the command ends").expect("has a status"))
}

fn viewer(workspace: &str) -> Value {
    json!({"viewer": {
        "id": "key:key_1",
        "email": null,
        "authenticatedBy": "api key",
        "role": "OWNER",
        "workspace": {"id": workspace, "name": "Acme", "plan": "PRO"},
    }})
}

/// Logs in at a stand-in.
async fn log_in(operator: &Operator, server: &StandIn) -> Ran {
    let login = operator.client(&["login", "--server", &server.url, "--key-file", "-"]);
    fed(login, KEY).await.succeeds()
}
