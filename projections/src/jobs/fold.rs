//! How events change a job's entry.

use jiff::Timestamp;
use toolroom_domain::{
    JobId, Sealed, WorkspaceId,
    job::{Attempt, Event, Failure, Progress, Status, ToolRef},
};
use toolroom_eventlog::RecordedEvent;

use crate::projection::ApplyError;

/// What of a job its later events change.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub id: JobId,
    pub status: Status,
    /// Only what was given back since it was loaded.
    pub output: Option<Sealed>,
    pub error: Option<Failure>,
    pub attempts: Vec<Attempt>,
    pub progress: Progress,
    pub run_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub duration_us: Option<u64>,
    pub last_event: i64,
}

/// What of a job never changes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    pub workspace: WorkspaceId,
    pub tool: ToolRef,
    pub action: Option<String>,
    pub input: Sealed,
    pub is_test: bool,
    pub priority: i32,
    pub rerun_of: Option<JobId>,
    pub created_by: String,
    pub created_at: Timestamp,
}

/// The entry and the request of a job that comes into being.
pub(super) fn request(
    event: &RecordedEvent,
    change: Event,
) -> Result<(Entry, Request), ApplyError> {
    let Event::Requested {
        id,
        workspace,
        tool,
        action,
        input,
        is_test,
        priority,
        run_at,
        rerun_of,
        at,
        ..
    } = change
    else {
        return Err(ApplyError::event(event, "the job was never requested"));
    };
    let metadata = event.metadata();
    let created_by = metadata
        .map_err(|error| ApplyError::event(event, error))?
        .actor;
    let entry = Entry {
        id,
        status: Status::Pending,
        output: None,
        error: None,
        attempts: Vec::new(),
        progress: Progress::default(),
        run_at,
        updated_at: at,
        started_at: None,
        finished_at: None,
        duration_us: None,
        last_event: event.position,
    };
    let request = Request {
        workspace,
        tool,
        action,
        input,
        is_test,
        priority,
        rerun_of,
        created_by,
        created_at: at,
    };
    Ok((entry, request))
}

impl Entry {
    /// Takes in a later event.
    pub fn apply(&mut self, event: &RecordedEvent, change: Event) -> Result<(), ApplyError> {
        self.last_event = event.position;
        self.updated_at = match change {
            Event::Requested { .. } => {
                return Err(ApplyError::event(event, "the job was requested before"));
            }
            Event::Started {
                attempt,
                node,
                lease_ms,
                at,
            } => {
                self.status = Status::Running;
                self.progress = Progress::default();
                self.started_at.get_or_insert(at);
                self.attempts.push(Attempt {
                    number: attempt,
                    node,
                    lease_ms,
                    started_at: at,
                    finished_at: None,
                    error: None,
                    exit_code: None,
                    secrets: Vec::new(),
                    receipts: Vec::new(),
                    lines: Vec::new(),
                });
                at
            }
            Event::Progressed { progress, at, .. } => {
                self.progress = progress;
                at
            }
            // What an attempt tells of itself is read from the job.
            Event::SecretsUsed { at, .. }
            | Event::CallRecorded { at, .. }
            | Event::LinesWritten { at, .. } => at,
            Event::AttemptFailed {
                attempt,
                error,
                exit_code,
                at,
                ..
            } => {
                self.status = Status::Pending;
                self.end_attempt(attempt, Some(error), exit_code, at);
                at
            }
            Event::Succeeded {
                attempt,
                output,
                duration_us,
                exit_code,
                at,
            } => {
                self.end(Status::Succeeded, at);
                self.output = Some(output);
                self.error = None;
                self.duration_us = Some(duration_us);
                self.end_attempt(attempt, None, exit_code, at);
                at
            }
            Event::Failed {
                attempt,
                error,
                duration_us,
                exit_code,
                at,
            } => {
                self.end(Status::Failed, at);
                self.duration_us = Some(duration_us);
                self.end_attempt(attempt, Some(error.clone()), exit_code, at);
                self.error = Some(error);
                at
            }
            Event::RetryScheduled { run_at, at, .. } => {
                self.status = Status::Pending;
                self.run_at = Some(run_at);
                self.error = None;
                self.duration_us = None;
                self.finished_at = None;
                at
            }
            Event::Cancelled { at, .. } => {
                self.end(Status::Cancelled, at);
                let attempt = self.attempts.last().map_or(0, |attempt| attempt.number);
                self.end_attempt(attempt, None, None, at);
                at
            }
        };
        Ok(())
    }

    fn end(&mut self, status: Status, at: Timestamp) {
        self.status = status;
        self.finished_at = Some(at);
    }

    fn end_attempt(
        &mut self,
        number: u32,
        error: Option<Failure>,
        exit_code: Option<i32>,
        at: Timestamp,
    ) {
        if let Some(last) = self.attempts.last_mut().filter(|a| a.number == number) {
            last.finished_at = Some(at);
            last.error = error;
            last.exit_code = exit_code;
        }
    }
}
