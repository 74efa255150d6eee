//! The JSON Schemas of all events are a contract: committed, and compared with the code.
//!
//! `UPDATE=1 cargo test -p toolroom-domain --test event_schemas` writes them anew. A change of a
//! schema means a new version of that event and an upcaster, unless it only adds an optional field.

use std::fs;
use std::path::Path;

use schemars::{Schema, schema_for};
use toolroom_domain::{api_key, denial, job, secret, tool, workspace};

fn schemas() -> [(&'static str, Schema); 6] {
    [
        ("tool", schema_for!(tool::Event)),
        ("job", schema_for!(job::Event)),
        ("workspace", schema_for!(workspace::Event)),
        ("api_key", schema_for!(api_key::Event)),
        ("secret", schema_for!(secret::Event)),
        ("denial", schema_for!(denial::Event)),
    ]
}

#[test]
fn the_committed_schemas_are_those_of_the_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/contracts/events");
    for (aggregate, schema) in schemas() {
        let path = folder.join(format!("{aggregate}.json"));
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == text,
            "docs/contracts/events/{aggregate}.json is not what the code says; see this test's head"
        );
    }
    let mut committed: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut known: Vec<_> = schemas()
        .iter()
        .map(|(aggregate, _)| format!("{aggregate}.json"))
        .collect();
    committed.sort();
    known.sort();
    assert_eq!(committed, known, "a schema without events is left over");
}
