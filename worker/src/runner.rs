//! The hot path: a call that its sender waits for runs at once, on the node that takes it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use toolroom_domain::{
    ErrorCode, Refusal as _,
    job::{self, Command, Job, Request, ToolRef, seal_context},
    port::{PortError, RunOutcome, RunRequest, Runner},
};
use toolroom_eventlog::{
    CommandContext, CommandError, Executed,
    command::{NamedCommand, Target},
};

use crate::{
    attempt::{Attempts, LEASE_MS, Started},
    calls::Calls,
};

/// How often a repeated command looks whether the job of the first has ended elsewhere.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// When a client that was turned away for want of room may come again.
const BUSY_RETRY_MS: u64 = 1_000;

/// Runs calls on this node.
#[derive(Clone)]
pub struct NodeRunner {
    attempts: Attempts,
    calls: Calls,
    room: Arc<Semaphore>,
}

impl NodeRunner {
    /// A runner with room for so many calls at once.
    pub fn new(attempts: Attempts, calls: Calls, room: usize) -> Self {
        Self {
            attempts,
            calls,
            room: Arc::new(Semaphore::new(room)),
        }
    }

    async fn begin(
        &self,
        request: &RunRequest,
        context: &CommandContext,
    ) -> Result<Executed<Job>, PortError> {
        let at = self.attempts.clock.now();
        let input = self
            .attempts
            .vault
            .seal(
                request.workspace,
                &seal_context(request.job, "input"),
                &request.input,
            )
            .await
            .map_err(|error| unavailable_or_internal(&error))?;
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
                priority: 0,
                run_at: None,
                rerun_of: None,
                at,
            }),
            node: self.attempts.node.clone(),
            lease_ms: LEASE_MS,
        };
        self.attempts
            .bus
            .execute(Target::New(request.job.to_string()), command, context)
            .await
            .map_err(|error| port_error(&error))
    }

    /// Tells what the command came to, and then makes the call unless that was made before.
    async fn begin_and_carry_out(
        self,
        request: RunRequest,
        context: CommandContext,
        room: OwnedSemaphorePermit,
        tell: oneshot::Sender<Result<Executed<Job>, PortError>>,
    ) -> Option<Result<RunOutcome, CommandError<job::Error>>> {
        // Taken before the job exists, so that a cancellation finds the call from the first moment.
        let Some(place) = self.calls.enter(request.job, 1) else {
            let _ = tell.send(Err(internal("the job id is in use")));
            return None;
        };
        let begun = self.begin(&request, &context).await;
        // Whoever sent the command may have gone: the call is made all the same.
        let _ = tell.send(begun.clone());
        let started = begun.ok().filter(|started| !started.repeated)?;
        let started = Started {
            workspace: request.workspace,
            id: request.job,
            job: started.after,
            definition: request.definition,
            input: request.input,
            place,
            context,
        };
        let outcome = self.attempts.carry_out(started).await;
        drop(room);
        Some(outcome)
    }

    /// Of a command that was sent before: waits for the end of the job that the first became.
    async fn wait_for_first(
        &self,
        first: Executed<Job>,
        context: &CommandContext,
        wait: Duration,
    ) -> Result<RunOutcome, PortError> {
        let deadline = tokio::time::Instant::now() + wait;
        let global_seq = first.global_seq.unwrap_or_default();
        let mut job = first.after.aggregate;
        while !job.status().is_final() && tokio::time::Instant::now() < deadline {
            let ended = async {
                match job.id().and_then(|id| self.calls.get(id)) {
                    Some(call) => call.ended().await,
                    None => tokio::time::sleep(LOOK_INTERVAL).await,
                }
            };
            let _ = tokio::time::timeout_at(deadline, ended).await;
            job = self
                .attempts
                .bus
                .load::<Job>(context.workspace, &first.aggregate_id)
                .await
                .map_err(|error| port_error(&error))?
                .aggregate;
        }
        Ok(RunOutcome { job, global_seq })
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
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            return Err(PortError {
                code: ErrorCode::ServiceUnavailable,
                message: "this node makes as many calls as it can; try again in a moment, or submit the job to run in the background".to_owned(),
                violations: Vec::new(),
                retry_after_ms: Some(BUSY_RETRY_MS),
            });
        };
        let context = CommandContext {
            workspace: request.workspace,
            actor: request.actor.clone(),
            named: named(&request),
            correlation_id: request.correlation_id.clone(),
            causation_id: None,
            ip: request.ip.clone(),
            user_agent: request.user_agent.clone(),
            side: Vec::new(),
        };
        // A task of its own: what was begun goes on when the sender goes away, or has waited long
        // enough.
        let (tell, told) = oneshot::channel();
        let call =
            tokio::spawn(
                self.clone()
                    .begin_and_carry_out(request, context.clone(), room, tell),
            );
        match told.await {
            Ok(Ok(started)) if started.repeated => {
                self.wait_for_first(started, &context, wait).await
            }
            Ok(Ok(started)) => {
                let begun = RunOutcome {
                    job: started.after.aggregate,
                    global_seq: started.global_seq.unwrap_or_default(),
                };
                let ended = tokio::time::timeout(wait, call).await;
                match ended {
                    Ok(Ok(Some(Ok(outcome)))) => Ok(RunOutcome {
                        global_seq: outcome.global_seq.max(begun.global_seq),
                        ..outcome
                    }),
                    Ok(Ok(Some(Err(error)))) => Err(port_error(&error)),
                    Ok(Ok(None) | Err(_)) => Err(internal("the call could not be carried out")),
                    Err(_) => Ok(begun),
                }
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(internal("the call could not be carried out")),
        }
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

fn unavailable_or_internal(error: &toolroom_eventlog::vault::Error) -> PortError {
    match error {
        toolroom_eventlog::vault::Error::Database(_) => port_error(&CommandError::Unavailable),
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
        CommandError::NameTaken { .. } => (ErrorCode::Conflict, Vec::new(), None),
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
