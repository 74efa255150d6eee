//! The documents say what is there: links lead somewhere, every decision is in the index, and who
//! may do what is told as the code has it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use toolroom_domain::{
    Role,
    access::{Caller, Operation, Place, permits},
};

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
