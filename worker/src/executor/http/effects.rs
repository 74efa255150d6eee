//! What a run may have changed outside, seen from whoever bounds the run.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Remembers the calls of a run that must not be doubled.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    done: AtomicU32,
    cut: AtomicBool,
}

impl Effects {
    /// Whether a call that must not be doubled may have been carried out: then the run must not be
    /// repeated, whatever fails later.
    pub(crate) fn any(&self) -> bool {
        self.done.load(Ordering::Acquire) > 0
    }

    /// Whether such a call was under way when the run was cut off.
    pub(crate) fn cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    pub(crate) fn note(&self) {
        self.done.fetch_add(1, Ordering::AcqRel);
    }

    /// The other side says that it did nothing.
    pub(super) fn take_back(&self) {
        self.done.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn note_cut(&self) {
        self.cut.store(true, Ordering::Release);
    }
}
