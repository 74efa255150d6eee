//! From a file's text to its parts: parsed as YAML within a budget, checked against the schema.

use std::sync::LazyLock;

use serde_json::Value;
use toolroom_domain::Violation;

use super::format::File;
use crate::executor::schema::Schema;

/// The schema of a connector's file, which editors read too.
pub const SCHEMA: &str = include_str!("../../../connectors/schema.json");
/// Bytes of one file: ten times the largest of ours.
const FILE_BYTES: usize = 512 * 1024;

static FORMAT: LazyLock<Result<Schema, Vec<Violation>>> = LazyLock::new(|| {
    let schema = serde_json::from_str(SCHEMA)
        .map_err(|error| vec![Violation::new("", error.to_string())])?;
    Schema::compile(&schema)
});

/// Why connectors could not be loaded. Each line names the file and the place within it.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The folder or a file in it could not be read.
    #[error("{path}: could not be read: {source}")]
    Read {
        /// Which one.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file says something that cannot be.
    #[error("{}", lines(file, found))]
    Faulty {
        /// Which file.
        file: String,
        /// What is wrong with which part.
        found: Vec<Violation>,
    },
    /// Two files describe one type.
    #[error(
        "{file}: type: is `{kind}`, which {other} describes already; give one of them another type"
    )]
    Duplicate {
        /// The later one.
        file: String,
        /// The earlier one.
        other: String,
        /// The type.
        kind: String,
    },
}

fn lines(file: &str, found: &[Violation]) -> String {
    let line = |violation: &Violation| match violation.path.as_str() {
        "" => format!("{file}: {}", violation.message),
        path => format!("{file}: {path}: {}", violation.message),
    };
    found.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The parts of a file.
///
/// # Errors
/// All that is wrong with it, as far as it can be seen.
pub(super) fn parse(text: &str) -> Result<File, Vec<Violation>> {
    let whole = |problem: String| vec![Violation::new("", problem)];
    if text.len() > FILE_BYTES {
        return Err(whole(format!("must have at most {FILE_BYTES} bytes")));
    }
    let mut options = serde_saphyr::options! {};
    // YAML 1.1's `no` and `on` would be booleans, and `error` codes such as `no` are common.
    options.strict_booleans = true;
    let parsed = serde_saphyr::from_str_with_options::<Value>(text, options);
    let value = parsed.map_err(|error| whole(format!("is not YAML: {}", first_line(&error))))?;
    let format = FORMAT.as_ref().map_err(Clone::clone)?;
    format.check_unpriced(&value)?;
    serde_path_to_error::deserialize(&value).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        vec![Violation::new(path, error.inner().to_string())]
    })
}

/// The parser's errors go on with an excerpt over several lines.
fn first_line(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}
