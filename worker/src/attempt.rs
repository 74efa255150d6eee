//! One attempt of a job: the call, and the append of what came of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBuilder};
use serde_json::Value;
use tokio::sync::watch;
use toolroom_domain::{
    Clock, ErrorCategory, JobId, WorkspaceId,
    job::{self, Command, Failure, Job, Progress, Receipt, SecretUse, Told, seal_context},
    limits,
    port::RunOutcome,
    tool::Definition,
};
use toolroom_eventlog::{CommandBus, CommandContext, CommandError, Loaded, Vault, command::Target};

use crate::{
    calls::Place,
    executor::{self, CallError, Executor, Journal, Level},
};

/// Between two appends of a run's progress: what a run reports in between is superseded.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// For how long a node may be silent before its jobs are taken over, in milliseconds.
pub const LEASE_MS: u64 = 30_000;

/// The longest pause between tries to append an outcome while the database is away.
const OUTCOME_RETRY_MAX: Duration = Duration::from_secs(5);

/// What carries attempts out.
#[derive(Clone)]
pub struct Attempts {
    pub(crate) bus: CommandBus,
    pub(crate) vault: Vault,
    pub(crate) executor: Arc<Executor>,
    pub(crate) clock: Arc<dyn Clock>,
    /// This node's name, as it is written on `JobStarted`.
    pub(crate) node: String,
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
}

/// What a call has told so far.
struct Reports {
    progress: watch::Sender<Progress>,
    told: Mutex<Told>,
}

impl Reports {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Journal for Reports {
    fn progress(&self, progress: Progress) {
        self.progress.send_replace(progress);
    }

    fn line(&self, level: Level, source: &str, message: String) {
        tracing::debug!(%level, source, message, "a run wrote a line");
    }

    fn secrets_used(&self, secrets: Vec<SecretUse>) {
        self.told().secrets.extend(secrets);
    }

    async fn sending(&self, receipt: Receipt) -> Result<(), CallError> {
        self.told().receipts.push(receipt);
        Ok(())
    }

    fn received(&self, receipt: Receipt) {
        self.told().receipts.push(receipt);
    }

    fn exit_code(&self, code: i32) {
        tracing::debug!(code, "a run ended with a code");
    }
}

impl Attempts {
    /// Makes the call and appends its outcome, whatever it takes: the outcome of a call that was
    /// made is not given up because the database is away.
    ///
    /// # Errors
    /// When the outcome could not be appended for another reason.
    pub(crate) async fn carry_out(
        &self,
        started: Started,
    ) -> Result<RunOutcome, CommandError<job::Error>> {
        let attempt = started.job.aggregate.attempt();
        let begun = Instant::now();
        let (progress, reports) = watch::channel(Progress::default());
        let journal = Reports {
            progress,
            told: Mutex::default(),
        };
        let result = self.call(&started, attempt, &journal, reports).await;
        let told = std::mem::take(&mut *journal.told());
        let elapsed = begun.elapsed();
        let outcome = match &result {
            Ok(_) => "succeeded",
            Err(_) if started.place.cancel.is_cancelled() => "aborted",
            Err(_) => "failed",
        };
        metrics::counter!("toolroom_job_attempts", "outcome" => outcome).increment(1);
        metrics::histogram!("toolroom_job_call_seconds").record(elapsed);
        let duration_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let command = self
            .outcome(&started, attempt, duration_us, told, result)
            .await?;
        self.append_outcome(started, command).await
    }

    async fn call(
        &self,
        started: &Started,
        attempt: u32,
        journal: &Reports,
        mut reports: watch::Receiver<Progress>,
    ) -> Result<Value, CallError> {
        let job = &started.job.aggregate;
        let Some(tool) = job.tool() else {
            return Err(executor::CallError::invalid("the job names no tool"));
        };
        let call = executor::Call {
            workspace: started.workspace,
            job: started.id,
            attempt,
            tool: tool.id,
            version: tool.version,
            definition: &started.definition,
            action: job.action(),
            input: &started.input,
            is_test: job.is_test(),
            journal,
            cancel: started.place.cancel.clone(),
        };
        let mut run = std::pin::pin!(self.executor.run(call));
        loop {
            tokio::select! {
                biased;
                result = &mut run => return result,
                Ok(()) = reports.changed() => {
                    let progress = reports.borrow_and_update().clone();
                    tokio::select! {
                        biased;
                        result = &mut run => return result,
                        () = self.append_progress(started, attempt, progress) => {}
                    }
                }
            }
        }
    }

    /// A progress that cannot be appended is dropped: the next one or the outcome tells more.
    async fn append_progress(&self, started: &Started, attempt: u32, progress: Progress) {
        let command = Command::Progress {
            attempt,
            progress,
            at: self.clock.now(),
        };
        let target = Target::<Job>::Existing(started.id.to_string());
        let appended = self
            .bus
            .execute(target, command, &started.context.unnamed())
            .await;
        if let Err(error) = appended {
            tracing::debug!(job = %started.id, %error, "progress was not appended");
        }
        tokio::time::sleep(PROGRESS_INTERVAL).await;
    }

    async fn outcome(
        &self,
        started: &Started,
        attempt: u32,
        duration_us: u64,
        told: Told,
        result: Result<Value, executor::CallError>,
    ) -> Result<Command, CommandError<job::Error>> {
        let result = result.and_then(|output| match output.to_string().len() {
            size if size > limits::JOB_VALUE_BYTES => Err(executor::CallError::failed(
                ErrorCategory::Validation,
                format!(
                    "the output is {size} bytes as JSON; at most {} are kept",
                    limits::JOB_VALUE_BYTES
                ),
            )),
            _ => Ok(output),
        });
        let at = self.clock.now();
        Ok(match result {
            Ok(output) => Command::Succeed {
                attempt,
                output: self.seal(started, "output", &output).await?,
                duration_us,
                exit_code: None,
                told,
                at,
            },
            Err(error) => {
                let details = match &error.details {
                    Some(details) => Some(self.seal(started, "error", details).await?),
                    None => None,
                };
                Command::Fail {
                    attempt,
                    error: Failure {
                        code: error.code.as_str().to_owned(),
                        category: error.category,
                        message: error.message,
                        retryable: error.retryable,
                        details,
                    },
                    duration_us,
                    exit_code: None,
                    retry_at: None,
                    told,
                    at,
                }
            }
        })
    }

    async fn seal(
        &self,
        started: &Started,
        field: &str,
        value: &Value,
    ) -> Result<toolroom_domain::Sealed, CommandError<job::Error>> {
        let context = seal_context(started.id, field);
        until_available(|| async {
            self.vault
                .seal(started.workspace, &context, value)
                .await
                .map_err(|error| match error {
                    toolroom_eventlog::vault::Error::Database(_) => CommandError::Unavailable,
                    other => CommandError::Internal(Box::new(other)),
                })
        })
        .await
    }

    async fn append_outcome(
        &self,
        started: Started,
        command: Command,
    ) -> Result<RunOutcome, CommandError<job::Error>> {
        let id = started.id.to_string();
        let context = started.context.unnamed();
        let appended = until_available(|| {
            let target = Target::Held(id.clone(), started.job.clone());
            self.bus.execute(target, command.clone(), &context)
        })
        .await;
        match appended {
            Ok(executed) => Ok(RunOutcome {
                job: executed.after.aggregate,
                global_seq: executed.global_seq.unwrap_or_default(),
            }),
            // Cancelled, or taken over by another node, while the call was under way: what the
            // log says counts.
            Err(CommandError::Refused(_)) => {
                let now = until_available(|| self.bus.load::<Job>(started.workspace, &id)).await?;
                Ok(RunOutcome {
                    job: now.aggregate,
                    global_seq: 0,
                })
            }
            Err(error) => Err(error),
        }
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
