//! A cancelled job's call is aborted, on whichever node it runs.
//!
//! Needs no checkpoint: a call that runs here began after this follower did, so its cancellation
//! is still to come. If the follower were late, the outcome of the call would be refused anyway.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use toolroom_domain::job::Job;
use toolroom_eventlog::Feed;

use crate::calls::Calls;

/// Events looked at in one go.
const BATCH: usize = 1_000;

/// How long to wait after the database did not answer.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Follows the log from where it is now until `shutdown`.
pub async fn run(feed: Feed, calls: Calls, shutdown: CancellationToken) {
    let mut head = feed.watch();
    let mut position = *head.borrow_and_update();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            grown = head.changed() => if grown.is_err() { return },
        }
        // A node without calls has nothing to abort: it need not read what others do.
        if calls.is_empty() {
            position = *head.borrow_and_update();
            continue;
        }
        position = catch_up(&feed, &calls, position, &shutdown).await;
    }
}

async fn catch_up(
    feed: &Feed,
    calls: &Calls,
    mut position: i64,
    shutdown: &CancellationToken,
) -> i64 {
    while !shutdown.is_cancelled() {
        match feed.read(position, BATCH).await {
            Ok(events) => {
                let Some(last) = events.last() else { break };
                position = last.position;
                for event in &events {
                    if event.event_type == "JobCancelled"
                        && event.aggregate_type == <Job as toolroom_eventlog::Aggregate>::TYPE
                        && let Ok(job) = event.aggregate_id.parse()
                    {
                        calls.abort(job);
                    }
                }
            }
            Err(error) => {
                tracing::debug!(%error, "cannot look for cancelled jobs");
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
    }
    position
}
