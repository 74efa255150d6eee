//! `@trpc/client` of both versions in use calls every procedure, as the document of the tool actions
//! calls them. It runs where Node.js and npm are installed, and always where the environment says `CI`.

use std::{path::Path, process::Stdio};

use serde_json::json;
use tokio::process::Command;

use crate::support::{Answering, App, PATIENCE};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/journeys/trpc_client");

/// What packages are installed into, once for all runs.
const TARGET: &str = env!("CARGO_TARGET_TMPDIR");

async fn has(program: &str) -> bool {
    let asked = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.await.is_ok_and(|status| status.success())
}

async fn succeeds(command: &mut Command) -> String {
    let ended = tokio::time::timeout(4 * PATIENCE, command.output()).await;
    let ended = ended.expect("it ends in time").expect("it starts");
    let told = String::from_utf8_lossy(&ended.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{command:?}\n{told}\n{wrong}");
    told
}

/// The folder of a version's packages, as its lock file names them.
async fn installed(version: &str) -> std::path::PathBuf {
    let (from, into) = (
        Path::new(SOURCE).join(version),
        Path::new(TARGET).join("trpc_client").join(version),
    );
    let lock = std::fs::read_to_string(from.join("package-lock.json")).expect("the lock file");
    let there = into.join("installed");
    if std::fs::read_to_string(&there).is_ok_and(|had| had == lock) {
        return into;
    }
    std::fs::create_dir_all(&into).expect("a folder");
    for file in ["package.json", "package-lock.json", ".npmrc"] {
        std::fs::copy(from.join(file), into.join(file)).expect("a copy");
    }
    succeeds(Command::new("npm").arg("ci").current_dir(&into)).await;
    std::fs::write(there, lock).expect("is noted");
    into
}

#[tokio::test]
async fn every_procedure_answers_the_client_that_its_users_have() {
    if !(has("node").await && has("npm").await) {
        assert!(
            std::env::var_os("CI").is_none(),
            "node or npm is not installed: install both, or unset CI to leave this out"
        );
        eprintln!("left out: node or npm is not installed");
        return;
    }
    for (version, links) in [("v10", 2), ("v11", 3)] {
        let folder = installed(version).await;
        let app = App::start_with(&[("TOOLROOM_EGRESS_ALLOW", "127.0.0.1")]).await;
        let service = Answering::with(json!({"ok": true})).await;
        let mut drive = Command::new("node");
        drive.arg(Path::new(SOURCE).join("drive.mjs"));
        drive.arg(&folder).args([&app.url, &service.url]);
        let told = succeeds(&mut drive).await;
        assert_eq!(told.lines().count(), links, "{told}");
    }
}
