//! What a run tells while it goes.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use toolroom_domain::job::{Progress, Receipt, SecretUse};

use super::error::CallError;

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each name says it")]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    /// The level as clients see it, such as `info`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the other side says of its rate limit, counted from its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// Calls that are left.
    pub remaining: Option<u64>,
    /// When there will be more.
    pub reset_after: Option<Duration>,
    /// For how long it wants to be left alone.
    pub retry_after: Option<Duration>,
}

/// Is told what a run does. What it is told holds no secret any more.
#[async_trait]
pub trait Journal: Send + Sync {
    /// How far the run is; must not wait.
    fn progress(&self, progress: Progress);

    /// A line that the run wrote; must not wait.
    fn line(&self, level: Level, source: &str, message: String);

    /// The run was given secrets. Durable with the next [`Self::sending`] or
    /// [`Self::secrets_recorded`].
    fn secrets_used(&self, secrets: Vec<SecretUse>);

    /// A secret is about to be shown outside, before any call is told of. When this returns, all that
    /// were used are durable.
    ///
    /// # Errors
    /// When none may be shown: the job was cancelled, or another node has taken it over.
    async fn secrets_recorded(&self) -> Result<(), CallError>;

    /// A call is about to leave for `sent_url`, which holds no secret but may be personal. When this
    /// returns, it is durable if the call is not repeatable or secrets were used.
    ///
    /// # Errors
    /// When the call must not leave: the job was cancelled, or another node has taken it over.
    async fn sending(&self, receipt: Receipt, sent_url: String) -> Result<(), CallError>;

    /// How the call of the same key ended: its status and outcome count, the rest is as it was when it
    /// left.
    fn received(&self, receipt: Receipt);

    /// What the other side says of its rate limit; must not wait.
    fn announced(&self, announced: Announced) {
        let _ = announced;
    }

    /// With which code the run ended, where it is a process.
    fn exit_code(&self, code: i32);
}
