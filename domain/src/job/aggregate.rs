//! The job's rules (`handle`) and its memory (`apply`).

use cqrs_es::{Aggregate, event_sink::EventSink};
use jiff::Timestamp;

use super::{
    command::{Command, Request},
    error::Error,
    event::{Event, Failure, Progress},
    state::{Attempt, Job, Requested, Status},
    told::Told,
};
use crate::{code::ErrorCategory, limits, name::check_text, violation::Violation};

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
        if let Some(action) = &request.action {
            check_text("action", action, limits::LABEL_CHARS).map_err(Error::Invalid)?;
        }
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

    /// Runs the job elsewhere because its node fell silent, or gives it up when that has happened
    /// too often: then the input, not the node, is to blame.
    async fn take_over(
        &mut self,
        attempt: u32,
        node: String,
        lease_ms: u64,
        at: Timestamp,
        sink: &EventSink<Self>,
    ) -> Result<(), Error> {
        self.must_run(attempt)?;
        if self.takeovers < limits::JOB_TAKEOVERS {
            return self.start(node, lease_ms, at, sink).await;
        }
        let error = Failure {
            code: "NODE_LOST".to_owned(),
            category: ErrorCategory::Unknown,
            message: format!(
                "the node that ran it vanished {} times in a row; it is not handed to another",
                self.takeovers + 1
            ),
            retryable: true,
            details: None,
        };
        let event = Event::Failed {
            attempt,
            error,
            duration_us: 0,
            exit_code: None,
            at,
        };
        sink.write(event, self).await;
        Ok(())
    }

    async fn tell(&mut self, attempt: u32, told: Told, at: Timestamp, sink: &EventSink<Self>) {
        let Told {
            secrets,
            receipts,
            lines,
        } = told;
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
        let Some(run_at) = retry_at.filter(|_| next <= limits::JOB_ATTEMPTS) else {
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

    fn running(&mut self, attempt: u32) -> Option<&mut Attempt> {
        self.attempts.last_mut().filter(|a| a.number == attempt)
    }

    fn end_attempt(
        &mut self,
        attempt: u32,
        error: Option<Failure>,
        exit_code: Option<i32>,
        at: Timestamp,
    ) {
        if let Some(last) = self.running(attempt) {
            last.finished_at = Some(at);
            last.error = error;
            last.exit_code = exit_code;
        }
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
                takes_over,
                at,
            } => {
                self.must_exist()?;
                match (self.status, takes_over) {
                    (Status::Pending, None) => match self.run_at.filter(|due| *due > at) {
                        Some(run_at) => Err(Error::NotDue { run_at }),
                        None => self.start(node, lease_ms, at, sink).await,
                    },
                    (Status::Running, Some(attempt)) => {
                        self.take_over(attempt, node, lease_ms, at, sink).await
                    }
                    (Status::Running, None) => Err(Error::AlreadyRunning {
                        attempt: self.attempt(),
                    }),
                    (Status::Pending, Some(attempt)) => Err(Error::StaleAttempt {
                        attempt,
                        current: self.attempt(),
                    }),
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
                let taken_over = self.status == Status::Running;
                self.takeovers = if taken_over { self.takeovers + 1 } else { 0 };
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
                if let Some(running) = self.running(attempt) {
                    running.secrets.extend(secrets);
                }
                self.updated_at = Some(at);
            }
            Event::CallRecorded {
                attempt,
                receipt,
                at,
            } => {
                if let Some(running) = self.running(attempt) {
                    let key = &receipt.idempotency_key;
                    let known = running.receipts.iter_mut().rev();
                    match known.into_iter().find(|r| r.idempotency_key == *key) {
                        Some(earlier) => *earlier = receipt,
                        None => running.receipts.push(receipt),
                    }
                }
                self.updated_at = Some(at);
            }
            Event::LinesWritten { attempt, lines, at } => {
                if let Some(running) = self.running(attempt) {
                    running.lines.push(lines);
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
                self.end_attempt(attempt, Some(error), exit_code, at);
                self.updated_at = Some(at);
            }
            Event::RetryScheduled { run_at, at, .. } => {
                self.status = Status::Pending;
                self.run_at = Some(run_at);
                self.error = None;
                self.duration_us = None;
                self.takeovers = 0;
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
}
