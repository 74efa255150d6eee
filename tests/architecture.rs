//! Who may use whom: the direction of dependencies, as docs/ARCHITECTURE.md lays it out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Each crate, and those of ours that it may use. `worker` may use a read model's queries; `api`
/// never uses `worker`: what it needs of it comes through a port that the binary wires.
const ALLOWED: [(&str, &[&str]); 6] = [
    ("toolroom-domain", &[]),
    ("toolroom-eventlog", &["toolroom-domain"]),
    (
        "toolroom-projections",
        &["toolroom-domain", "toolroom-eventlog"],
    ),
    (
        "toolroom-worker",
        &[
            "toolroom-domain",
            "toolroom-eventlog",
            "toolroom-projections",
        ],
    ),
    (
        "toolroom-api",
        &[
            "toolroom-domain",
            "toolroom-eventlog",
            "toolroom-projections",
        ],
    ),
    (
        "toolroom",
        &[
            "toolroom-api",
            "toolroom-domain",
            "toolroom-eventlog",
            "toolroom-projections",
            "toolroom-worker",
        ],
    ),
];

/// Every crate of the workspace with what it depends on, tests aside: those may use more.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo answers JSON");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|package| {
            let used = package["dependencies"].as_array().expect("dependencies");
            let names = used
                .iter()
                .filter(|dependency| dependency["kind"] != "dev")
                .map(|dependency| text(&dependency["name"]))
                .collect();
            (text(&package["name"]), names)
        })
        .collect()
}

#[test]
fn dependencies_point_inwards() {
    let found = dependencies();
    let known: BTreeSet<_> = ALLOWED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), known);
    for (name, allowed) in ALLOWED {
        for used in found[name].iter().filter(|used| known.contains(*used)) {
            assert!(
                allowed.contains(&used.as_str()),
                "{name} must not use {used}"
            );
        }
    }
}

#[test]
fn only_the_log_knows_its_store() {
    for (name, used) in dependencies() {
        let knows = used.contains("postgres-es");
        // `toolroom bench append` measures the log against it; see below.
        let may = ["toolroom-eventlog", "toolroom"].contains(&name.as_str());
        assert!(may || !knows, "{name} and postgres-es");
    }
}

#[test]
fn the_binary_knows_the_store_only_to_measure_against_it() {
    let mut left = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut seen = Vec::new();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("can be read");
            left.extend(entries.map(|entry| entry.expect("can be read").path()));
        } else if fs::read_to_string(&path).is_ok_and(|text| text.contains("postgres_es")) {
            seen.push(path);
        }
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].ends_with("src/cli/bench/append.rs"), "{seen:?}");
}

#[test]
fn the_domain_knows_neither_database_nor_network() {
    let found = dependencies();
    for forbidden in ["sqlx", "reqwest", "axum", "tokio", "rand", "async-graphql"] {
        assert!(!found["toolroom-domain"].contains(forbidden), "{forbidden}");
    }
}
