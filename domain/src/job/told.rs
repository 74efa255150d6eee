//! What an attempt tells of itself beside its outcome: the secrets it used, the calls it made, the
//! lines it wrote.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sealed::Sealed;

/// A secret that an attempt was given, never its value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SecretUse {
    /// The secret's name.
    pub name: String,
    /// Its version; 0 for what the server's environment holds, which has none.
    pub version: u32,
}

/// What became of a call that went out, or was about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReceiptOutcome {
    /// The other side answered.
    Answered,
    /// It surely did not arrive.
    NotSent,
    /// It is under way, or nobody knows whether it arrived.
    Unknown,
}

/// A call to the outside: where, when, what, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// By which the other side can tell a repetition; the same in each attempt.
    pub idempotency_key: String,
    /// The method, such as `POST`.
    pub method: String,
    /// Where to, in the clear: the origin, and the path in the words of the tool's definition, into
    /// which nothing is filled. Of receipts without a `digest_key`: the URL that it went to, without
    /// the values of its query.
    pub url: String,
    /// The URL that it went to, without secrets, where it says more than `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_url: Option<Sealed>,
    /// SHA-256 over method, URL and body with secrets masked, in hexadecimal digits; with a
    /// `digest_key` the HMAC-SHA-256 of these digits, so that it is no help to guess what was sent.
    pub request_sha256: String,
    /// From which data key of the workspace the digest's key is drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest_key: Option<i64>,
    /// When it left.
    #[schemars(with = "String")]
    pub sent_at: Timestamp,
    /// The HTTP status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What became of it.
    pub outcome: ReceiptOutcome,
    /// Whether the other side takes a repetition for what it is, or repeating changes nothing.
    pub repeatable: bool,
}

/// One line of what a run wrote, or of what the runtime did with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// How important it is: `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// Who wrote it, such as `stdout`, `stderr` or `runtime`.
    pub source: String,
    /// What.
    pub message: String,
}

/// Lines that a run wrote: a JSON array of [`Line`]s, sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lines {
    /// The lines.
    pub sealed: Sealed,
    /// How many.
    pub count: u32,
}

/// What an attempt tells of itself beside its outcome.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// Secrets it was given.
    pub secrets: Vec<SecretUse>,
    /// Calls it made. One with the key of an earlier one replaces that.
    pub receipts: Vec<Receipt>,
    /// Lines it wrote.
    pub lines: Option<Lines>,
}

impl Told {
    /// Whether it tells nothing.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.receipts.is_empty() && self.lines.is_none()
    }
}
