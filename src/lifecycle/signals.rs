//! SIGINT and SIGTERM: the first asks, the second insists.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code of a process that a second signal ended.
const INSISTED: i32 = 130;

/// Both signals, no longer deadly.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes both over.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn install() -> anyhow::Result<Self> {
        let take = |kind| signal(kind).context("signals cannot be taken over");
        Ok(Self {
            interrupt: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
        })
    }

    /// Waits for the next, and names it.
    pub async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    /// From now on the next signal ends the process; the kernel then stops the embedded server.
    pub fn end_at_the_next(&mut self) {
        let Ok(mut next) = Self::install() else {
            return;
        };
        tokio::spawn(async move {
            next.stop().await;
            std::process::exit(INSISTED);
        });
    }
}
