//! What happens when something has happened. One file a reaction.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use toolroom_domain::{JobId, job::Job};
use toolroom_eventlog::{Aggregate as _, Feed, RecordedEvent};

use crate::{calls::Calls, ends::Ends};

mod abort_call_when_job_cancelled;
mod wake_waiter_when_job_ends;

/// Events looked at in one go.
const BATCH: usize = 1_000;

/// How long to wait after the database did not answer.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Reacts to the events of jobs from where the log is now, until `shutdown`.
///
/// Needs no checkpoint: who waits for an event, or is to be ended by one, began after this did, so
/// that event is still to come. If this were late, each would find out by itself.
pub(crate) async fn run(feed: Feed, calls: Calls, ends: Ends, shutdown: CancellationToken) {
    let mut head = feed.watch();
    let mut position = *head.borrow_and_update();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            grown = head.changed() => if grown.is_err() { return },
        }
        let newest = *head.borrow_and_update();
        // A node without calls and without waiters need not read what others do. Whoever comes
        // after this was asked, comes after `newest`.
        if calls.is_empty() && ends.is_empty() {
            position = newest;
            continue;
        }
        let react = |event: &RecordedEvent, job| {
            abort_call_when_job_cancelled::react(event, job, &calls);
            wake_waiter_when_job_ends::react(event, job, &ends);
        };
        position = catch_up(&feed, position, &shutdown, react).await;
    }
}

async fn catch_up(
    feed: &Feed,
    mut position: i64,
    shutdown: &CancellationToken,
    react: impl Fn(&RecordedEvent, JobId),
) -> i64 {
    while !shutdown.is_cancelled() {
        match feed.read(position, BATCH).await {
            Ok(events) => {
                let Some(last) = events.last() else { break };
                position = last.position;
                for event in events.iter().filter(|e| e.aggregate_type == Job::TYPE) {
                    if let Ok(job) = event.aggregate_id.parse() {
                        react(event, job);
                    }
                }
            }
            Err(error) => {
                tracing::debug!(%error, "cannot look for jobs that ended");
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
    }
    position
}
