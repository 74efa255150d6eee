//! What one node knows of a tool.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use toolroom_domain::{ToolId, WorkspaceId};

use super::{
    circuit::{Entry, Tally, Transition},
    pace::Rate,
    shared::Known,
    verdict::Verdict,
};
use crate::executor::Announced;

/// A tool, as this node knows it.
pub(super) struct Tool {
    pub(super) id: ToolId,
    pub(super) workspace: WorkspaceId,
    local: Mutex<Local>,
    /// Held by whoever tells the others, or asks to probe: one of this node at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
pub(super) struct Local {
    pub(super) known: Known,
    pub(super) rate: Option<Rate>,
    /// What was counted and not told yet.
    tally: Tally,
    /// Whether somebody will tell it.
    is_to_be_told: bool,
}

/// What is to be done with what was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tell {
    /// It is told now.
    Now,
    /// It is told in a moment, together with what comes until then.
    Soon,
    /// It is kept, in case of need.
    Never,
}

impl Tool {
    pub(super) fn new(workspace: WorkspaceId, id: ToolId) -> Self {
        Self {
            id,
            workspace,
            local: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn local(&self) -> MutexGuard<'_, Local> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Local {
    /// Takes in what all nodes know, unless newer is known.
    pub(super) fn learn(&mut self, known: Known) {
        if known.version < self.known.version {
            return;
        }
        if known.circuit.epoch() != self.known.circuit.epoch() {
            self.tally = Tally::default();
        }
        self.known = known;
    }

    /// Counts the end of a call that was let in after the transition `epoch`.
    pub(super) fn count(&mut self, verdict: Verdict, epoch: u64, now: Timestamp) -> Tell {
        if epoch != self.known.circuit.epoch() {
            return Tell::Never;
        }
        self.tally.count(verdict, now);
        match verdict {
            Verdict::Fails => Tell::Now,
            Verdict::Works if self.known.circuit.is_in_doubt(now) && !self.is_to_be_told => {
                self.is_to_be_told = true;
                Tell::Soon
            }
            _ => Tell::Never,
        }
    }

    /// Takes out what is to be told, and after which transition it was counted.
    pub(super) fn take_tally(&mut self) -> Option<(Tally, u64)> {
        self.is_to_be_told = false;
        let tally = std::mem::take(&mut self.tally);
        (!tally.is_empty()).then(|| (tally, self.known.circuit.epoch()))
    }

    /// Decides alone, while the others cannot be told.
    pub(super) fn add_alone(
        &mut self,
        tally: &Tally,
        epoch: u64,
        now: Timestamp,
    ) -> Option<Transition> {
        self.known.circuit.add(tally, epoch, now)
    }

    /// Whether a call must ask before it leaves.
    pub(super) fn is_paced(&self, now: Timestamp) -> bool {
        self.rate.is_some() || self.known.pace.is_restricted(now)
    }

    /// Whether what the other side said concerns other nodes.
    pub(super) fn is_news(&self, announced: Announced, now: Timestamp) -> bool {
        let mut pace = self.known.pace.clone();
        pace.announce(announced, now)
    }

    /// As what a call is let in without asking anybody.
    pub(super) fn free_entry(&self, now: Timestamp) -> Option<Entry> {
        let circuit = &self.known.circuit;
        circuit.opens_in(now).is_none().then(|| Entry::Free {
            epoch: circuit.epoch(),
        })
    }
}
