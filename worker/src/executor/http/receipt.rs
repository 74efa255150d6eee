//! Receipts: what is known of a call before it leaves and after it ended.

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use reqwest::StatusCode;
use toolroom_domain::job::{Receipt, ReceiptOutcome};
use url::Url;

use super::{Effects, Outgoing, send::Departure};
use crate::executor::{journal::Journal, secrets::Secrets};

/// The receipt of a request that is about to leave; its digest is not keyed yet.
pub(super) fn of(outgoing: &Outgoing, sent_at: Timestamp, secrets: &Secrets) -> Receipt {
    Receipt {
        idempotency_key: outgoing.step.key().to_owned(),
        method: outgoing.method.to_string(),
        url: secrets.mask(&in_words(&outgoing.url, outgoing.written.as_deref())),
        sent_url: None,
        request_sha256: digest(outgoing, secrets),
        digest_key: None,
        sent_at,
        status: None,
        outcome: ReceiptOutcome::Unknown,
        repeatable: outgoing.repeatable,
    }
}

/// The URL that a request goes to, without secrets and fragment. It may be personal: what a path or
/// query holds is mostly what the tool was given.
pub(super) fn filled(url: &Url, secrets: &Secrets) -> String {
    let mut bare = url.clone();
    bare.set_fragment(None);
    secrets.mask(bare.as_str())
}

/// The origin of a URL, and its path as it was written before anything was filled in.
fn in_words(url: &Url, written: Option<&str>) -> String {
    let origin = url.origin().ascii_serialization();
    let path = written.map_or(UNTOLD, path_of);
    match path.starts_with('/') {
        true => format!("{origin}{path}"),
        false => format!("{origin}/{path}"),
    }
}

/// What stands for a path that is not told.
const UNTOLD: &str = "…";

/// The path of a template of a URL: what follows scheme and host, to the query. An expression in their
/// place is told as it is written.
fn path_of(written: &str) -> &str {
    let written = written.trim();
    let scheme = ["https://", "http://"]
        .into_iter()
        .find_map(|scheme| written.strip_prefix(scheme));
    let (rest, begun) = match scheme {
        Some(rest) => (rest, false),
        None => (written, true),
    };
    let (mut start, mut at) = (begun.then_some(0), 0);
    while let Some(next) = rest[at..].chars().next() {
        let is_expression = rest[at..].starts_with("{{");
        match next {
            '{' if is_expression => {
                at += rest[at..].find("}}").map_or(rest.len() - at, |end| end + 2);
                continue;
            }
            '?' | '#' => return start.map_or("", |start| &rest[start..at]),
            '/' if start.is_none() => start = Some(at),
            _ => {}
        }
        at += next.len_utf8();
    }
    start.map_or("", |start| &rest[start..])
}

/// SHA-256 over method, URL and body, each after its length. Secrets are masked before: the digest
/// is kept for ever, and of a short secret it would be a way to guess it.
fn digest(outgoing: &Outgoing, secrets: &Secrets) -> String {
    let body = outgoing.body.as_deref().unwrap_or_default();
    let masked;
    let body = if secrets.is_empty() || body.is_empty() {
        body
    } else {
        masked = secrets.mask(&String::from_utf8_lossy(body));
        masked.as_bytes()
    };
    let url = secrets.mask(outgoing.url.as_str());
    let mut context = Context::new(&SHA256);
    for part in [outgoing.method.as_str().as_bytes(), url.as_bytes(), body] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let digest = context.finish();
    let mut hex = String::with_capacity(64);
    for byte in digest.as_ref() {
        hex.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        hex.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    hex
}

/// A call under way. Dropped before it has ended, it tells that the run was cut off.
pub(super) struct InFlight<'a> {
    journal: &'a dyn Journal,
    effects: &'a Effects,
    receipt: Receipt,
    departure: Departure,
    /// Whether it ended, or at least nothing is unclear any more.
    settled: bool,
}

impl<'a> InFlight<'a> {
    pub(super) fn new(
        journal: &'a dyn Journal,
        effects: &'a Effects,
        receipt: Receipt,
        departure: Departure,
    ) -> Self {
        Self {
            journal,
            effects,
            receipt,
            departure,
            settled: false,
        }
    }

    /// There will be no answer. Tells whether it surely did not arrive.
    pub(super) fn lost(mut self) -> ReceiptOutcome {
        self.settled = true;
        let outcome = self.outcome_so_far();
        if outcome == ReceiptOutcome::Unknown && !self.receipt.repeatable {
            self.effects.note();
        }
        self.tell(outcome);
        outcome
    }

    /// The answer has begun. Tells whether the call may have been carried out and must not be
    /// doubled.
    pub(super) fn answered(&mut self, status: StatusCode) -> bool {
        self.receipt.status = Some(status.as_u16());
        self.tell(ReceiptOutcome::Answered);
        let counts = !self.receipt.repeatable && !status.is_client_error();
        if counts {
            self.effects.note();
        }
        // What a refusal says is a help; nothing hangs on having read it.
        self.settled = !counts;
        counts
    }

    /// The answer was read.
    pub(super) fn landed(mut self) {
        self.settled = true;
    }

    fn outcome_so_far(&self) -> ReceiptOutcome {
        if self.departure.has_left() {
            ReceiptOutcome::Unknown
        } else {
            ReceiptOutcome::NotSent
        }
    }

    fn tell(&mut self, outcome: ReceiptOutcome) {
        self.receipt.outcome = outcome;
        self.journal.received(self.receipt.clone());
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        if self.receipt.status.is_none() {
            let outcome = self.outcome_so_far();
            self.tell(outcome);
            if outcome == ReceiptOutcome::NotSent {
                return;
            }
            if !self.receipt.repeatable {
                self.effects.note();
            }
        }
        if !self.receipt.repeatable {
            self.effects.note_cut();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_told_in_the_words_of_its_definition() {
        let url = Url::parse("https://api.test:8443/customers/ann@home.test?q=1#x").unwrap();
        for (written, told) in [
            (None, "/…"),
            (Some("https://api.test:8443"), "/"),
            (Some("https://api.test:8443?q={{ input.q }}"), "/"),
            (
                Some("https://api.test:8443/customers/{{ input.email }}?q={{ input.q }}"),
                "/customers/{{ input.email }}",
            ),
            (
                Some("https://{{ input.host or '/' }}/customers/{{ input.who ~ '?' }}/x#y"),
                "/customers/{{ input.who ~ '?' }}/x",
            ),
            (
                Some("{{ credentials.base_url }}/v1/{{ input.path }}"),
                "/{{ credentials.base_url }}/v1/{{ input.path }}",
            ),
            (Some("https://api.test:8443/é/{{ broken"), "/é/{{ broken"),
        ] {
            let told = format!("https://api.test:8443{told}");
            assert_eq!(in_words(&url, written), told, "{written:?}");
        }
    }
}
