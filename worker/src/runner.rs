//! The hot path: a call that its sender waits for runs at once, on the node that takes it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use toolroom_domain::{
    ErrorCode, JobId, Refusal as _,
    job::{self, Command, Job, Request, ToolRef, seal_context},
    port::{Offered, PortError, RunOutcome, RunRequest, Runner},
};
use toolroom_eventlog::{
    CommandContext, CommandError, Executed,
    command::{NamedCommand, Target},
    vault,
};

use crate::{
    attempt::{Attempts, Begin, Begun, LEASE_MS, Started, told},
    calls::Calls,
    ends::Ends,
    gate::{self, Denied, Ground, Wait},
};

/// How often who waits for a job looks whether it has ended, should the hint of its end be lost.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// When a client that was turned away for want of room may come again.
const BUSY_RETRY_MS: u64 = 1_000;

/// Runs calls on this node.
#[derive(Clone)]
pub struct NodeRunner {
    attempts: Attempts,
    calls: Calls,
    ends: Ends,
    room: Room,
    stopping: Stopping,
}

/// How many calls this node may make at once.
#[derive(Clone, Debug)]
pub struct Room {
    /// Calls whose sender waits.
    pub foreground: Arc<Semaphore>,
    /// Background jobs: those that are offered to this node, and those that it takes from the queue.
    pub background: Arc<Semaphore>,
}

/// When those who wait for a call are told that it goes on without them.
#[derive(Clone, Debug)]
pub struct Stopping {
    /// The node takes no more work.
    pub begun: CancellationToken,
    /// For how long calls may still end then. Connections are closed after it, so who waits is
    /// answered before.
    pub grace: Duration,
}

impl Stopping {
    async fn nearly_over(&self) {
        self.begun.cancelled().await;
        tokio::time::sleep(self.grace.mul_f64(0.8)).await;
    }
}

impl NodeRunner {
    /// A runner with room for so many calls at once.
    pub fn new(
        attempts: Attempts,
        calls: Calls,
        ends: Ends,
        room: Room,
        stopping: Stopping,
    ) -> Self {
        Self {
            attempts,
            calls,
            ends,
            room,
            stopping,
        }
    }

    /// The start of a run: what is to be put on record before it, or with its end.
    async fn begin(
        &self,
        request: &RunRequest,
        mut context: CommandContext,
    ) -> Result<Begin, PortError> {
        let at = self.attempts.clock.now();
        let input = self
            .attempts
            .vault
            .seal_value(
                request.workspace,
                &seal_context(request.job, "input"),
                &request.input,
            )
            .await
            .map_err(|error| not_kept(&error))?
            .beside(&mut context);
        let command = Command::RequestAndStart {
            request: Box::new(Request {
                id: request.job,
                workspace: request.workspace,
                tool: ToolRef {
                    id: request.tool,
                    version: request.version,
                    kind: request.definition.config.kind(),
                    connector: request.definition.config.connector().map(str::to_owned),
                },
                action: request.action.clone(),
                input,
                is_test: request.is_test,
                priority: request.priority,
                run_at: None,
                rerun_of: None,
                recorded: false,
                at,
            }),
            node: self.attempts.node.to_string(),
            lease_ms: LEASE_MS,
        };
        Ok(Begin {
            target: Target::New(request.job.to_string()),
            command,
            context,
        })
    }

    /// Tells what the command came to, and makes the call unless that was made before.
    async fn begin_and_carry_out(
        self,
        request: RunRequest,
        context: CommandContext,
        room: (OwnedSemaphorePermit, gate::Place),
        may_wait: Wait,
        tell: oneshot::Sender<Result<Executed<Job>, PortError>>,
    ) -> Option<Result<RunOutcome, CommandError<job::Error>>> {
        // Taken before the job exists, so that a cancellation finds the call from the first moment.
        let Some(place) = self.calls.enter(request.job, 1) else {
            let _ = tell.send(Err(internal("the job id is in use")));
            return None;
        };
        let begin = match self.begin(&request, context.clone()).await {
            Ok(begin) => begin,
            Err(error) => {
                let _ = tell.send(Err(error));
                return None;
            }
        };
        let may_go_ahead = self.attempts.may_go_ahead(&request.definition);
        let started = |job| Started {
            workspace: request.workspace,
            id: request.job,
            job,
            definition: request.definition,
            input: request.input,
            place,
            context,
            wait: may_wait,
        };
        // Whoever sent the command may have gone: the call is made all the same.
        let tell = |begun: Begun| {
            let _ = tell.send(begun.map_err(|error| port_error(&error)));
        };
        let outcome = if may_go_ahead {
            let job = match begin.target.after(begin.command.clone()).await {
                Ok(job) => job,
                Err(error) => {
                    tell(Err(CommandError::Refused(error)));
                    return None;
                }
            };
            self.attempts
                .carry_out_ahead(started(job), begin, tell)
                .await
        } else {
            let Begin {
                target,
                command,
                context,
            } = begin;
            let begun = self.attempts.bus.execute(target, command, &context).await;
            let begun = told(begun, tell)?;
            Some(self.attempts.carry_out(started(begun.after)).await)
        };
        drop(room);
        outcome
    }

    /// Waits for the end of a job, whichever node has its next attempt; gives it as it is when
    /// `wait` is over, or this node stops.
    async fn wait_for_end(
        &self,
        job: JobId,
        so_far: RunOutcome,
        context: &CommandContext,
        until: tokio::time::Instant,
    ) -> Result<RunOutcome, PortError> {
        let waiting = self.ends.wait_for(job);
        let mut told = std::pin::pin!(waiting.told());
        let mut so_far = so_far;
        loop {
            // Registered with the hint before the job is looked at.
            let hinted = futures::poll!(&mut told).is_ready();
            so_far.job = self
                .attempts
                .bus
                .load::<Job>(context.workspace, &job.to_string())
                .await
                .map_err(|error| port_error(&error))?
                .aggregate;
            if so_far.job.status().is_final() {
                return Ok(so_far);
            }
            if hinted {
                told.set(waiting.told());
                continue;
            }
            tokio::select! {
                () = &mut told => told.set(waiting.told()),
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                () = tokio::time::sleep_until(until) => return Ok(so_far),
                () = self.stopping.nearly_over() => return Ok(so_far),
            }
        }
    }
}

fn context(request: &RunRequest) -> CommandContext {
    CommandContext {
        workspace: request.workspace,
        actor: request.actor.clone(),
        named: named(request),
        correlation_id: request.correlation_id.clone(),
        causation_id: None,
        ip: request.ip.clone(),
        user_agent: request.user_agent.clone(),
        side: Vec::new(),
    }
}

fn named(request: &RunRequest) -> Option<NamedCommand> {
    let (id, asked) = request.named.as_ref()?;
    Some(NamedCommand {
        id: id.clone(),
        request: asked.clone(),
    })
}

#[async_trait]
impl Runner for NodeRunner {
    async fn run(&self, request: RunRequest, wait: Duration) -> Result<RunOutcome, PortError> {
        let Ok(room) = Arc::clone(&self.room.foreground).try_acquire_owned() else {
            return Err(PortError {
                code: ErrorCode::ServiceUnavailable,
                message: "this node makes as many calls as it can; try again in a moment, or submit the job to run in the background".to_owned(),
                violations: Vec::new(),
                retry_after_ms: Some(BUSY_RETRY_MS),
            });
        };
        let (workspace, tool) = (request.workspace, request.tool);
        let part = self.attempts.gate.place(Ground::Fore, workspace, tool);
        let room = (room, part.map_err(denied)?);
        let until = tokio::time::Instant::now() + wait;
        let context = context(&request);
        // A task of its own: what was begun goes on when the sender goes away, or has waited long
        // enough.
        let (tell, told) = oneshot::channel();
        let call = tokio::spawn(self.clone().begin_and_carry_out(
            request,
            context.clone(),
            room,
            Wait {
                ground: Ground::Fore,
                until,
            },
            tell,
        ));
        let begun = match told.await {
            Ok(Ok(started)) => started,
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(internal("the call could not be carried out")),
        };
        let mut so_far = RunOutcome {
            job: begun.after.aggregate,
            global_seq: begun.global_seq.unwrap_or_default(),
        };
        if !begun.repeated {
            let ended = tokio::select! {
                biased;
                ended = call => ended,
                () = tokio::time::sleep_until(until) => return Ok(so_far),
                () = self.stopping.nearly_over() => return Ok(so_far),
            };
            so_far = match ended {
                Ok(Some(Ok(outcome))) => RunOutcome {
                    global_seq: outcome.global_seq.max(so_far.global_seq),
                    ..outcome
                },
                Ok(Some(Err(error))) => return Err(port_error(&error)),
                Ok(None) | Err(_) => return Err(internal("the call could not be carried out")),
            };
        }
        match so_far.job.id() {
            Some(job) if !so_far.job.status().is_final() => {
                self.wait_for_end(job, so_far, &context, until).await
            }
            _ => Ok(so_far),
        }
    }

    async fn offer(&self, request: RunRequest) -> Result<Offered, PortError> {
        let free = Arc::clone(&self.room.background).try_acquire_owned();
        let free = free.ok().filter(|_| !self.stopping.begun.is_cancelled());
        // What would only wait here waits in the queue.
        let part = || self.attempts.gate.offer(request.workspace, request.tool);
        let Some(room) = free.and_then(|free| Some((free, part()?))) else {
            return Ok(Offered::NoRoom(Box::new(request)));
        };
        let context = context(&request);
        let (tell, told) = oneshot::channel();
        tokio::spawn(self.clone().begin_and_carry_out(
            request,
            context,
            room,
            Wait::in_background(),
            tell,
        ));
        match told.await {
            Ok(Ok(started)) => Ok(Offered::Begun(Box::new(RunOutcome {
                job: started.after.aggregate,
                global_seq: started.global_seq.unwrap_or_default(),
            }))),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(internal("the call could not be carried out")),
        }
    }
}

fn denied(denied: Denied) -> PortError {
    PortError {
        code: denied.code,
        message: denied.message,
        violations: Vec::new(),
        retry_after_ms: u64::try_from(denied.retry_after.as_millis()).ok(),
    }
}

fn internal(message: &str) -> PortError {
    PortError {
        code: ErrorCode::InternalError,
        message: message.to_owned(),
        violations: Vec::new(),
        retry_after_ms: None,
    }
}

fn not_kept(error: &vault::Error) -> PortError {
    let refused = |code| PortError {
        code,
        ..internal(&error.to_string())
    };
    match error {
        vault::Error::Database(_) => port_error(&CommandError::Unavailable),
        vault::Error::Erased => refused(ErrorCode::Conflict),
        vault::Error::TooLarge { .. } | vault::Error::TooManyValues { .. } => {
            refused(ErrorCode::PayloadTooLarge)
        }
        other => {
            tracing::error!(error = %other, "a value could not be sealed");
            internal("the input could not be kept")
        }
    }
}

fn port_error(error: &CommandError<job::Error>) -> PortError {
    let (code, violations, retry_after_ms) = match error {
        CommandError::Refused(refusal) => (refusal.code(), refusal.violations(), None),
        CommandError::NotFound => (ErrorCode::NotFound, Vec::new(), None),
        CommandError::NameTaken { .. } | CommandError::Erased => {
            (ErrorCode::Conflict, Vec::new(), None)
        }
        CommandError::IdempotencyConflict => (ErrorCode::IdempotencyConflict, Vec::new(), None),
        CommandError::Contended | CommandError::Unavailable => (
            ErrorCode::ServiceUnavailable,
            Vec::new(),
            Some(BUSY_RETRY_MS),
        ),
        CommandError::Internal(source) => {
            tracing::error!(error = %source, "a job's command failed");
            (ErrorCode::InternalError, Vec::new(), None)
        }
    };
    PortError {
        code,
        message: error.to_string(),
        violations,
        retry_after_ms,
    }
}
