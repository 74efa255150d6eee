//! A job that is answered from the record of another one: nothing is run, and nothing is sent.

use serde_json::Value;
use toolroom_domain::{
    ErrorCode, JobId,
    job::{Job, Status, seal_context},
};
use toolroom_eventlog::{CommandError, vault::Opened};

use super::{Attempts, Started, until_available};
use crate::executor::{Call, CallError, Level};

impl Attempts {
    /// What the past job came to: its output, checked against the schema of its tool's version
    /// once more, or its error.
    pub(super) async fn recall(
        &self,
        started: &Started,
        call: &Call<'_>,
    ) -> Result<Value, CallError> {
        let Some(past) = started.job.aggregate.rerun_of() else {
            return Err(CallError::invalid(
                "the job names no job whose record answers it",
            ));
        };
        let id = past.to_string();
        let loaded = until_available(|| self.bus.load::<Job>(started.workspace, &id)).await;
        let Ok(loaded) = loaded else {
            return Err(CallError::invalid(format!(
                "there is no job `{past}` any more"
            )));
        };
        call.journal.line(
            Level::Info,
            "runtime",
            format!("answered from the record of {past}; nothing was run or sent"),
        );
        let job = loaded.aggregate;
        let sealed = match (job.status(), job.output(), job.error()) {
            (Status::Succeeded, Some(output), _) => ("output", output.clone()),
            (Status::Failed, _, Some(error)) => {
                // Others tell what befell the job, not what its tool answered.
                let Some(code) = ErrorCode::find(&error.code) else {
                    return Err(no_answer(past, job.status()));
                };
                let mut told = CallError {
                    code,
                    retryable: error.retryable,
                    ..CallError::failed(error.category, error.message.clone())
                };
                if let Some(sealed) = &error.details {
                    let details = self.open_past(started, past, "error", sealed).await?;
                    told = told.with_details(details.into_value());
                }
                return Err(told);
            }
            (status, ..) => return Err(no_answer(past, status)),
        };
        match self.open_past(started, past, sealed.0, &sealed.1).await? {
            Opened::Value(output) => self.executor.check_output(call, output).await,
            Opened::Erased => Err(CallError::invalid(format!(
                "the output of `{past}` was erased"
            ))),
        }
    }

    async fn open_past(
        &self,
        started: &Started,
        past: JobId,
        field: &str,
        sealed: &toolroom_domain::Sealed,
    ) -> Result<Opened, CallError> {
        let context = seal_context(past, field);
        let opened = until_available(|| async {
            let opened = self.vault.open(started.workspace, &context, sealed).await;
            opened.map_err(|error| match error {
                toolroom_eventlog::vault::Error::Database(_) => CommandError::Unavailable,
                other => CommandError::<toolroom_domain::job::Error>::Internal(Box::new(other)),
            })
        });
        opened.await.map_err(|error| {
            tracing::error!(job = %past, %error, "a recorded answer does not open");
            CallError::invalid(format!("the record of `{past}` cannot be read"))
        })
    }
}

fn no_answer(past: JobId, status: Status) -> CallError {
    CallError::invalid(format!(
        "`{past}` is {status}, and there is no answer of its tool on record"
    ))
}
