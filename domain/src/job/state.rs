//! What a job is, as its events tell it, and how it is read.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    event::{Failure, Progress, ToolRef},
    told::{Lines, Receipt, SecretUse},
};
use crate::{
    code::ErrorCode,
    id::{JobId, WorkspaceId},
    sealed::Sealed,
};

/// Where a job stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// It waits to be started.
    #[default]
    Pending,
    /// A node runs it.
    Running,
    /// It gave an output.
    Succeeded,
    /// It gave an error.
    Failed,
    /// Somebody ended it.
    Cancelled,
}

impl Status {
    /// Whether nothing more happens by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
}

/// One start of a job, and how it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Counts from 1.
    pub number: u32,
    /// The node that ran it.
    pub node: String,
    /// For how long that node might be silent, in milliseconds.
    pub lease_ms: u64,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why it failed, if it did.
    pub error: Option<Failure>,
    /// With which code it ended, where it is a process.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// The secrets it was given.
    #[serde(default)]
    pub secrets: Vec<SecretUse>,
    /// The calls it made.
    #[serde(default)]
    pub receipts: Vec<Receipt>,
    /// The lines it wrote, in the order of their appends.
    #[serde(default)]
    pub lines: Vec<Lines>,
}

/// A job, as its events tell it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Empty until it is requested.
    pub(super) request: Option<Requested>,
    pub(super) status: Status,
    pub(super) attempts: Vec<Attempt>,
    /// How many attempts in a row were taken over because their node fell silent.
    pub(super) takeovers: u32,
    /// How many attempts have failed since it was requested, or retried by hand, and were repeated.
    #[serde(default)]
    pub(super) failures: u32,
    pub(super) progress: Progress,
    pub(super) run_at: Option<Timestamp>,
    pub(super) output: Option<Sealed>,
    pub(super) error: Option<Failure>,
    pub(super) duration_us: Option<u64>,
    pub(super) updated_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
}

/// What was requested.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Requested {
    pub(super) id: JobId,
    pub(super) workspace: WorkspaceId,
    pub(super) tool: ToolRef,
    pub(super) action: Option<String>,
    pub(super) input: Sealed,
    pub(super) is_test: bool,
    pub(super) priority: i32,
    pub(super) rerun_of: Option<JobId>,
    #[serde(default)]
    pub(super) recorded: bool,
    pub(super) at: Timestamp,
}

#[allow(missing_docs, reason = "each reads the fact that its name says")]
impl Job {
    pub fn exists(&self) -> bool {
        self.request.is_some()
    }

    pub fn id(&self) -> Option<JobId> {
        self.request.as_ref().map(|r| r.id)
    }

    pub fn workspace(&self) -> Option<WorkspaceId> {
        self.request.as_ref().map(|r| r.workspace)
    }

    pub fn tool(&self) -> Option<&ToolRef> {
        self.request.as_ref().map(|r| &r.tool)
    }

    pub fn action(&self) -> Option<&str> {
        self.request.as_ref().and_then(|r| r.action.as_deref())
    }

    pub fn input(&self) -> Option<&Sealed> {
        self.request.as_ref().map(|r| &r.input)
    }

    pub fn is_test(&self) -> bool {
        self.request.as_ref().is_some_and(|r| r.is_test)
    }

    pub fn priority(&self) -> i32 {
        self.request.as_ref().map_or(0, |r| r.priority)
    }

    pub fn rerun_of(&self) -> Option<JobId> {
        self.request.as_ref().and_then(|r| r.rerun_of)
    }

    /// Whether it is answered from the record of [`Self::rerun_of`] in place of a run.
    pub fn is_recorded(&self) -> bool {
        self.request.as_ref().is_some_and(|r| r.recorded)
    }

    /// How many attempts have failed and were repeated, since it was requested or retried by hand.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether an attempt that ends with this error has only waited for the tool's rate, and sent
    /// nothing: that is none of the attempts that the tool's policy grants.
    pub fn is_kept_back(&self, error: &Failure) -> bool {
        let last = self.attempts.last();
        error.code == ErrorCode::RateLimitExceeded.as_str()
            && last.is_none_or(|attempt| attempt.receipts.is_empty())
    }

    pub fn requested_at(&self) -> Option<Timestamp> {
        self.request.as_ref().map(|r| r.at)
    }

    pub fn status(&self) -> Status {
        self.status
    }

    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    pub fn run_at(&self) -> Option<Timestamp> {
        self.run_at
    }

    pub fn output(&self) -> Option<&Sealed> {
        self.output.as_ref()
    }

    pub fn error(&self) -> Option<&Failure> {
        self.error.as_ref()
    }

    /// How long the last call took, in microseconds.
    pub fn duration_us(&self) -> Option<u64> {
        self.duration_us
    }

    pub fn updated_at(&self) -> Option<Timestamp> {
        self.updated_at
    }

    pub fn finished_at(&self) -> Option<Timestamp> {
        self.finished_at
    }

    /// The number of the latest attempt; 0 before the first.
    pub fn attempt(&self) -> u32 {
        self.attempts.last().map_or(0, |a| a.number)
    }
}
