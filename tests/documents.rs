//! The documents say what is there: links lead somewhere, every decision is in the index, and who
//! may do what is told as the code has it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use toolroom_domain::{
    Role,
    access::{Caller, Operation, Place, permits},
};
use toolroom_worker::connector::Connectors;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn markdown(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).expect("the folder is there");
    entries
        .map(|entry| entry.expect("can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

/// The targets of `[words](target)` that are files of ours.
fn links(text: &str) -> Vec<&str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split('#').next().unwrap_or(target))
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut checked = 0;
    for file in [markdown("."), markdown("docs"), markdown("docs/decisions")].concat() {
        let text = fs::read_to_string(&file).expect("can be read");
        let folder = file.parent().expect("has a folder");
        for target in links(&text) {
            assert!(folder.join(target).exists(), "{}: {target}", file.display());
            checked += 1;
        }
    }
    assert!(checked > 10, "the links were not found");
}

#[test]
fn every_decision_is_in_the_index() {
    let index = root().join("docs/decisions/README.md");
    let text = fs::read_to_string(index).expect("can be read");
    let linked = links(&text);
    for note in markdown("docs/decisions") {
        let name = note
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        assert!(
            name == "README.md" || linked.contains(&name),
            "{name} is missing"
        );
    }
}

/// What may be seen of [`access`] in a table: a row for each operation, a column for each caller.
fn roles_and_operations() -> String {
    let roles = Role::ALL.map(Role::as_str).join(" | ");
    let mut table = format!("| operation | nobody known | known, no role | {roles} |\n");
    table.push_str("|---|---|---|");
    table.push_str(&"---|".repeat(Role::ALL.len()));
    for place in [
        Place::Query,
        Place::Mutation,
        Place::Subscription,
        Place::Session,
        Place::Probe,
    ] {
        let operations = Operation::ALL.iter().filter(|o| o.place() == place);
        for &operation in operations {
            let with_role = Role::ALL.map(|role| {
                let person = permits(Caller::User(Some(role)), operation);
                let key = permits(Caller::Key(role), operation);
                assert!(person || !key, "a key may do more than a person");
                match (person, key) {
                    (true, true) => "yes",
                    (true, false) => "persons",
                    (false, _) => "–",
                }
            });
            let word = |caller| {
                if permits(caller, operation) {
                    "yes"
                } else {
                    "–"
                }
            };
            let _ = write!(
                table,
                "\n| `{}` | {} | {} | {} |",
                operation.name(),
                word(Caller::Anonymous),
                word(Caller::User(None)),
                with_role.join(" | ")
            );
        }
    }
    table
}

#[test]
fn the_table_of_roles_in_the_document_is_the_one_that_is_asked() {
    let document = fs::read_to_string(root().join("docs/security.md")).expect("can be read");
    let table = roles_and_operations();
    let begins = document.find("| operation |").expect("has the table");
    let found = document[begins..].split("\n\n").next().unwrap_or_default();
    assert!(
        found == table,
        "docs/security.md must have this table:\n{table}"
    );
}

/// What the connectors that come with Toolroom can do: a row for each action.
fn connectors_and_actions() -> String {
    let connectors = Connectors::built_in().expect("they are sound");
    let mut table = "| type | service | action | kind | what it does |\n".to_owned();
    table.push_str("|---|---|---|---|---|");
    for spec in connectors.specs() {
        let document = connectors
            .origin(&spec.kind)
            .and_then(|(_, document)| document);
        let service = match document {
            Some(document) => format!("[{}]({document})", spec.name),
            None => spec.name.clone(),
        };
        for action in &spec.actions {
            let kind = serde_json::to_value(action.action_type).expect("is JSON");
            let _ = write!(
                table,
                "\n| `{}` | {service} | `{}` | {} | {} |",
                spec.kind,
                action.id,
                kind.as_str().unwrap_or_default(),
                action.description,
            );
        }
    }
    table
}

#[test]
fn the_table_of_connectors_in_the_document_is_what_there_is() {
    let document = fs::read_to_string(root().join("docs/connectors.md")).expect("can be read");
    let table = connectors_and_actions();
    let begins = document.find("| type |").expect("has the table");
    let found = document[begins..].split("\n\n").next().unwrap_or_default();
    assert!(
        found.trim_end() == table,
        "docs/connectors.md must have this table:\n{table}"
    );
}
