//! The job's rules (`handle`) and its memory (`apply`).

use std::fmt;

use cqrs_es::{Aggregate, event_sink::EventSink};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    command::{Command, Request},
    error::Error,
    event::{Event, Failure, Progress, ToolRef},
};
use crate::{
    code::ErrorCategory,
    id::{JobId, WorkspaceId},
    limits,
    name::check_text,
    sealed::Sealed,
    violation::Violation,
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
}

/// A job, as its events tell it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Empty until it is requested.
    request: Option<Requested>,
    status: Status,
    attempts: Vec<Attempt>,
    /// How many attempts in a row were taken over because their node fell silent.
    takeovers: u32,
    progress: Progress,
    run_at: Option<Timestamp>,
    output: Option<Sealed>,
    error: Option<Failure>,
    duration_us: Option<u64>,
    updated_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
}

/// What was requested.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Requested {
    id: JobId,
    workspace: WorkspaceId,
    tool: ToolRef,
    action: Option<String>,
    input: Sealed,
    is_test: bool,
    priority: i32,
    rerun_of: Option<JobId>,
    at: Timestamp,
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
            at,
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn end_attempt(&mut self, attempt: u32, error: Option<Failure>, at: Timestamp) {
        if let Some(last) = self.attempts.last_mut().filter(|a| a.number == attempt) {
            last.finished_at = Some(at);
            last.error = error;
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
            Command::Succeed {
                attempt,
                output,
                duration_us,
                at,
            } => {
                self.must_run(attempt)?;
                let event = Event::Succeeded {
                    attempt,
                    output,
                    duration_us,
                    at,
                };
                sink.write(event, self).await;
                Ok(())
            }
            Command::Fail {
                attempt,
                error,
                duration_us,
                at,
            } => {
                let never_began = attempt == 0 && self.exists() && self.status == Status::Pending;
                if !never_began {
                    self.must_run(attempt)?;
                }
                let event = Event::Failed {
                    attempt,
                    error,
                    duration_us,
                    at,
                };
                sink.write(event, self).await;
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
                });
                self.updated_at = Some(at);
            }
            Event::Progressed { progress, at, .. } => {
                self.progress = progress;
                self.updated_at = Some(at);
            }
            Event::Succeeded {
                attempt,
                output,
                duration_us,
                at,
            } => {
                self.status = Status::Succeeded;
                self.output = Some(output);
                self.error = None;
                self.duration_us = Some(duration_us);
                self.end_attempt(attempt, None, at);
                self.updated_at = Some(at);
                self.finished_at = Some(at);
            }
            Event::Failed {
                attempt,
                error,
                duration_us,
                at,
            } => {
                self.status = Status::Failed;
                self.duration_us = Some(duration_us);
                self.end_attempt(attempt, Some(error.clone()), at);
                self.error = Some(error);
                self.updated_at = Some(at);
                self.finished_at = Some(at);
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
                self.end_attempt(attempt, None, at);
                self.updated_at = Some(at);
                self.finished_at = Some(at);
            }
        }
    }
}
