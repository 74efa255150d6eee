//! When the requests of a run may leave, and the time that a run has beside its waiting for that.

use std::time::Duration;

use async_trait::async_trait;
use tokio::{sync::watch, time::Instant};

use super::error::CallError;

/// Says when requests may leave.
#[async_trait]
pub trait Pacing: Send + Sync {
    /// Returns when the next request of the run may leave. Each request asks once, in its order; what
    /// goes elsewhere than to the tool's service, such as for a token, does not.
    ///
    /// # Errors
    /// When it may not leave soon enough.
    async fn next_request(&self) -> Result<(), CallError>;
}

/// Lets all leave at once.
#[derive(Clone, Copy, Debug)]
pub struct Unpaced;

#[async_trait]
impl Pacing for Unpaced {
    async fn next_request(&self) -> Result<(), CallError> {
        Ok(())
    }
}

/// The time that a run has; it stands still while the run waits for a request to leave.
pub(super) struct Limit<'a> {
    pacing: &'a dyn Pacing,
    /// When the time is over; none while it stands still.
    over: watch::Sender<Option<Instant>>,
}

impl<'a> Limit<'a> {
    pub(super) fn new(limit: Duration, pacing: &'a dyn Pacing) -> Self {
        Self {
            pacing,
            over: watch::Sender::new(Some(Instant::now() + limit)),
        }
    }

    /// Returns when the time is over.
    pub(super) async fn passes(&self) {
        let mut changes = self.over.subscribe();
        loop {
            let over = *changes.borrow_and_update();
            let passing = async {
                match over {
                    Some(over) => tokio::time::sleep_until(over).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = passing => return,
                // The sender is `self`, so there is always another change to come.
                _ = changes.changed() => {}
            }
        }
    }
}

#[async_trait]
impl Pacing for Limit<'_> {
    async fn next_request(&self) -> Result<(), CallError> {
        let over = *self.over.borrow();
        let Some(over) = over else {
            return self.pacing.next_request().await;
        };
        let begun = Instant::now();
        self.over.send_replace(None);
        let may_leave = self.pacing.next_request().await;
        self.over.send_replace(Some(over + begun.elapsed()));
        may_leave
    }
}
