//! One attempt of a job: the call, what it tells while it goes, and the append of what came of it.

mod ahead;
mod lines;
mod outcome;
mod receipt;
mod recorded;
mod recorder;

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use serde_json::Value;
use sqlx::PgPool;
use toolroom_domain::{
    Clock, JobId, WorkspaceId,
    connector::TEST_CONNECTION,
    job::{self, Command, Job, Told, ToolRef},
    port::RunOutcome,
    tool::{Definition, Kind},
};
use toolroom_eventlog::{
    CommandBus, CommandContext, CommandError, Loaded, Vault, append::SideRow, command::Target,
    live::Live,
};

pub(crate) use self::ahead::{Begin, Begun, told};
use self::recorder::Recorder;
use crate::{
    calls::Place,
    executor::{self, CallError, Executor, Journal as _, Level},
    gate::{Ask, Gate, Ground, Proof, Settled, Steps, Wait},
    leasing::lease,
};

/// For how long a node may be silent before its jobs are taken over, in milliseconds.
pub const LEASE_MS: u64 = 30_000;

/// The longest pause between tries to append an outcome while the database is away.
const OUTCOME_RETRY_MAX: Duration = Duration::from_secs(5);

/// What carries attempts out.
#[derive(Clone)]
pub struct Attempts {
    pub(crate) bus: CommandBus,
    /// Where leases are kept.
    pub(crate) leases: PgPool,
    pub(crate) vault: Vault,
    pub(crate) live: Live,
    pub(crate) executor: Arc<Executor>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) gate: Gate,
    /// This node's name, as it is written on `JobStarted`.
    pub(crate) node: Arc<str>,
}

/// An attempt that this node has started.
pub(crate) struct Started {
    pub(crate) workspace: WorkspaceId,
    pub(crate) id: JobId,
    pub(crate) job: Loaded<Job>,
    pub(crate) definition: Arc<Definition>,
    pub(crate) input: Value,
    pub(crate) place: Place,
    pub(crate) context: CommandContext,
    /// For how long the call may wait to be made.
    pub(crate) wait: Wait,
}

/// How an attempt ends.
struct Ending {
    command: Command,
    /// What is written beside the command's events.
    side: Vec<SideRow>,
    /// What the call did, of which the command tells; and what is written beside that.
    told: (Told, Vec<SideRow>),
}

impl Attempts {
    /// Makes the call and appends its outcome, whatever it takes: the outcome of a call that was
    /// made is not given up because the database is away. The job that comes back may wait for its
    /// next attempt.
    ///
    /// # Errors
    /// When the outcome could not be appended for another reason.
    pub(crate) async fn carry_out(
        &self,
        mut started: Started,
    ) -> Result<RunOutcome, CommandError<job::Error>> {
        let begun = Instant::now();
        let recorder = Arc::new(Recorder::new(self, &started));
        let call = self.told_call(&started, &recorder);
        let (result, ()) = tokio::join!(call, recorder.tell_along());
        self.end(&mut started, &recorder, result, begun.elapsed())
            .await
    }

    async fn told_call(
        &self,
        started: &Started,
        recorder: &Arc<Recorder>,
    ) -> Result<Value, CallError> {
        let result = self.call(started, recorder).await;
        recorder.stop_telling();
        result
    }

    /// Appends what came of a call.
    async fn end(
        &self,
        started: &mut Started,
        recorder: &Recorder,
        result: Result<Value, CallError>,
        elapsed: Duration,
    ) -> Result<RunOutcome, CommandError<job::Error>> {
        let ending = self.ending(started, recorder, result, elapsed).await?;
        self.append_outcome(started, recorder, ending).await
    }

    /// The command that ends an attempt, and what is written beside its events.
    async fn ending(
        &self,
        started: &mut Started,
        recorder: &Recorder,
        result: Result<Value, CallError>,
        elapsed: Duration,
    ) -> Result<Ending, CommandError<job::Error>> {
        let result = recorder.judged(result);
        let outcome = match &result {
            Ok(_) => "succeeded",
            Err(_) if started.place.cancel.is_cancelled() => "aborted",
            Err(_) => "failed",
        };
        metrics::counter!("toolroom_job_attempts", "outcome" => outcome).increment(1);
        metrics::histogram!("toolroom_job_call_seconds").record(elapsed);
        let duration_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        // It may be large, and is not needed beside what came of it.
        started.input = Value::Null;
        let mut told_side = Vec::new();
        let told = recorder.all_told(&mut told_side).await?;
        let mut side = told_side.clone();
        let measured = (duration_us, told.clone());
        let command = self
            .outcome(started, recorder, measured, result, &mut side)
            .await?;
        Ok(Ending {
            command,
            side,
            told: (told, told_side),
        })
    }

    async fn call(&self, started: &Started, recorder: &Arc<Recorder>) -> Result<Value, CallError> {
        let job = &started.job.aggregate;
        let Some(tool) = job.tool() else {
            return Err(CallError::invalid("the job names no tool"));
        };
        let tell = |line| recorder.line(Level::Info, "gate", line);
        let ask = self.ask(started, tool, &tell);
        let announced = || recorder.take_announced();
        let steps = Steps::new(&self.gate, &ask, &announced);
        let call = executor::Call {
            workspace: started.workspace,
            job: started.id,
            attempt: job.attempt(),
            tool: tool.id,
            version: tool.version,
            definition: &started.definition,
            action: job.action(),
            input: &started.input,
            is_test: job.is_test(),
            journal: recorder,
            pacing: &steps,
            cancel: started.place.cancel.clone(),
        };
        if job.is_recorded() {
            return self.recall(started, &call).await;
        }
        // What is only shown asks nobody, and says nothing of the other side.
        if !self.executor.may_send(&call) {
            return self.executor.run(call).await;
        }
        let cancel = &started.place.cancel;
        let settled = |outcome: &Result<Value, CallError>| {
            Settled::of(outcome, proof(job, steps.any()), announced())
        };
        self.gate
            .guard(&ask, cancel, self.executor.run(call), settled)
            .await
    }

    fn ask<'a>(
        &self,
        started: &'a Started,
        tool: &'a ToolRef,
        tell: &'a (dyn Fn(String) + Send + Sync),
    ) -> Ask<'a> {
        let job = &started.job.aggregate;
        Ask {
            workspace: started.workspace,
            tool: tool.id,
            tool_type: tool.connector.as_deref().unwrap_or(tool.kind.as_str()),
            timeout: Duration::from_millis(started.definition.policy.resolve().timeout_ms),
            deadline: started.wait.until,
            since: match started.wait.ground {
                Ground::Back => job.run_at().or(job.requested_at()),
                Ground::Fore => None,
            },
            is_trial: job.action() == Some(TEST_CONNECTION),
            tell,
        }
    }

    /// A lease that a heartbeat has made longer would keep the next attempt waiting for its end.
    async fn give_back(&self, job: &str, attempt: u32) {
        if let Err(error) = lease::end(&self.leases, job, attempt).await {
            tracing::debug!(job, %error, "a lease was not given back; it runs out by itself");
        }
    }

    async fn append_outcome(
        &self,
        started: &Started,
        recorder: &Recorder,
        ending: Ending,
    ) -> Result<RunOutcome, CommandError<job::Error>> {
        let id = started.id.to_string();
        let Ending {
            command,
            side,
            told: (told, told_side),
        } = ending;
        let context = CommandContext {
            side,
            ..started.context.unnamed()
        };
        let held = recorder.held().await;
        let appended = until_available(|| {
            let target = Target::Held(id.clone(), held.clone());
            self.bus.execute(target, command.clone(), &context)
        })
        .await;
        match appended {
            Ok(executed) => {
                let job = executed.after.aggregate;
                if !job.status().is_final() {
                    self.give_back(&id, recorder.attempt()).await;
                }
                Ok(RunOutcome {
                    job,
                    global_seq: executed.global_seq.unwrap_or_default(),
                })
            }
            // Cancelled, or taken over by another node, while the call was under way: what the
            // log says counts. What the call did is told all the same.
            Err(CommandError::Refused(_)) => {
                if !told.is_empty() {
                    let context = CommandContext {
                        side: told_side,
                        ..started.context.unnamed()
                    };
                    self.tell_late(started, recorder.attempt(), told, context)
                        .await;
                }
                let now = until_available(|| self.bus.load::<Job>(started.workspace, &id)).await?;
                Ok(RunOutcome {
                    job: now.aggregate,
                    global_seq: 0,
                })
            }
            Err(error) => Err(error),
        }
    }

    async fn tell_late(
        &self,
        started: &Started,
        attempt: u32,
        told: Told,
        context: CommandContext,
    ) {
        let command = Command::TellLate {
            attempt,
            told,
            at: self.clock.now(),
        };
        let appended = until_available(|| {
            let target = Target::<Job>::Existing(started.id.to_string());
            self.bus.execute(target, command.clone(), &context)
        })
        .await;
        if let Err(error) = appended {
            tracing::warn!(job = %started.id, %error, "what an aborted call did could not be told");
        }
    }
}

/// What it proves if a run of this job succeeds.
fn proof(job: &Job, has_sent: bool) -> Proof {
    let is_native = job.tool().is_some_and(|tool| tool.kind == Kind::Native);
    match (is_native, has_sent) {
        // What it does in test mode is its own affair.
        (true, _) if job.is_test() => Proof::Nothing,
        (true, _) => Proof::Works,
        (false, false) => Proof::Nothing,
        // A harmless call is another one than those that failed.
        (false, true) if job.action() == Some(TEST_CONNECTION) => Proof::Answers,
        (false, true) => Proof::Works,
    }
}

/// Repeats what fails because the database is away, for as long as it is.
pub(crate) async fn until_available<T, E, F>(
    mut act: impl FnMut() -> F,
) -> Result<T, CommandError<E>>
where
    E: std::error::Error,
    F: Future<Output = Result<T, CommandError<E>>>,
{
    let mut delays = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(OUTCOME_RETRY_MAX)
        .without_max_times()
        .with_jitter()
        .build();
    loop {
        match act().await {
            Err(CommandError::Unavailable | CommandError::Contended) => {
                let delay = delays.next().unwrap_or(OUTCOME_RETRY_MAX);
                tokio::time::sleep(delay).await;
            }
            other => return other,
        }
    }
}
