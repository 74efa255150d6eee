//! The documents say what is there: links lead somewhere, and every decision is in the index.

use std::fs;
use std::path::{Path, PathBuf};

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
