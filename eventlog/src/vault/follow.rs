//! Has a node forget values when they change, and keys when they are destroyed, on whichever node that
//! was.
//!
//! Needs no checkpoint: what is in memory was read after this began to listen. When it cannot read
//! the log it has nothing kept; and what is kept ends by itself within seconds in any case.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use toolroom_domain::workspace::ERASED;

use super::Vault;
use crate::{RecordedEvent, feed::Feed};

/// Events looked at in one go.
const BATCH: usize = 1_000;

/// How long to wait after the database did not answer.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Follows the log from where it is now until `shutdown`.
pub(crate) async fn run(feed: Feed, vault: Vault, shutdown: CancellationToken) {
    let rows = vault.rows();
    let mut head = feed.watch();
    let mut position = *head.borrow_and_update();
    loop {
        // An unknown head would have the whole log read.
        rows.hears(position > 0);
        tokio::select! {
            () = shutdown.cancelled() => return,
            grown = head.changed() => if grown.is_err() { return },
        }
        position = match position {
            0 => *head.borrow_and_update(),
            known => catch_up(&feed, &vault, known, &shutdown).await,
        };
    }
}

async fn catch_up(
    feed: &Feed,
    vault: &Vault,
    mut position: i64,
    shutdown: &CancellationToken,
) -> i64 {
    while !shutdown.is_cancelled() {
        match feed.read(position, BATCH).await {
            Ok(events) => {
                let Some(last) = events.last() else { break };
                position = last.position;
                for event in &events {
                    let workspace = event.workspace_id.parse();
                    if event.event_type == ERASED {
                        match workspace {
                            Ok(workspace) => vault.forget(workspace).await,
                            Err(_) => vault.forget_all(),
                        }
                    } else if changes_rows(event) {
                        match workspace {
                            Ok(workspace) => vault.rows().forget(workspace),
                            Err(_) => vault.rows().hears(false),
                        }
                    }
                }
            }
            Err(error) => {
                tracing::debug!(%error, "cannot look for changed secrets; none is kept in memory");
                vault.rows().hears(false);
                vault.forget_all();
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = tokio::time::sleep(RETRY_INTERVAL) => {}
                }
            }
        }
    }
    position
}

/// Whether the vault's rows of the event's workspace may be others than before: a tool has its
/// credentials there.
fn changes_rows(event: &RecordedEvent) -> bool {
    match event.aggregate_type.as_str() {
        "secret" => true,
        "tool" => !event.event_type.starts_with("ToolCircuit"),
        _ => false,
    }
}
