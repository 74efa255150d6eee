//! The job's rules (`handle`) and its memory (`apply`).

use cqrs_es::{Aggregate, event_sink::EventSink};
use jiff::Timestamp;

use super::{
    command::{Command, Ground, Request},
    error::{Error, NODE_LOST},
    event::{Event, Failure},
    state::{Attempt, Job, Status},
    told::{Receipt, ReceiptOutcome, Told},
};
use crate::{
    code::{ErrorCategory, ErrorCode},
    limits,
    name::check_text,
    violation::Violation,
};

impl Job {
    fn must_exist(&self) -> Result<(), Error> {
        if self.exists() {
            Ok(())
        } else {
            Err(Error::Unknown)
        }
    }

    fn must_run(&self, attempt: u32) -> Result<(), Error> {
        self.must_exist()?;
        match self.status {
            Status::Running if attempt == self.attempt() => Ok(()),
            Status::Running | Status::Pending => Err(Error::StaleAttempt {
                attempt,
                current: self.attempt(),
            }),
            status => Err(Error::AlreadyEnded { status }),
        }
    }

    async fn request(&mut self, request: Request, sink: &EventSink<Self>) -> Result<(), Error> {
        if self.exists() {
            return Err(Error::AlreadyRequested);
        }
        request.check().map_err(Error::Invalid)?;
        let event = Event::Requested {
            id: request.id,
            workspace: request.workspace,
            tool: request.tool,
            action: request.action,
            input: request.input,
            is_test: request.is_test,
            priority: request.priority,
            run_at: request.run_at,
            rerun_of: request.rerun_of,
            recorded: request.recorded,
            at: request.at,
        };
        sink.write(event, self).await;
        Ok(())
    }

    async fn start(
        &mut self,
        node: String,
        lease_ms: u64,
        at: Timestamp,
        sink: &EventSink<Self>,
    ) -> Result<(), Error> {
        if self.attempt() >= limits::JOB_ATTEMPTS {
            return Err(Error::TooManyAttempts {
                limit: limits::JOB_ATTEMPTS,
            });
        }
        let event = Event::Started {
            attempt: self.attempt() + 1,
            node,
            lease_ms,
            at,
        };
        sink.write(event, self).await;
        Ok(())
    }

    /// Runs the job elsewhere because its node fell silent. Or gives it up: when that would do a
    /// thing twice; and when it has happened too often, for then the input, not the node, is to
    /// blame.
    async fn take_over(
        &mut self,
        attempt: u32,
        node: String,
        lease_ms: u64,
        at: Timestamp,
        sink: &EventSink<Self>,
    ) -> Result<(), Error> {
        self.must_run(attempt)?;
        let lost = self.attempts.last();
        let doubled = lost.and_then(Attempt::doubled_by_takeover);
        let is_last = self.takeovers >= limits::JOB_TAKEOVERS || attempt >= limits::JOB_ATTEMPTS;
        let error = match doubled {
            Some(call) => outcome_unknown(call),
            None => node_lost(is_last.then_some(self.takeovers + 1)),
        };
        if doubled.is_some() || is_last {
            let event = Event::Failed {
                attempt,
                error,
                duration_us: 0,
                exit_code: None,
                at,
            };
            sink.write(event, self).await;
            return Ok(());
        }
        let event = Event::AttemptFailed {
            attempt,
            error,
            duration_us: 0,
            exit_code: None,
            at,
        };
        sink.write(event, self).await;
        self.start(node, lease_ms, at, sink).await
    }

    /// What is known already is not told again; of a call, the latest counts.
    async fn tell(&mut self, attempt: u32, told: Told, at: Timestamp, sink: &EventSink<Self>) {
        let Told {
            mut secrets,
            receipts,
            lines,
        } = told;
        let mut latest = Vec::<Receipt>::with_capacity(receipts.len());
        for call in receipts.into_iter().rev() {
            let key = &call.idempotency_key;
            if !latest.iter().any(|later| later.idempotency_key == *key) {
                latest.insert(0, call);
            }
        }
        let mut receipts = latest;
        if let Some(known) = self.attempts.iter().rev().find(|a| a.number == attempt) {
            secrets.retain(|secret| !known.secrets.contains(secret));
            receipts.retain(|receipt| !known.receipts.contains(receipt));
        }
        if !secrets.is_empty() {
            let event = Event::SecretsUsed {
                attempt,
                secrets,
                at,
            };
            sink.write(event, self).await;
        }
        for receipt in receipts {
            let event = Event::CallRecorded {
                attempt,
                receipt,
                at,
            };
            sink.write(event, self).await;
        }
        if let Some(lines) = lines {
            let event = Event::LinesWritten { attempt, lines, at };
            sink.write(event, self).await;
        }
    }

    async fn fail(
        &mut self,
        attempt: u32,
        error: Failure,
        (duration_us, exit_code): (u64, Option<i32>),
        retry_at: Option<Timestamp>,
        at: Timestamp,
        sink: &EventSink<Self>,
    ) {
        let next = attempt + 1;
        let doubled = self.attempts.last().and_then(Attempt::doubled_by_retry);
        let may_follow = doubled.is_none() && next <= limits::JOB_ATTEMPTS;
        let Some(run_at) = retry_at.filter(|_| may_follow) else {
            let event = Event::Failed {
                attempt,
                error,
                duration_us,
                exit_code,
                at,
            };
            return sink.write(event, self).await;
        };
        let failed = Event::AttemptFailed {
            attempt,
            error,
            duration_us,
            exit_code,
            at,
        };
        sink.write(failed, self).await;
        let scheduled = Event::RetryScheduled {
            attempt: next,
            run_at,
            at,
        };
        sink.write(scheduled, self).await;
    }
}

impl Aggregate for Job {
    const TYPE: &'static str = "job";
    type Command = Command;
    type Event = Event;
    type Error = Error;
    type Services = ();

    async fn handle(
        &mut self,
        command: Command,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Error> {
        match command {
            Command::Request(request) => self.request(*request, sink).await,
            Command::RequestAndStart {
                request,
                node,
                lease_ms,
            } => {
                let at = request.at;
                self.request(*request, sink).await?;
                self.start(node, lease_ms, at, sink).await
            }
            Command::Start {
                node,
                lease_ms,
                ground,
                at,
            } => {
                self.must_exist()?;
                let stale = |attempt| Error::StaleAttempt {
                    attempt,
                    current: self.attempt(),
                };
                match (self.status, ground) {
                    (Status::Pending, Ground::Due { after }) if after == self.attempt() => {
                        self.start(node, lease_ms, at, sink).await
                    }
                    (Status::Running, Ground::Silent { attempt }) => {
                        self.take_over(attempt, node, lease_ms, at, sink).await
                    }
                    (Status::Running, Ground::Due { .. }) => Err(Error::AlreadyRunning {
                        attempt: self.attempt(),
                    }),
                    (
                        Status::Pending,
                        Ground::Due { after: attempt } | Ground::Silent { attempt },
                    ) => Err(stale(attempt)),
                    (status, _) => Err(Error::AlreadyEnded { status }),
                }
            }
            Command::Progress {
                attempt,
                progress,
                at,
            } => {
                self.must_run(attempt)?;
                if let Some(step) = &progress.step {
                    check_text("step", step, limits::REMARK_CHARS).map_err(Error::Invalid)?;
                }
                if progress
                    .percentage
                    .is_some_and(|p| !(0.0..=100.0).contains(&p))
                {
                    let violation = Violation::new("percentage", "must be from 0 to 100");
                    return Err(Error::Invalid(violation));
                }
                if progress != self.progress {
                    let event = Event::Progressed {
                        attempt,
                        progress,
                        at,
                    };
                    sink.write(event, self).await;
                }
                Ok(())
            }
            Command::Tell { attempt, told, at } => {
                self.must_run(attempt)?;
                self.tell(attempt, told, at, sink).await;
                Ok(())
            }
            Command::TellLate { attempt, told, at } => {
                self.must_exist()?;
                if attempt == 0 || attempt > self.attempt() {
                    return Err(Error::StaleAttempt {
                        attempt,
                        current: self.attempt(),
                    });
                }
                self.tell(attempt, told, at, sink).await;
                Ok(())
            }
            Command::Succeed {
                attempt,
                output,
                duration_us,
                exit_code,
                told,
                at,
            } => {
                self.must_run(attempt)?;
                self.tell(attempt, told, at, sink).await;
                let event = Event::Succeeded {
                    attempt,
                    output,
                    duration_us,
                    exit_code,
                    at,
                };
                sink.write(event, self).await;
                Ok(())
            }
            Command::Fail {
                attempt,
                error,
                duration_us,
                exit_code,
                retry_at,
                told,
                at,
            } => {
                let never_began = attempt == 0 && self.exists() && self.status == Status::Pending;
                if !never_began {
                    self.must_run(attempt)?;
                }
                self.tell(attempt, told, at, sink).await;
                let measured = (duration_us, exit_code);
                let retry_at = retry_at.filter(|_| !never_began);
                self.fail(attempt, error, measured, retry_at, at, sink)
                    .await;
                Ok(())
            }
            Command::Retry { run_at, at } => {
                self.must_exist()?;
                let attempt = self.attempt() + 1;
                match self.status {
                    Status::Failed if attempt > limits::JOB_ATTEMPTS => {
                        Err(Error::TooManyAttempts {
                            limit: limits::JOB_ATTEMPTS,
                        })
                    }
                    Status::Failed => {
                        let event = Event::RetryScheduled {
                            attempt,
                            run_at,
                            at,
                        };
                        sink.write(event, self).await;
                        Ok(())
                    }
                    status => Err(Error::NotFailed { status }),
                }
            }
            // Cancelling twice is fine; cancelling what has ended is not.
            Command::Cancel { reason, at } => {
                self.must_exist()?;
                match self.status {
                    Status::Cancelled => Ok(()),
                    Status::Pending | Status::Running => {
                        if let Some(reason) = &reason {
                            check_text("reason", reason, limits::REMARK_CHARS)
                                .map_err(Error::Invalid)?;
                        }
                        sink.write(Event::Cancelled { reason, at }, self).await;
                        Ok(())
                    }
                    status => Err(Error::AlreadyEnded { status }),
                }
            }
        }
    }

    fn apply(&mut self, event: Event) {
        self.remember(event);
    }
}

fn node_lost(given_up_after: Option<u32>) -> Failure {
    let message = match given_up_after {
        None => "the node that ran it fell silent; another one takes over".to_owned(),
        Some(times) => format!(
            "the node that ran it vanished {times} times in a row; it is not handed to another"
        ),
    };
    Failure {
        code: NODE_LOST.to_owned(),
        category: ErrorCategory::Unknown,
        message,
        retryable: true,
        details: None,
    }
}

fn outcome_unknown(call: &Receipt) -> Failure {
    let known = match (call.outcome, call.status) {
        (ReceiptOutcome::Answered, Some(status)) => format!("which was answered {status}"),
        (ReceiptOutcome::Answered, None) => "which was answered".to_owned(),
        _ => "and whether that arrived is not known".to_owned(),
    };
    Failure {
        code: ErrorCode::OutcomeUnknown.as_str().to_owned(),
        category: ErrorCategory::Unknown,
        message: format!(
            "the node that ran it vanished after {} {}, {known}; it is not run again, for that could do it twice: look there, then `retryJob` or let it be",
            call.method, call.url
        ),
        retryable: false,
        details: None,
    }
}
