//! What has happened to a job. Serialised names are frozen.

use cqrs_es::DomainEvent;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::told::{Lines, Receipt, SecretUse};
use crate::{
    claim::EventClaims,
    code::ErrorCategory,
    id::{JobId, ToolId, WorkspaceId},
    sealed::Sealed,
    tool::Kind,
};

/// Which version of which tool a job runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToolRef {
    /// The tool.
    pub id: ToolId,
    /// Its version.
    pub version: u32,
    /// Its kind, by which jobs are filtered.
    pub kind: Kind,
    /// Which connector it is of, such as `SLACK`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector: Option<String>,
}

impl ToolRef {
    /// The tool's type as clients see it: its kind, or its connector's type.
    pub fn type_name(&self) -> &str {
        self.connector.as_deref().unwrap_or(self.kind.as_str())
    }
}

/// Why a run failed. Texts carry no input: what the tool said is in `details`, sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// A stable code, such as `TOOL_FAILED` or `EGRESS_DENIED`.
    pub code: String,
    /// What kind of failure it is.
    pub category: ErrorCategory,
    /// What went wrong, in lower case without a full stop.
    pub message: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// What the tool or the other side said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Sealed>,
}

/// How far a run is, as it says itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// What it is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// From 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percentage: Option<f64>,
}

/// What has happened to a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum Event {
    /// Somebody wants it run.
    #[serde(rename = "JobRequested")]
    Requested {
        /// The job's id.
        id: JobId,
        /// To whom it belongs.
        workspace: WorkspaceId,
        /// What it runs.
        tool: ToolRef,
        /// Which of the tool's actions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        action: Option<String>,
        /// What the tool is given.
        input: Sealed,
        /// Whether it is a rehearsal.
        is_test: bool,
        /// Higher runs first.
        priority: i32,
        /// Not before this moment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<String>")]
        run_at: Option<Timestamp>,
        /// The job that this one repeats.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rerun_of: Option<JobId>,
        /// Whether that one's recorded answer takes the place of a run.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        recorded: bool,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// A node runs it.
    #[serde(rename = "JobStarted")]
    Started {
        /// Counts from 1.
        attempt: u32,
        /// The node that runs it.
        node: String,
        /// For how long that node may be silent before another takes over, in milliseconds.
        lease_ms: u64,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// It told how far it is.
    #[serde(rename = "JobProgressed")]
    Progressed {
        /// Which attempt.
        attempt: u32,
        /// How far.
        progress: Progress,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// It was given secrets.
    #[serde(rename = "JobSecretsUsed")]
    SecretsUsed {
        /// Which attempt.
        attempt: u32,
        /// Which secrets.
        secrets: Vec<SecretUse>,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// A call is about to go out, or how one ended; the latest with a key counts.
    #[serde(rename = "JobCallRecorded")]
    CallRecorded {
        /// Which attempt.
        attempt: u32,
        /// The call.
        receipt: Receipt,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// It wrote lines.
    #[serde(rename = "JobLinesWritten")]
    LinesWritten {
        /// Which attempt.
        attempt: u32,
        /// The lines.
        lines: Lines,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// It gave an output.
    #[serde(rename = "JobSucceeded")]
    Succeeded {
        /// Which attempt.
        attempt: u32,
        /// What the tool gave back.
        output: Sealed,
        /// How long the call took, in microseconds.
        duration_us: u64,
        /// With which code the run ended, where it is a process.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// It gave an error.
    #[serde(rename = "JobFailed")]
    Failed {
        /// Which attempt; 0 when it never began.
        attempt: u32,
        /// Why.
        error: Failure,
        /// How long the call took, in microseconds.
        duration_us: u64,
        /// With which code the run ended, where it is a process.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// An attempt gave an error, and another one follows: `JobRetryScheduled` is appended with it.
    /// Or its node fell silent, and another one takes over: then `JobStarted` is.
    #[serde(rename = "JobAttemptFailed")]
    AttemptFailed {
        /// Which attempt.
        attempt: u32,
        /// Why.
        error: Failure,
        /// How long the call took, in microseconds.
        duration_us: u64,
        /// With which code the run ended, where it is a process.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// A failed job, or one whose attempt failed, shall be tried again.
    #[serde(rename = "JobRetryScheduled")]
    RetryScheduled {
        /// The attempt that will follow.
        attempt: u32,
        /// Not before this moment.
        #[schemars(with = "String")]
        run_at: Timestamp,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// Somebody does not want it any more.
    #[serde(rename = "JobCancelled")]
    Cancelled {
        /// Why, if they said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
}

impl DomainEvent for Event {
    fn event_type(&self) -> String {
        match self {
            Self::Requested { .. } => "JobRequested",
            Self::Started { .. } => "JobStarted",
            Self::Progressed { .. } => "JobProgressed",
            Self::SecretsUsed { .. } => "JobSecretsUsed",
            Self::CallRecorded { .. } => "JobCallRecorded",
            Self::LinesWritten { .. } => "JobLinesWritten",
            Self::AttemptFailed { .. } => "JobAttemptFailed",
            Self::Succeeded { .. } => "JobSucceeded",
            Self::Failed { .. } => "JobFailed",
            Self::RetryScheduled { .. } => "JobRetryScheduled",
            Self::Cancelled { .. } => "JobCancelled",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

impl EventClaims for Event {}
