//! Whether an attempt can be repeated without doing a thing twice.

use super::{
    state::Attempt,
    told::{Receipt, ReceiptOutcome as Outcome},
};

/// From this status on an answer says that the call was refused, or failed.
const REFUSED: u16 = 400;

/// From this status on an answer says that the other side failed, perhaps midway.
const FAILED: u16 = 500;

impl Receipt {
    /// Whether the call may have arrived, and would count a second time.
    fn counts(&self) -> bool {
        !self.repeatable && self.outcome != Outcome::NotSent
    }

    /// Whether nobody knows if the call arrived, and it would count a second time.
    pub fn is_doubtful(&self) -> bool {
        !self.repeatable && self.outcome == Outcome::Unknown
    }
}

impl Attempt {
    /// The call that forbids to repeat an attempt whose node fell silent: any that may have
    /// arrived. What came of it there nobody saw.
    pub fn doubled_by_takeover(&self) -> Option<&Receipt> {
        self.receipts.iter().find(|call| call.counts())
    }

    /// The call that forbids to repeat an attempt that failed: one of unknown outcome; one that was
    /// taken before the last; or the last one, if the other side failed over it. That the last was
    /// refused is what the attempt failed of, so whoever made it decides.
    pub fn doubled_by_retry(&self) -> Option<&Receipt> {
        let last = self.receipts.len().saturating_sub(1);
        let mut calls = self.receipts.iter().enumerate();
        let found = calls.find(|(place, call)| {
            let status = call.status.unwrap_or_default();
            call.counts()
                && (call.is_doubtful() || status >= FAILED || (*place < last && status < REFUSED))
        });
        found.map(|(_, call)| call)
    }
}
