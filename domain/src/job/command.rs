//! What can be asked of a job.

use jiff::{SignedDuration, Timestamp};

use super::{
    event::{Failure, Progress, ToolRef},
    told::Told,
};
use crate::{
    id::{JobId, WorkspaceId},
    limits,
    name::check_text,
    sealed::Sealed,
    violation::Violation,
};

/// What is to be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The job's id.
    pub id: JobId,
    /// To whom it belongs.
    pub workspace: WorkspaceId,
    /// What it runs.
    pub tool: ToolRef,
    /// Which of the tool's actions.
    pub action: Option<String>,
    /// What the tool is given.
    pub input: Sealed,
    /// Whether it is a rehearsal.
    pub is_test: bool,
    /// Higher runs first.
    pub priority: i32,
    /// Not before this moment.
    pub run_at: Option<Timestamp>,
    /// The job that this one repeats.
    pub rerun_of: Option<JobId>,
    /// Whether that one's recorded answer takes the place of a run.
    pub recorded: bool,
    /// When.
    pub at: Timestamp,
}

/// On what ground a node starts a job. Which jobs are due, and which nodes silent, is decided by the
/// clock of the database, on which all nodes agree; the job knows only whether the ground is still
/// the one that was decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// It waited, and was due.
    Due {
        /// Its latest attempt by then; 0 before the first.
        after: u32,
    },
    /// The node that runs this attempt has fallen silent.
    Silent {
        /// Which attempt.
        attempt: u32,
    },
}

impl Request {
    /// Checks what a client chose.
    ///
    /// # Errors
    /// The first violation, at its field's name.
    pub(super) fn check(&self) -> Result<(), Violation> {
        if let Some(action) = &self.action {
            check_text("action", action, limits::LABEL_CHARS)?;
        }
        check_turn(self.priority, self.run_at, self.at)
    }
}

/// Checks when a run shall have its turn, as of a moment.
///
/// # Errors
/// The first violation, at its field's name.
pub fn check_turn(
    priority: i32,
    run_at: Option<Timestamp>,
    at: Timestamp,
) -> Result<(), Violation> {
    let most = limits::JOB_PRIORITY;
    if !(-most..=most).contains(&priority) {
        let problem = format!("must be from -{most} to {most}; higher runs first");
        return Err(Violation::new("priority", problem));
    }
    let ahead = SignedDuration::from_hours(limits::JOB_AHEAD_HOURS);
    if run_at.is_some_and(|run_at| run_at.duration_since(at) > ahead) {
        let days = limits::JOB_AHEAD_HOURS / 24;
        let problem = format!("must be at most {days} days ahead");
        return Err(Violation::new("runAt", problem));
    }
    Ok(())
}

/// What can be asked of a job.
#[derive(Clone, Debug)]
pub enum Command {
    /// Asks for a run in the background.
    Request(Box<Request>),
    /// Asks for a run and begins it, in one append: the way of a call that waits.
    RequestAndStart {
        /// What is to be run.
        request: Box<Request>,
        /// The node that runs it.
        node: String,
        /// For how long that node may be silent, in milliseconds.
        lease_ms: u64,
    },
    /// Begins an attempt.
    Start {
        /// The node that runs it.
        node: String,
        /// For how long that node may be silent, in milliseconds.
        lease_ms: u64,
        /// Why now.
        ground: Ground,
        /// When.
        at: Timestamp,
    },
    /// Tells how far the attempt is.
    Progress {
        /// Which attempt.
        attempt: u32,
        /// How far.
        progress: Progress,
        /// When.
        at: Timestamp,
    },
    /// Tells what the attempt has done so far.
    Tell {
        /// Which attempt.
        attempt: u32,
        /// What.
        told: Told,
        /// When.
        at: Timestamp,
    },
    /// Tells what an attempt had done when the job no longer waited for it: when it was cancelled,
    /// or taken over.
    TellLate {
        /// Which attempt.
        attempt: u32,
        /// What.
        told: Told,
        /// When.
        at: Timestamp,
    },
    /// Ends the attempt with an output.
    Succeed {
        /// Which attempt.
        attempt: u32,
        /// What the tool gave back.
        output: Sealed,
        /// How long the call took, in microseconds.
        duration_us: u64,
        /// With which code the run ended, where it is a process.
        exit_code: Option<i32>,
        /// What it has not told yet.
        told: Told,
        /// When.
        at: Timestamp,
    },
    /// Ends the attempt with an error: the job too, unless another attempt shall follow.
    Fail {
        /// Which attempt; 0 when it cannot even begin.
        attempt: u32,
        /// Why.
        error: Failure,
        /// How long the call took, in microseconds.
        duration_us: u64,
        /// With which code the run ended, where it is a process.
        exit_code: Option<i32>,
        /// When the next attempt is due, if one shall follow.
        retry_at: Option<Timestamp>,
        /// What it has not told yet.
        told: Told,
        /// When.
        at: Timestamp,
    },
    /// Tries a failed job again, with the same input and version.
    Retry {
        /// Not before this moment.
        run_at: Timestamp,
        /// When.
        at: Timestamp,
    },
    /// Ends it, running or not.
    Cancel {
        /// Why, if they say.
        reason: Option<String>,
        /// When.
        at: Timestamp,
    },
}
