//! Calls to the outside: each with a number and a receipt, redirects through the guard, answers
//! bounded, failures sorted.
//!
//! [`exchange`] sends one request and gives whatever is answered; [`call`] judges the answer by its
//! status and reads it as JSON. Before a request leaves, the journal is told of it; afterwards, how
//! it ended. A request that must not be doubled and of which nobody knows whether it arrived ends
//! as `OUTCOME_UNKNOWN`, also when the run is cut off while it is under way: [`Effects`] remembers.

mod answer;
mod effects;
mod header;
mod limit;
mod outgoing;
mod receipt;
mod retry_after;
mod send;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use serde_json::Value;
use toolroom_domain::{Clock, ErrorCategory, JobId, job::ReceiptOutcome};

pub(crate) use self::{
    answer::Answer,
    effects::Effects,
    header::{header_name, header_value, idempotency_problem},
    outgoing::{Outgoing, Step},
};
use self::{answer::Download, receipt::InFlight};
pub(super) use self::{
    answer::{ANSWER_BYTES, PARSE_INLINE_BYTES, Read, read},
    send::{Departure, Request, follow},
};
use super::{
    egress::Egress,
    error::CallError,
    journal::Journal,
    pacing::{Pacing, Unpaced},
    rehearsal::Rehearsal,
    secrets::Secrets,
};

/// What the calls of one run share.
pub(crate) struct Wire<'a> {
    egress: &'a Egress,
    journal: &'a dyn Journal,
    clock: &'a dyn Clock,
    job: JobId,
    steps: AtomicU32,
    effects: Arc<Effects>,
    rehearsal: Option<&'a Rehearsal>,
    pacing: &'a dyn Pacing,
}

impl<'a> Wire<'a> {
    pub(crate) fn new(
        egress: &'a Egress,
        journal: &'a dyn Journal,
        clock: &'a dyn Clock,
        job: JobId,
        effects: Arc<Effects>,
    ) -> Self {
        Self {
            egress,
            journal,
            clock,
            job,
            steps: AtomicU32::new(0),
            effects,
            rehearsal: None,
            pacing: &Unpaced,
        }
    }

    /// The same, whose requests leave when this says so.
    #[must_use]
    pub(crate) fn paced_by(mut self, pacing: &'a dyn Pacing) -> Self {
        self.pacing = pacing;
        self
    }

    /// Waits until the next request to the tool's service may leave.
    ///
    /// # Errors
    /// When it may not leave soon enough.
    pub(crate) async fn next_request(&self) -> Result<(), CallError> {
        self.pacing.next_request().await
    }

    /// Tells the journal which secrets were read.
    pub(crate) fn tell(&self, secrets: &Secrets) {
        secrets.tell(self.journal);
    }

    /// The same, that lets nothing out that may change something, and notes what it would send.
    #[must_use]
    pub(crate) fn rehearsing(mut self, rehearsal: &'a Rehearsal) -> Self {
        self.rehearsal = Some(rehearsal);
        self
    }

    /// The next step of the run. Steps must be taken in the same order in each attempt: by its
    /// number the other side knows a repetition.
    pub(crate) fn step(&self) -> Step {
        Step::numbered(self.job, self.steps.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Tells the time.
    pub(crate) fn clock(&self) -> &'a dyn Clock {
        self.clock
    }

    /// Is told what the run does.
    pub(crate) fn journal(&self) -> &'a dyn Journal {
        self.journal
    }

    /// A step beside the numbered ones, for calls that only some attempts make, such as fetching a
    /// token.
    pub(crate) fn side_step(&self, name: &str) -> Step {
        Step::named(self.job, name)
    }

    /// What the run may have changed outside.
    pub(crate) fn effects(&self) -> &Effects {
        &self.effects
    }
}

/// Sends a request and gives its answer, whatever its status.
///
/// # Errors
/// When there is no answer, or a successful one cannot be read whole.
pub(crate) async fn exchange(
    wire: &Wire<'_>,
    outgoing: Outgoing,
    secrets: &Secrets,
) -> Result<Answer, CallError> {
    if let Some(rehearsal) = wire.rehearsal {
        rehearsal.meet(&outgoing, secrets)?;
    }
    let is_numbered = outgoing.step.is_numbered();
    if is_numbered {
        wire.next_request().await?;
    }
    let repeatable = outgoing.repeatable;
    let receipt = receipt::of(&outgoing, wire.clock.now(), secrets);
    let sent_url = receipt::filled(&outgoing.url, secrets);
    let departure = Departure::default();
    wire.tell(secrets);
    wire.journal.sending(receipt.clone(), sent_url).await?;
    let mut flight = InFlight::new(wire.journal, &wire.effects, receipt, departure.clone());
    let sent = follow(wire.egress, outgoing.into(), repeatable, &departure).await;
    let (response, url) = match sent {
        Ok(arrived) => arrived,
        Err(error) => {
            let may_be_done = flight.lost() == ReceiptOutcome::Unknown && !repeatable;
            return Err(if may_be_done { unknown(error) } else { error });
        }
    };
    let counted = flight.answered(response.status());
    let mut answer = Answer::new(&response, url, repeatable);
    answer.received_at = wire.clock.now();
    if is_numbered && let Some(told) = limit::announced(&answer.headers, answer.received_at) {
        wire.journal.announced(told);
    }
    answer.counted = counted.then(|| Arc::clone(&wire.effects));
    let download = Download::of(&response, wire.journal);
    answer.read(response, download).await?;
    flight.landed();
    Ok(answer)
}

/// Sends a request and gives its JSON answer; nothing at all is `null`.
///
/// # Errors
/// When there is no answer, its status is not one of success, or it is not JSON.
pub(crate) async fn call(
    wire: &Wire<'_>,
    outgoing: Outgoing,
    secrets: &Secrets,
) -> Result<Value, CallError> {
    let answer = exchange(wire, outgoing, secrets).await?;
    answer.successful(secrets)?.json().await
}

/// The failure of a call that must not be doubled, and that may have arrived. What is wrong with the
/// other side rather than with the way to it keeps its own code.
fn unknown(error: CallError) -> CallError {
    if !matches!(
        error.category,
        ErrorCategory::Network | ErrorCategory::Timeout
    ) {
        return CallError {
            retryable: false,
            ..error
        };
    }
    let message = format!(
        "{}; whether the call was carried out is not known, so it is not repeated: look there",
        error.message
    );
    CallError {
        details: error.details,
        ..CallError::outcome_unknown(error.category, message)
    }
}

/// Whether a failure of this category is worth repeating, of a call that is or is not safe to
/// repeat and that the other side may have carried out.
fn worth_repeating(category: ErrorCategory, repeatable: bool) -> bool {
    match category {
        // Whoever turns a call away has not carried it out.
        ErrorCategory::RateLimit => true,
        ErrorCategory::Network | ErrorCategory::Timeout | ErrorCategory::ServerError => repeatable,
        ErrorCategory::Authentication
        | ErrorCategory::Authorization
        | ErrorCategory::Validation
        | ErrorCategory::Unknown => false,
    }
}
