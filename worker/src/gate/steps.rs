//! The requests of a run, of which each counts by the rate.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Ask, Gate};
use crate::executor::{Announced, CallError, Pacing};

/// How long a request of a run waits whose first one has left: longer than the sender of the job may
/// wait, since what was begun is better ended; as long as a job does in the background.
const STEP_PATIENCE: Duration = super::BACKGROUND_PATIENCE;

/// Paces the requests of a run. The run was let in with its first one; each further one is given a
/// moment of its own.
pub struct Steps<'a> {
    gate: &'a Gate,
    ask: &'a Ask<'a>,
    /// Tells what the other side said last of its limits, once.
    announced: &'a (dyn Fn() -> Announced + Send + Sync),
    begun: AtomicU32,
}

impl<'a> Steps<'a> {
    /// Those of a call that is let in for `ask`.
    pub fn new(
        gate: &'a Gate,
        ask: &'a Ask<'a>,
        announced: &'a (dyn Fn() -> Announced + Send + Sync),
    ) -> Self {
        Self {
            gate,
            ask,
            announced,
            begun: AtomicU32::new(0),
        }
    }

    /// Whether there was a request.
    pub fn any(&self) -> bool {
        self.begun.load(Ordering::Relaxed) > 0
    }
}

#[async_trait]
impl Pacing for Steps<'_> {
    async fn next_request(&self) -> Result<(), CallError> {
        if self.begun.fetch_add(1, Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let (gate, ask) = (self.gate, self.ask);
        let tool = gate.tool(ask.workspace, ask.tool);
        gate.note(&tool, (self.announced)()).await;
        let deadline = Instant::now() + STEP_PATIENCE;
        let waited = gate.wait_for_departure(&tool, ask, deadline).await;
        waited.map_err(CallError::from)
    }
}
