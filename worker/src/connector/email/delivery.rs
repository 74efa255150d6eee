//! Whether a letter was handed over: its receipt, and what is known of it when the run is cut off.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use aws_lc_rs::digest::{SHA256, digest};
use toolroom_domain::job::{Receipt, ReceiptOutcome};

use super::{Surroundings, letter::Letter, server::Server};
use crate::executor::{CallError, Journal, http::Effects};

/// A letter on its way. Dropped before its end, it tells that the run was cut off.
pub(super) struct Delivery<'a> {
    journal: &'a dyn Journal,
    effects: &'a Effects,
    receipt: Receipt,
    /// Whether the letter's last line may have left: from then on the server may have taken it.
    over: Arc<AtomicBool>,
    settled: bool,
}

impl<'a> Delivery<'a> {
    /// Makes it durable that the letter is about to leave.
    ///
    /// # Errors
    /// When it must not.
    pub(super) async fn begin(
        around: &Surroundings<'a>,
        server: &Server,
        letter: &Letter,
        key: &str,
    ) -> Result<Self, CallError> {
        let receipt = Receipt {
            idempotency_key: key.to_owned(),
            method: "SMTP".to_owned(),
            url: server.url(),
            sent_url: None,
            request_sha256: masked_digest(around, letter.bytes()),
            digest_key: None,
            sent_at: around.wire.clock().now(),
            status: None,
            outcome: ReceiptOutcome::Unknown,
            // Whoever reads it may recognise its Message-ID; servers do not.
            repeatable: false,
        };
        let journal = around.wire.journal();
        journal.sending(receipt.clone(), server.url()).await?;
        Ok(Self {
            journal,
            effects: around.wire.effects(),
            receipt,
            over: Arc::default(),
            settled: false,
        })
    }

    /// The letter as it is sent, in one piece, noticing when it was.
    pub(super) fn watch<'b>(&self, letter: &'b [u8]) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let over = Arc::clone(&self.over);
        let mut rest = Some(letter);
        std::iter::from_fn(move || {
            let next = rest.take();
            if next.is_none() {
                over.store(true, Ordering::Release);
            }
            next
        })
    }

    /// Whether its last line may have left.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// The server has it.
    pub(super) fn answered(&mut self, code: u16) {
        self.effects.note();
        self.end(Some(code), ReceiptOutcome::Answered);
    }

    /// The server has seen it and does not want it.
    pub(super) fn refused(&mut self, code: u16) {
        self.end(Some(code), ReceiptOutcome::Answered);
    }

    /// The server cannot have it.
    pub(super) fn not_sent(&mut self) {
        self.end(None, ReceiptOutcome::NotSent);
    }

    /// Nobody knows.
    pub(super) fn unknown(&mut self) {
        self.effects.note();
        self.end(None, ReceiptOutcome::Unknown);
    }

    fn end(&mut self, status: Option<u16>, outcome: ReceiptOutcome) {
        self.settled = true;
        self.receipt.status = status;
        self.receipt.outcome = outcome;
        self.journal.received(self.receipt.clone());
    }
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        if self.is_over() {
            self.unknown();
            self.effects.note_cut();
        } else {
            self.not_sent();
        }
    }
}

/// The digest is kept for ever, so no secret goes into it; the journal keys it.
fn masked_digest(around: &Surroundings<'_>, letter: &[u8]) -> String {
    let masked = around.secrets.mask(&String::from_utf8_lossy(letter));
    let digest = digest(&SHA256, masked.as_bytes());
    digest.as_ref().iter().fold(String::new(), |hex, byte| {
        use std::fmt::Write as _;
        let mut hex = hex;
        // Writing to a text does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
