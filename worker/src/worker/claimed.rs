//! A job that was taken from the queue: started, prepared, carried out.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use toolroom_domain::{
    ErrorCategory,
    job::{self, Command, Failure, Job, Told, seal_context},
};
use toolroom_eventlog::{
    CommandContext, CommandError, Executed, Loaded, command::Target, ids, vault::Opened,
};

use super::Worker;
use crate::{
    attempt::{Begin, LEASE_MS, Started, until_available},
    gate::{self, Wait},
    leasing::claim::Claimed,
};

impl Worker {
    pub(super) async fn run(&self, claimed: Claimed, _room: (OwnedSemaphorePermit, gate::Place)) {
        if let Err(error) = self.try_run(claimed).await {
            tracing::error!(job = %claimed.job, %error, "a claimed job was not run; it will be claimed again");
        }
    }

    async fn try_run(&self, claimed: Claimed) -> Result<(), CommandError<job::Error>> {
        let context =
            CommandContext::system(claimed.workspace, "worker", ids::new_uuid().to_string());
        let id = claimed.job.to_string();
        let before = self
            .attempts
            .bus
            .load::<Job>(claimed.workspace, &id)
            .await?;
        let next = before.aggregate.attempt() + 1;
        // Taken before the job is started, so that a cancellation finds the call at once.
        let Some(place) = self.calls.enter(claimed.job, next) else {
            return Ok(());
        };
        let command = Command::Start {
            node: self.config.node.clone(),
            lease_ms: LEASE_MS,
            ground: claimed.ground(),
            at: self.attempts.clock.now(),
        };
        let prepared = self.prepare(claimed, &before).await;
        let target = Target::Held(id.clone(), before);
        let started = |job, definition, input, context| Started {
            workspace: claimed.workspace,
            id: claimed.job,
            job,
            definition,
            input,
            place,
            context,
            wait: Wait::in_background(),
        };
        let not_begun = |error| match error {
            // Cancelled, or started by another node: not ours any more.
            CommandError::Refused(reason) => {
                tracing::debug!(job = %id, %reason, "a claimed job is not to be started");
                Ok(())
            }
            error => Err(error),
        };
        let is_due = matches!(claimed.ground(), job::Ground::Due { .. });
        let prepared = match prepared {
            Ok(Ok((definition, input))) if is_due && self.attempts.may_go_ahead(&definition) => {
                let job = match target.after(command.clone()).await {
                    Ok(job) => job,
                    Err(reason) => return not_begun(CommandError::Refused(reason)),
                };
                let begin = Begin {
                    target,
                    command,
                    context: context.clone(),
                };
                let mut failed = Ok(());
                let tell = |begun: Result<Executed<Job>, _>| {
                    failed = begun.map(|_| ()).or_else(not_begun);
                };
                let started = started(job, definition, input, context);
                let ended = self.attempts.carry_out_ahead(started, begin, tell).await;
                failed?;
                return ended.map_or(Ok(()), |ended| ended.map(|_| ()));
            }
            other => other,
        };
        let begun = match self.attempts.bus.execute(target, command, &context).await {
            Ok(begun) => begun.after,
            Err(error) => return not_begun(error),
        };
        if begun.aggregate.status() != job::Status::Running {
            return Ok(());
        }
        // What cannot be prepared has had an attempt all the same, lest it be claimed without end.
        match prepared? {
            Ok((definition, input)) => {
                let started = started(begun, definition, input, context);
                self.attempts.carry_out(started).await?;
            }
            Err(failure) => {
                let command = Command::Fail {
                    attempt: begun.aggregate.attempt(),
                    error: failure,
                    duration_us: 0,
                    exit_code: None,
                    retry_at: None,
                    told: Told::default(),
                    at: self.attempts.clock.now(),
                };
                let target = Target::Held(id, begun);
                self.attempts.bus.execute(target, command, &context).await?;
            }
        }
        Ok(())
    }

    /// What the call needs, or why it can never be made.
    async fn prepare(
        &self,
        claimed: Claimed,
        job: &Loaded<Job>,
    ) -> Result<
        Result<(Arc<toolroom_domain::tool::Definition>, serde_json::Value), Failure>,
        CommandError<job::Error>,
    > {
        let (Some(tool), Some(sealed)) = (job.aggregate.tool(), job.aggregate.input()) else {
            return Ok(Err(never("the job names no tool or no input")));
        };
        let definition = until_available(|| {
            self.definitions
                .get(claimed.workspace, tool.id, tool.version)
        })
        .await;
        let Ok(definition) = definition else {
            return Ok(Err(never("the tool or this version of it does not exist")));
        };
        let opened = until_available(|| async {
            self.attempts
                .vault
                .open(
                    claimed.workspace,
                    &seal_context(claimed.job, "input"),
                    sealed,
                )
                .await
                .map_err(|error| match error {
                    toolroom_eventlog::vault::Error::Database(_) => CommandError::Unavailable,
                    other => CommandError::<job::Error>::Internal(Box::new(other)),
                })
        })
        .await?;
        Ok(match opened {
            Opened::Value(input) => Ok((definition, input)),
            Opened::Erased => Err(never("the input was erased")),
        })
    }
}

fn never(message: &str) -> Failure {
    Failure {
        code: "NOT_RUNNABLE".to_owned(),
        category: ErrorCategory::Validation,
        message: message.to_owned(),
        retryable: false,
        details: None,
    }
}
