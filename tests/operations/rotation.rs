//! Changing the master key of a real server, killed wherever that may be.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use toolroom_domain::WorkspaceId;
use toolroom_eventlog::vault::{MasterKey, SECRET};

use crate::support::{Operator, PATIENCE, Serving};

/// Between looks at how far a rotation is.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Enough that a rotation takes several batches.
const SECRETS: usize = 900;

#[allow(
    clippy::disallowed_methods,
    reason = "to loopback, and no tool calls it"
)]
async fn ask(server: &Serving, query: &str, variables: Value) -> Value {
    let answer = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .post(format!("{}/graphql", server.url()))
        .json(&json!({"query": query, "variables": variables}))
        .timeout(PATIENCE)
        .send()
        .await
        .expect("the server answers");
    answer.json().await.expect("answers JSON")
}

async fn rotate(server: &Serving) -> Value {
    let query = "mutation { rotateMasterKey { total done startedAt finishedAt } }";
    ask(server, query, json!({})).await
}

async fn rotation(server: &Serving) -> Value {
    let query = "{ health { keyRotation { total done startedAt finishedAt } } }";
    let answer = ask(server, query, json!({})).await;
    answer["data"]["health"]["keyRotation"].clone()
}

async fn rotated(server: &Serving) -> Value {
    let ends = async {
        loop {
            let now = rotation(server).await;
            if now["finishedAt"].is_string() {
                return now;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, ends)
        .await
        .expect("the rotation ends")
}

fn value(i: usize) -> String {
    format!("the value of secret {i}")
}

/// Fills the vault of the running server.
async fn fill(operator: &Operator) {
    let beside = operator.log().await;
    let pool = beside.log.database.committer_pool();
    let mut tx = pool.begin().await.unwrap();
    for i in 0..SECRETS {
        let name = format!("S{i}");
        let vault = &beside.log.vault;
        let sealed = vault.seal_row(WorkspaceId::DEFAULT, SECRET, &name, 1, value(i).as_bytes());
        let toolroom_eventlog::append::SideRow::VaultPut {
            wrapped_key,
            master_key_id,
            data,
            ..
        } = sealed.unwrap()
        else {
            panic!("a value is put")
        };
        sqlx::query(
            "insert into vault (workspace_id, kind, name, version, wrapped_key, master_key_id, data)
             values ($1, $2, $3, 1, $4, $5, $6)",
        )
        .bind(WorkspaceId::DEFAULT.to_string())
        .bind(SECRET)
        .bind(name)
        .bind(wrapped_key)
        .bind(master_key_id)
        .bind(data)
        .execute(&mut *tx)
        .await
        .unwrap();
    }
    tx.commit().await.unwrap();
    beside.close().await;
}

/// All values open with the key that lies there now, beside a running server.
async fn all_open(operator: &Operator) {
    let beside = operator.log().await;
    for i in 0..SECRETS {
        let row = beside
            .log
            .vault
            .read_row(WorkspaceId::DEFAULT, SECRET, &format!("S{i}"))
            .await;
        let (_, bytes) = row.expect("opens").expect("is there");
        assert_eq!(bytes.as_slice(), value(i).as_bytes());
    }
    beside.close().await;
}

fn key(operator: &Operator, name: &str) -> PathBuf {
    operator.path("toolroom-data").join(name)
}

fn id(path: &Path) -> String {
    MasterKey::from_file(path)
        .expect("a key is there")
        .id()
        .to_owned()
}

#[tokio::test]
async fn a_server_that_is_killed_while_the_master_key_changes_ends_it_at_its_next_start() {
    let operator = Operator::new();
    let server = operator.serve().await;
    fill(&operator).await;
    let current = key(&operator, "master.key");
    let former = id(&current);
    let begun = rotate(&server).await;
    let begun = &begun["data"]["rotateMasterKey"];
    assert!(begun["total"].as_u64() >= Some(SECRETS as u64), "{begun}");
    assert!(begun["finishedAt"].is_null(), "it returns at once: {begun}");
    let next = id(&key(&operator, "master.key.next"));
    // Killed at moments that differ: before it began to work, in the middle, at the end.
    let mut server = server;
    for batches in [0, 1, 3] {
        let went = async {
            while rotation(&server).await["done"].as_u64() < Some(batches * 200) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(PATIENCE, went)
            .await
            .expect("it goes on");
        server.signal(Signal::SIGKILL);
        server.ended().await;
        server = operator.serve().await;
    }
    let ended = rotated(&server).await;
    assert_eq!(ended["done"], ended["total"]);
    // The file follows within a moment, and the former key stays beside it for former backups.
    let moved = async {
        while key(&operator, "master.key.next").exists() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, moved)
        .await
        .expect("the new key takes its place");
    assert_eq!(id(&current), next);
    let kept = key(&operator, &format!("master.key.{former}"));
    assert_eq!(id(&kept), former);
    all_open(&operator).await;
    server.stop().await;

    // The former key opens nothing any more.
    std::fs::rename(&current, operator.path("new.key")).unwrap();
    std::fs::copy(&kept, &current).unwrap();
    let refused = operator.run(&["--listen", "127.0.0.1:0"]).await;
    assert_eq!(refused.code(), 1);
    assert!(refused.words().contains(&next), "{refused:?}");
    // Killed after the end and before the file followed: both lie there, and that is enough.
    std::fs::rename(operator.path("new.key"), key(&operator, "master.key.next")).unwrap();
    let server = operator.serve().await;
    let moved = async {
        while key(&operator, "master.key.next").exists() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, moved)
        .await
        .expect("the new key takes its place");
    all_open(&operator).await;
    server.stop().await;
}

#[tokio::test]
async fn the_command_line_rotates_and_waits_for_the_end() {
    let operator = Operator::new();
    let server = operator.serve().await;
    let former = id(&key(&operator, "master.key"));
    let url = server.url();
    let command = ["keys", "--server", &url, "rotate-master"];
    let ran = operator.run(&command).await.succeeds();
    assert!(
        ran.words().contains("the master key was rotated"),
        "{ran:?}"
    );
    let again = operator
        .run(&[&command[..], &["--json"]].concat())
        .await
        .succeeds();
    let told: Value = serde_json::from_str(&again.out()).unwrap();
    assert_eq!(told["done"], told["total"]);
    let current = id(&key(&operator, "master.key"));
    assert_ne!(current, former);
    server.stop().await;
}

#[tokio::test]
async fn a_program_gives_the_master_key() {
    let operator = Operator::new();
    std::fs::write(
        operator.path("the.key"),
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    )
    .unwrap();
    std::fs::write(
        operator.path("toolroom.toml"),
        "master_key_command = [\"cat\", \"the.key\"]\nnext_master_key_file = \"next.key\"\n",
    )
    .unwrap();
    let server = operator.serve().await;
    assert!(!key(&operator, "master.key").exists());
    assert_eq!(rotation(&server).await, Value::Null);
    rotate(&server).await;
    rotated(&server).await;
    server.stop().await;
    // Both are still configured, and so they stay until the operator says otherwise.
    operator.serve().await.stop().await;
    std::fs::remove_file(operator.path("the.key")).unwrap();
    let refused = operator.run(&["--listen", "127.0.0.1:0"]).await;
    assert_eq!(refused.code(), 1);
    assert!(
        refused.words().contains("the master key command `cat`"),
        "{refused:?}"
    );
    std::fs::write(
        operator.path("toolroom.toml"),
        "master_key_file = \"next.key\"\n",
    )
    .unwrap();
    operator.serve().await.stop().await;
}

/// What lies in the folder after a server that kept a secret: its value in no file.
#[tokio::test]
async fn a_secret_is_in_no_file_but_sealed() {
    let operator = Operator::new();
    let server = operator.serve().await;
    let value = "a-value-that-is-nowhere-else";
    let create = "mutation ($v: String!) { createSecret(name: \"TOKEN\", value: $v) { version } }";
    let made = ask(&server, create, json!({"v": value})).await;
    assert_eq!(made["data"]["createSecret"]["version"], 1, "{made}");
    let replace =
        "mutation ($v: String!) { replaceSecret(name: \"TOKEN\", value: $v) { version } }";
    ask(&server, replace, json!({"v": format!("{value}-2")})).await;
    operator.run(&["backup", "backup.file"]).await.succeeds();
    server.stop().await;
    let mut looked_at = 0;
    let mut folders = vec![operator.path("")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap_or_default();
            looked_at += 1;
            let found = bytes
                .windows(value.len())
                .any(|part| part == value.as_bytes());
            assert!(!found, "{} holds the value", path.display());
        }
    }
    assert!(looked_at > 100, "{looked_at} files");
}
