//! What a job remembers of its events.

use jiff::Timestamp;

use super::{
    error::NODE_LOST,
    event::{Event, Failure, Progress},
    state::{Attempt, Job, Requested, Status},
};

impl Job {
    pub(super) fn remember(&mut self, event: Event) {
        match event {
            Event::Requested {
                id,
                workspace,
                tool,
                action,
                input,
                is_test,
                priority,
                run_at,
                rerun_of,
                recorded,
                at,
            } => {
                self.request = Some(Requested {
                    id,
                    workspace,
                    tool,
                    action,
                    input,
                    is_test,
                    priority,
                    rerun_of,
                    recorded,
                    at,
                });
                self.run_at = run_at;
                self.updated_at = Some(at);
            }
            Event::Started {
                attempt,
                node,
                lease_ms,
                at,
            } => {
                // Before attempts that are lost got an end of their own.
                if self.status == Status::Running {
                    self.takeovers += 1;
                }
                self.status = Status::Running;
                self.progress = Progress::default();
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
                self.updated_at = Some(at);
            }
            Event::Progressed { progress, at, .. } => {
                self.progress = progress;
                self.updated_at = Some(at);
            }
            Event::SecretsUsed {
                attempt,
                secrets,
                at,
            } => {
                if let Some(attempt) = self.numbered(attempt) {
                    attempt.secrets.extend(secrets);
                }
                self.updated_at = Some(at);
            }
            Event::CallRecorded {
                attempt,
                receipt,
                at,
            } => {
                if let Some(attempt) = self.numbered(attempt) {
                    let key = &receipt.idempotency_key;
                    let mut known = attempt.receipts.iter_mut();
                    match known.find(|r| r.idempotency_key == *key) {
                        Some(earlier) => *earlier = receipt,
                        None => attempt.receipts.push(receipt),
                    }
                }
                self.updated_at = Some(at);
            }
            Event::LinesWritten { attempt, lines, at } => {
                if let Some(attempt) = self.numbered(attempt) {
                    attempt.lines.push(lines);
                }
                self.updated_at = Some(at);
            }
            Event::Succeeded {
                attempt,
                output,
                duration_us,
                exit_code,
                at,
            } => {
                self.status = Status::Succeeded;
                self.output = Some(output);
                self.error = None;
                self.duration_us = Some(duration_us);
                self.end_attempt(attempt, None, exit_code, at);
                self.updated_at = Some(at);
                self.finished_at = Some(at);
            }
            Event::Failed {
                attempt,
                error,
                duration_us,
                exit_code,
                at,
            } => {
                self.status = Status::Failed;
                self.duration_us = Some(duration_us);
                self.end_attempt(attempt, Some(error.clone()), exit_code, at);
                self.error = Some(error);
                self.updated_at = Some(at);
                self.finished_at = Some(at);
            }
            Event::AttemptFailed {
                attempt,
                error,
                exit_code,
                at,
                ..
            } => {
                if error.code == NODE_LOST {
                    self.takeovers += 1;
                } else {
                    self.failures += u32::from(!self.is_kept_back(&error));
                    self.takeovers = 0;
                }
                self.end_attempt(attempt, Some(error), exit_code, at);
                self.status = Status::Pending;
                self.updated_at = Some(at);
            }
            Event::RetryScheduled { run_at, at, .. } => {
                // By hand: the count begins anew.
                if self.status == Status::Failed {
                    self.failures = 0;
                    self.takeovers = 0;
                }
                self.status = Status::Pending;
                self.run_at = Some(run_at);
                self.error = None;
                self.duration_us = None;
                self.updated_at = Some(at);
                self.finished_at = None;
            }
            Event::Cancelled { at, .. } => {
                self.status = Status::Cancelled;
                let attempt = self.attempt();
                self.end_attempt(attempt, None, None, at);
                self.updated_at = Some(at);
                self.finished_at = Some(at);
            }
        }
    }

    /// Not only the latest: a node that was taken for dead may tell later what it had done.
    fn numbered(&mut self, attempt: u32) -> Option<&mut Attempt> {
        self.attempts.iter_mut().rev().find(|a| a.number == attempt)
    }

    fn end_attempt(
        &mut self,
        attempt: u32,
        error: Option<Failure>,
        exit_code: Option<i32>,
        at: Timestamp,
    ) {
        if let Some(last) = self.numbered(attempt) {
            last.finished_at = Some(at);
            last.error = error;
            last.exit_code = exit_code;
        }
    }
}
