//! Hands the git revision to the program, without any tool: from an archive of the sources there
//! is none, unless whoever builds sets `TOOLROOM_REVISION`.

use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-env-changed=TOOLROOM_REVISION");
    println!("cargo:rerun-if-changed=build.rs");
    let revision = std::env::var("TOOLROOM_REVISION")
        .ok()
        .filter(|revision| !revision.is_empty())
        .or_else(revision);
    let version = env!("CARGO_PKG_VERSION");
    let text = match revision {
        Some(revision) => format!("{version} ({})", &revision[..revision.len().min(12)]),
        None => version.to_owned(),
    };
    println!("cargo:rustc-env=SERVER_VERSION={text}");
}

/// The commit that `HEAD` names, followed by hand.
fn revision() -> Option<String> {
    let git = git_folder(&PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?))?;
    let head = watched(&git.join("HEAD"))?;
    let Some(reference) = head.trim().strip_prefix("ref: ") else {
        return hexadecimal(head.trim());
    };
    // Branches of a linked worktree are kept with the main one.
    let common = match fs::read_to_string(git.join("commondir")) {
        Ok(path) => git.join(path.trim()),
        Err(_) => git,
    };
    if let Some(loose) = watched(&common.join(reference)) {
        return hexadecimal(loose.trim());
    }
    let packed = watched(&common.join("packed-refs"))?;
    packed
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(_, name)| *name == reference)
        .and_then(|(revision, _)| hexadecimal(revision))
}

/// `.git`, or what it points to in a linked worktree.
fn git_folder(root: &Path) -> Option<PathBuf> {
    let git = root.join(".git");
    if git.is_dir() {
        return Some(git);
    }
    let link = fs::read_to_string(&git).ok()?;
    Some(root.join(link.trim().strip_prefix("gitdir: ")?))
}

fn watched(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    println!("cargo:rerun-if-changed={}", path.display());
    Some(text)
}

fn hexadecimal(text: &str) -> Option<String> {
    let sound = text.len() >= 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
    sound.then(|| text.to_owned())
}
