//! One thing that is wrong with an input.

use serde::{Deserialize, Serialize};

/// What is wrong with one field. The message never repeats the value, which may be secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Where, as a dotted path from the operation's arguments, such as `input.rest.api.base_url`.
    pub path: String,
    /// What, in lower case without a full stop.
    pub message: String,
}

impl Violation {
    /// A violation at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }

    /// The same violation seen from one level further out.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.path = match (prefix.is_empty(), self.path.is_empty()) {
            (true, _) => self.path,
            (false, true) => prefix.to_owned(),
            (false, false) => format!("{prefix}.{}", self.path),
        };
        self
    }
}

/// All of them in one line, for an error's message.
pub(crate) fn summary(violations: &[Violation]) -> String {
    violations
        .iter()
        .map(|v| format!("`{}` {}", v.path, v.message))
        .collect::<Vec<_>>()
        .join("; ")
}
