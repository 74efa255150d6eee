//! Calls that are made ahead of their record. A tool whose run changes nothing needs no permission to
//! run: if its node dies, nothing was done that could be done twice. So its start is not put on record
//! first; what ends at once is one append instead of two.

use std::{sync::Arc, task::Poll, time::Instant};

use toolroom_domain::{
    job::{self, Command, Job},
    port::RunOutcome,
    tool::{Definition, ToolConfig},
};
use toolroom_eventlog::{CommandContext, CommandError, Executed, command::Target};

use super::{Attempts, Started, recorder::Recorder};

/// The start of an attempt that is not on record yet.
pub(crate) struct Begin {
    pub(crate) target: Target<Job>,
    pub(crate) command: Command,
    pub(crate) context: CommandContext,
}

/// What the record of a start came to.
pub(crate) type Begun = Result<Executed<Job>, CommandError<job::Error>>;

/// Passes it on; gives what was written, if that was this time.
pub(crate) fn told(begun: Begun, tell: impl FnOnce(Begun)) -> Option<Executed<Job>> {
    let written = begun.as_ref().ok().filter(|begun| !begun.repeated).cloned();
    tell(begun);
    written
}

impl Attempts {
    /// Whether calls of a tool may be made ahead of their record.
    pub(crate) fn may_go_ahead(&self, definition: &Definition) -> bool {
        match &definition.config {
            ToolConfig::Native(native) => self.executor.is_pure(&native.function_path),
            _ => false,
        }
    }

    /// Makes the call, and puts its start on record with its end; or by itself, if the call does not
    /// end at once. `tell` is told what the record came to. None when that came to nothing, or the
    /// command was carried out before.
    pub(crate) async fn carry_out_ahead(
        &self,
        mut started: Started,
        begin: Begin,
        tell: impl FnOnce(Begun),
    ) -> Option<Result<RunOutcome, CommandError<job::Error>>> {
        let began = Instant::now();
        let recorder = Arc::new(Recorder::new(self, &started));
        let Begin {
            target,
            command,
            mut context,
        } = begin;
        let mut call = Box::pin(self.told_call(&started, &recorder));
        if let Poll::Ready(result) = futures::poll!(&mut call) {
            drop(call);
            let ending = self.ending(&mut started, &recorder, result, began.elapsed());
            let executed = match ending.await {
                Ok(ending) => {
                    context.side.extend(ending.side);
                    let commands = [command, ending.command];
                    self.bus.execute_all(target, &commands, &context).await
                }
                Err(error) => Err(error),
            };
            let ended = told(executed, tell)?;
            return Some(Ok(RunOutcome {
                job: ended.after.aggregate,
                global_seq: ended.global_seq.unwrap_or_default(),
            }));
        }
        let executed = self.bus.execute(target, command, &context).await;
        told(executed, tell)?;
        let (result, ()) = tokio::join!(call, recorder.tell_along());
        Some(
            self.end(&mut started, &recorder, result, began.elapsed())
                .await,
        )
    }
}
