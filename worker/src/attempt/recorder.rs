//! What a run tells, gathered, and appended when it must be known before the run goes on, or when
//! enough of it waits. A short run that sends nothing to be doubled costs no append of its own:
//! what it told is written with its outcome.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use toolroom_domain::{
    ErrorCode, JobId, WorkspaceId,
    job::{
        self, Command, Job, Line, Progress, Receipt, ReceiptOutcome, SecretUse, Told, seal_context,
    },
    limits,
};
use toolroom_eventlog::{
    CommandContext, CommandError, Loaded,
    append::SideRow,
    command::Target,
    live::Report,
    vault::{self, SealedValue},
};

use super::{
    Attempts, Started,
    lines::{self, Lines},
    receipt, until_available,
};
use crate::executor::{Announced, CallError, Journal, Level};

/// How long lines wait for others before they are appended: a second is live enough for a reader,
/// and few enough appends for the log.
const LINES_INTERVAL: Duration = Duration::from_secs(1);

/// Between two steps of a run that become events. What is in between is told live; the log need
/// not keep it.
const STEPS_INTERVAL: Duration = Duration::from_secs(3);

/// The field to which lines are bound when they are sealed.
pub(super) const LINES_FIELD: &str = "lines";

/// Records what one attempt does.
pub(super) struct Recorder {
    attempts: Attempts,
    workspace: WorkspaceId,
    id: JobId,
    attempt: u32,
    context: CommandContext,
    /// Ends the run.
    cancel: CancellationToken,
    gathered: Mutex<Gathered>,
    /// The job as this attempt's last append left it; held while one is under way.
    job: tokio::sync::Mutex<Loaded<Job>>,
    /// There is something to append by and by.
    stirred: Notify,
    /// There is so much that it should be appended now.
    full: Notify,
    ended: CancellationToken,
}

struct Gathered {
    secrets: Vec<SecretUse>,
    /// How many of `secrets` are known to be in the log.
    secrets_told: usize,
    /// All calls of this attempt as they stand.
    calls: Vec<Receipt>,
    lines: Lines,
    exit_code: Option<i32>,
    announced: Announced,
    progress: Progress,
    /// The step that the log tells.
    step_told: Option<String>,
    reported: bool,
}

impl Recorder {
    pub(super) fn new(attempts: &Attempts, started: &Started) -> Self {
        let job = &started.job.aggregate;
        Self {
            attempts: attempts.clone(),
            workspace: started.workspace,
            id: started.id,
            attempt: job.attempt(),
            context: started.context.unnamed(),
            cancel: started.place.cancel.clone(),
            gathered: Mutex::new(Gathered {
                secrets: Vec::new(),
                secrets_told: 0,
                calls: Vec::new(),
                lines: Lines::new(job, attempts.clock.now()),
                exit_code: None,
                announced: Announced::default(),
                progress: Progress::default(),
                step_told: None,
                reported: false,
            }),
            job: tokio::sync::Mutex::new(started.job.clone()),
            stirred: Notify::new(),
            full: Notify::new(),
            ended: CancellationToken::new(),
        }
    }

    pub(super) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// What the other side said last of its limits, since this was asked.
    pub(super) fn take_announced(&self) -> Announced {
        std::mem::take(&mut self.gathered().announced)
    }

    pub(super) fn exit_code(&self) -> Option<i32> {
        self.gathered().exit_code
    }

    /// The job as the last append of this attempt left it; nothing else is appended meanwhile.
    pub(super) async fn held(&self) -> tokio::sync::MutexGuard<'_, Loaded<Job>> {
        self.job.lock().await
    }

    /// The run has ended: [`Self::tell_along`] returns when the append that it is at has ended.
    pub(super) fn stop_telling(&self) {
        self.ended.cancel();
    }

    /// Appends lines and steps while the run goes on.
    pub(super) async fn tell_along(&self) {
        let (mut lines_at, mut steps_at) = (Instant::now(), None::<Instant>);
        loop {
            tokio::select! {
                () = self.ended.cancelled() => return,
                () = self.stirred.notified() => {}
            }
            tokio::select! {
                () = self.ended.cancelled() => return,
                () = self.full.notified() => {}
                () = tokio::time::sleep_until(lines_at + LINES_INTERVAL) => {}
            }
            if let Err(error) = self.append(None).await {
                tracing::debug!(job = %self.id, %error, "lines of a run were not appended yet");
                self.stirred.notify_one();
            }
            lines_at = Instant::now();
            if steps_at.is_none_or(|at| at.elapsed() >= STEPS_INTERVAL) {
                if self.append_step().await {
                    steps_at = Some(Instant::now());
                }
            } else if self.gathered().new_step().is_some() {
                self.stirred.notify_one();
            }
        }
    }

    /// A step that cannot be appended is dropped: the next one, or the outcome, tells more.
    async fn append_step(&self) -> bool {
        let Some(progress) = self.gathered().new_step() else {
            return false;
        };
        let step = progress.step.clone();
        let command = Command::Progress {
            attempt: self.attempt,
            progress,
            at: self.attempts.clock.now(),
        };
        let mut job = self.job.lock().await;
        match self.execute(&job, command, Vec::new()).await {
            Ok(after) => {
                *job = after;
                self.gathered().step_told = step;
            }
            Err(error) => tracing::debug!(job = %self.id, %error, "progress was not appended"),
        }
        true
    }

    async fn execute(
        &self,
        held: &Loaded<Job>,
        command: Command,
        side: Vec<SideRow>,
    ) -> Result<Loaded<Job>, CommandError<job::Error>> {
        let target = Target::Held(self.id.to_string(), held.clone());
        let context = CommandContext {
            side,
            ..self.context.clone()
        };
        let executed = self.attempts.bus.execute(target, command, &context).await;
        match executed {
            Ok(executed) => Ok(executed.after),
            Err(error) => {
                // Nobody waits for this attempt any more: cancelled, or taken over.
                if matches!(error, CommandError::Refused(_)) {
                    self.cancel.cancel();
                }
                Err(error)
            }
        }
    }

    /// Appends what waits, and the call that is about to leave; waits for a database that is away.
    async fn append_now(self: &Arc<Self>, leaving: Option<Receipt>) -> Result<(), CallError> {
        // A task of its own: the run may be ended while this is under way, and an append that is
        // broken off midway has happened or not.
        let recorder = Arc::clone(self);
        let appending =
            tokio::spawn(
                async move { until_available(|| recorder.append(leaving.as_ref())).await },
            );
        match appending.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(CommandError::Refused(reason))) => {
                tracing::debug!(job = %self.id, %reason, "a call is not made any more");
                Err(CallError::cancelled())
            }
            other => {
                tracing::error!(job = %self.id, ?other, "a call could not be recorded");
                Err(CallError::unrecorded())
            }
        }
    }

    /// Appends what waits, and the call that is about to leave.
    async fn append(&self, leaving: Option<&Receipt>) -> Result<(), CommandError<job::Error>> {
        let mut job = self.job.lock().await;
        let (mut told, lines) = {
            let mut gathered = self.gathered();
            let told = Told {
                secrets: gathered.secrets.clone(),
                // One that has not left may be about to.
                receipts: gathered.calls_but(ReceiptOutcome::NotSent),
                lines: None,
            };
            (told, gathered.lines.take())
        };
        let secrets = told.secrets.len();
        told.receipts.extend(leaving.cloned());
        let appended = async {
            let mut side = Vec::new();
            told.lines = self.sealed(&lines, &mut side).await?;
            if told.is_empty() {
                return Ok(None);
            }
            let command = Command::Tell {
                attempt: self.attempt,
                told,
                at: self.attempts.clock.now(),
            };
            self.execute(&job, command, side).await.map(Some)
        }
        .await;
        match appended {
            Ok(after) => {
                if let Some(after) = after {
                    *job = after;
                }
                let mut gathered = self.gathered();
                gathered.secrets_told = gathered.secrets_told.max(secrets);
                Ok(())
            }
            Err(error) => {
                self.gathered().lines.put_back(lines);
                Err(error)
            }
        }
    }

    async fn sealed(
        &self,
        lines: &[Line],
        side: &mut Vec<SideRow>,
    ) -> Result<Option<job::Lines>, CommandError<job::Error>> {
        if lines.is_empty() {
            return Ok(None);
        }
        // Lines that cannot be kept are of a workspace that was erased.
        let sealed = self.seal_once(LINES_FIELD, &lines::to_value(lines)).await?;
        Ok(sealed.ok().map(|sealed| job::Lines {
            sealed: sealed.among(side),
            count: u32::try_from(lines.len()).unwrap_or(u32::MAX),
        }))
    }

    async fn seal_once(
        &self,
        field: &str,
        value: &Value,
    ) -> Result<Result<SealedValue, CallError>, CommandError<job::Error>> {
        let context = seal_context(self.id, field);
        let vault = &self.attempts.vault;
        let message = |error: &vault::Error| format!("the {field} cannot be kept: {error}");
        match vault.seal_value(self.workspace, &context, value).await {
            Ok(sealed) => Ok(Ok(sealed)),
            Err(vault::Error::Database(_)) => Err(CommandError::Unavailable),
            Err(error @ (vault::Error::TooLarge { .. } | vault::Error::TooManyValues { .. })) => {
                Ok(Err(CallError::too_large(message(&error))))
            }
            Err(error @ vault::Error::Erased) => Ok(Err(CallError::invalid(message(&error)))),
            Err(other) => Err(CommandError::Internal(Box::new(other))),
        }
    }

    /// A value of the job, sealed, or why it cannot be kept; waits for a database that is away.
    pub(super) async fn seal(
        &self,
        field: &str,
        value: &Value,
    ) -> Result<Result<SealedValue, CallError>, CommandError<job::Error>> {
        until_available(|| self.seal_once(field, value)).await
    }

    /// What is to be told with the outcome. What the log knows already, the job leaves out.
    pub(super) async fn all_told(
        &self,
        side: &mut Vec<SideRow>,
    ) -> Result<Told, CommandError<job::Error>> {
        // An append that outlived its run may be under way, and have the lines.
        let _no_other = self.job.lock().await;
        let lines = self.gathered().lines.take();
        let (lines, beside) = until_available(|| async {
            let mut beside = Vec::new();
            Ok((self.sealed(&lines, &mut beside).await?, beside))
        })
        .await?;
        side.extend(beside);
        let gathered = self.gathered();
        Ok(Told {
            secrets: gathered.secrets.clone(),
            receipts: gathered.calls.clone(),
            lines,
        })
    }

    /// The result of the run, or that nobody knows it: when a call is under way that must not be
    /// doubled, whatever ended the run.
    pub(super) fn judged(&self, result: Result<Value, CallError>) -> Result<Value, CallError> {
        let error = match result {
            Err(error) if error.code != ErrorCode::OutcomeUnknown => error,
            other => return other,
        };
        let gathered = self.gathered();
        let Some(call) = gathered.calls.iter().find(|call| call.is_doubtful()) else {
            return Err(error);
        };
        let message = format!(
            "{}; whether {} {} arrived is not known, so it is not repeated",
            error.message, call.method, call.url
        );
        Err(CallError {
            details: error.details,
            ..CallError::outcome_unknown(error.category, message)
        })
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathered {
    /// The progress, if its step is not the one that the log tells.
    fn new_step(&self) -> Option<Progress> {
        let is_new = self.progress.step.is_some() && self.progress.step != self.step_told;
        is_new.then(|| self.progress.clone())
    }

    fn calls_but(&self, outcome: ReceiptOutcome) -> Vec<Receipt> {
        let calls = self.calls.iter().filter(|call| call.outcome != outcome);
        calls.cloned().collect()
    }

    fn end_call(&mut self, ended: &Receipt) {
        let key = &ended.idempotency_key;
        if let Some(call) = self.calls.iter_mut().find(|c| c.idempotency_key == *key) {
            (call.status, call.outcome) = (ended.status, ended.outcome);
        }
    }

    fn set_call(&mut self, receipt: Receipt) {
        let key = &receipt.idempotency_key;
        match self.calls.iter_mut().find(|c| c.idempotency_key == *key) {
            Some(earlier) => *earlier = receipt,
            None => self.calls.push(receipt),
        }
    }
}

#[async_trait]
impl Journal for Arc<Recorder> {
    fn progress(&self, progress: Progress) {
        let step = progress
            .step
            .map(|step| match step.char_indices().nth(limits::REMARK_CHARS) {
                Some((end, _)) => step[..end].to_owned(),
                None => step,
            });
        let percentage = progress.percentage.filter(|p| p.is_finite());
        let progress = Progress {
            step,
            percentage: percentage.map(|p| p.clamp(0.0, 100.0)),
        };
        let mut gathered = self.gathered();
        gathered.progress = progress.clone();
        gathered.reported = true;
        let is_new_step = gathered.new_step().is_some();
        drop(gathered);
        let attempt = self.attempt;
        self.attempts
            .live
            .report(self.id, Report { attempt, progress });
        if is_new_step {
            self.stirred.notify_one();
        }
    }

    fn announced(&self, announced: Announced) {
        self.gathered().announced = announced;
    }

    fn line(&self, level: Level, source: &str, message: String) {
        let is_full = self.gathered().lines.write(level, source, message);
        self.stirred.notify_one();
        if is_full {
            self.full.notify_one();
        }
    }

    fn secrets_used(&self, secrets: Vec<SecretUse>) {
        let mut gathered = self.gathered();
        for secret in secrets {
            if !gathered.secrets.contains(&secret) {
                gathered.secrets.push(secret);
            }
        }
    }

    async fn secrets_recorded(&self) -> Result<(), CallError> {
        let are_known = {
            let gathered = self.gathered();
            gathered.secrets.len() <= gathered.secrets_told
        };
        match are_known {
            true => Ok(()),
            false => self.append_now(None).await,
        }
    }

    async fn sending(&self, receipt: Receipt, sent_url: String) -> Result<(), CallError> {
        let place = (self.workspace, self.id);
        let leaving = Receipt {
            outcome: ReceiptOutcome::Unknown,
            ..receipt::closed(&self.attempts.vault, place, receipt, &sent_url).await?
        };
        let must_be_known = {
            let mut gathered = self.gathered();
            // Until it is known to the log, it does not leave.
            gathered.set_call(Receipt {
                outcome: ReceiptOutcome::NotSent,
                ..leaving.clone()
            });
            !leaving.repeatable || gathered.secrets.len() > gathered.secrets_told
        };
        if must_be_known {
            self.append_now(Some(leaving.clone())).await?;
        }
        self.gathered().set_call(leaving);
        Ok(())
    }

    fn received(&self, receipt: Receipt) {
        self.gathered().end_call(&receipt);
    }

    fn exit_code(&self, code: i32) {
        self.gathered().exit_code = Some(code);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if self.gathered().reported {
            self.attempts.live.end(self.id);
        }
    }
}
