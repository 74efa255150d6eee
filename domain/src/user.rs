//! Who a person is, in the words of whoever vouches for them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{id::is_shaped_like_an_id, limits, violation::Violation};

/// The user of whoever reaches the loopback address of an embedded server.
const LOCAL: &str = "local";

/// A person's id: the subject of their token, which is a UUID with one issuer and another text with
/// the next. Toolroom gives out none of its own.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct UserId(String);

impl UserId {
    /// A user whom an issuer vouches for: 1–255 characters without spaces and control characters.
    /// Neither the local owner's name nor the shape of one of our ids is taken, or somebody could
    /// pass for what they are not by having such a subject.
    ///
    /// # Errors
    /// The violation, at path `userId`.
    pub fn try_new(text: impl Into<String>) -> Result<Self, Violation> {
        let text = text.into();
        let problem = if text.is_empty() {
            "must not be empty"
        } else if text.chars().count() > limits::USER_ID_CHARS {
            "must have at most 255 characters"
        } else if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            "must not hold spaces or control characters"
        } else if text == LOCAL {
            "is reserved for the owner of a local server"
        } else if is_shaped_like_an_id(&text) {
            "must not be shaped like the id of something else"
        } else {
            return Ok(Self(text));
        };
        Err(Violation::new("userId", problem))
    }

    /// The local owner: whoever reaches the loopback address of an embedded server.
    pub fn local() -> Self {
        Self(LOCAL.to_owned())
    }

    /// The written form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_of_common_issuers_pass() {
        for subject in [
            "8f2d7a52-0c1e-4b61-9d1a-0a2f6d3c9e11",
            "auth0|5f7c8ec7c33c6c004bbafe82",
            "jane@example.com",
        ] {
            assert_eq!(UserId::try_new(subject).unwrap().as_str(), subject);
        }
    }

    #[test]
    fn a_subject_that_could_pass_for_another_is_refused() {
        let long = "x".repeat(256);
        let invitation = "inv_00000000000000000000000000000007";
        for subject in ["", "local", "a b", "a\n", invitation, &long] {
            assert_eq!(
                UserId::try_new(subject).unwrap_err().path,
                "userId",
                "{subject}"
            );
        }
    }
}
