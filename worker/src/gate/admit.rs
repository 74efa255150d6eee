//! Letting calls in.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use toolroom_domain::{ErrorCategory, ErrorCode};

use super::{
    Ask, Denied, Gate, Pass, SHARED_WITHIN,
    circuit::{Entry, State},
    in_words,
    pace::{Departure, Rate},
    refusals,
    shared::{Error, Known},
    tool::Tool,
};

/// Between two looks at a circuit by a call that waits for it.
const WAIT_STEP: Duration = Duration::from_millis(250);

/// Waits shorter than this are not worth a word.
const WORTH_TELLING: Duration = Duration::from_millis(50);

/// How long the database may take to give a call its moment to leave: the call waits anyway.
const RESERVED_WITHIN: Duration = Duration::from_secs(5);

/// How much longer than its longest time a probe holds the others back: its end must be told first.
const PROBE_MARGIN: Duration = Duration::from_secs(5);

/// What a caller is told who may not wait for another's probe.
const PROBE_RETRY: Duration = Duration::from_secs(5);

impl Gate {
    /// Asks whether a call may be made, and waits until it may: as long as its deadline lets it.
    ///
    /// # Errors
    /// When it may not be made before that: the circuit is open, or the rate is used up.
    pub async fn admit(&self, ask: &Ask<'_>) -> Result<Pass, Denied> {
        let tool = self.tool(ask.workspace, ask.tool);
        tool.local().rate = (self.0.rate)(ask.tool_type);
        let begun = Instant::now();
        let mut has_departed = false;
        loop {
            self.wait_for_circuit(&tool, ask).await?;
            if !has_departed {
                self.wait_for_departure(&tool, ask, ask.deadline).await?;
                has_departed = true;
            }
            if let Some(entry) = self.enter(&tool, ask).await {
                tell_of_outage(&tool, ask);
                let waited = begun.elapsed();
                if waited >= WORTH_TELLING {
                    metrics::histogram!("toolroom_gate_wait_seconds").record(waited);
                }
                return Ok(Pass {
                    gate: self.clone(),
                    tool,
                    entry: Some(entry),
                });
            }
        }
    }

    /// Waits until the circuit is closed, or may be probed.
    async fn wait_for_circuit(&self, tool: &Arc<Tool>, ask: &Ask<'_>) -> Result<(), Denied> {
        let mut is_told = false;
        loop {
            let now = self.0.shared.time.now();
            let (left, is_open) = {
                let local = tool.local();
                let circuit = &local.known.circuit;
                let is_open = matches!(circuit.state(), State::Open { .. });
                (circuit.opens_in(now), is_open)
            };
            let Some(left) = left.filter(|left| !left.is_zero()) else {
                return Ok(());
            };
            if is_open && ask.is_trial {
                return Ok(());
            }
            let patience = ask.deadline.saturating_duration_since(Instant::now());
            // How long another's probe takes nobody knows.
            if patience.is_zero() || (is_open && left > patience) {
                refusals("circuit").increment(1);
                let retry_after = match is_open {
                    true => left,
                    false => left.min(PROBE_RETRY),
                };
                return Err(Denied {
                    code: ErrorCode::CircuitOpen,
                    category: ErrorCategory::ServerError,
                    message: format!(
                        "the tool failed too often of late and is not called for now; try again in {}",
                        in_words(retry_after)
                    ),
                    retry_after,
                });
            }
            if !is_told {
                is_told = true;
                (ask.tell)(match is_open {
                    true => format!(
                        "waits {} for the circuit of the tool, which failed too often of late",
                        in_words(left)
                    ),
                    false => "waits for a call that tries whether the tool works again".to_owned(),
                });
            }
            tokio::time::sleep(left.min(WAIT_STEP).min(patience)).await;
        }
    }

    /// Waits for the moment at which the call, or a request of it, may leave.
    pub(super) async fn wait_for_departure(
        &self,
        tool: &Arc<Tool>,
        ask: &Ask<'_>,
        deadline: Instant,
    ) -> Result<(), Denied> {
        let rate = {
            let local = tool.local();
            if !local.is_paced(self.0.shared.time.now()) {
                return Ok(());
            }
            local.rate
        };
        let turn = tool.turn.lock().await;
        // As far as this node knows, which is less than there is: whoever is refused asks nobody.
        let wait = {
            let now = self.0.shared.time.now();
            tool.local().known.pace.wait(rate, now)
        };
        let patience = deadline.saturating_duration_since(Instant::now());
        if wait > patience {
            return Err(too_fast(ask, wait));
        }
        // A task of its own: who waits may go away when the database has the moment already.
        let reserved = tokio::spawn(Unused::reserve(
            self.clone(),
            Arc::clone(tool),
            rate,
            patience,
        ));
        let reserved = reserved.await;
        drop(turn);
        let unused = match reserved {
            Ok(Ok(Ok(unused))) => unused,
            Ok(Ok(Err(wait))) => return Err(too_fast(ask, wait)),
            // Unpaced rather than not at all: the other side has limits of its own.
            Ok(Err(_)) | Err(_) => return Ok(()),
        };
        let wait = unused.wait();
        if wait >= WORTH_TELLING {
            (ask.tell)(format!(
                "waits {} for the rate limit of {}",
                in_words(wait),
                ask.tool_type.to_lowercase()
            ));
        }
        tokio::time::sleep(wait).await;
        unused.used();
        Ok(())
    }

    /// Lets the call in, unless the circuit has something against it meanwhile.
    async fn enter(&self, tool: &Arc<Tool>, ask: &Ask<'_>) -> Option<Entry> {
        let free = |tool: &Tool| tool.local().free_entry(self.0.shared.time.now());
        if let Some(entry) = free(tool) {
            return Some(entry);
        }
        let _turn = tool.turn.lock().await;
        // Whoever had the turn before may have closed it, or probes.
        let now = self.0.shared.time.now();
        let is_tried = {
            let local = tool.local();
            let circuit = &local.known.circuit;
            match circuit.opens_in(now) {
                None => return local.free_entry(now),
                Some(Duration::ZERO) => true,
                Some(_) => ask.is_trial && matches!(circuit.state(), State::Open { .. }),
            }
        };
        if !is_tried {
            return None;
        }
        let within = ask.timeout + PROBE_MARGIN;
        let probe = |known: &mut Known, now| {
            let entry = match ask.is_trial {
                true => known.circuit.trial(within, now),
                false => known.circuit.probe(within, now),
            };
            (entry, None)
        };
        match self.change(tool, SHARED_WITHIN, probe).await {
            Ok(Ok(entry)) => {
                if let Entry::Probe { .. } = entry {
                    metrics::counter!("toolroom_circuit_probes").increment(1);
                    (ask.tell)("tries whether the tool works again".to_owned());
                }
                Some(entry)
            }
            Ok(Err(_)) => None,
            // It is away: then the call's end cannot be told either.
            Err(_) => Some(Entry::Free { epoch: u64::MAX }),
        }
    }
}

/// Tells a job that lay in the queue meanwhile that its tool was broken.
fn tell_of_outage(tool: &Tool, ask: &Ask<'_>) {
    let outage = tool.local().known.circuit.outage();
    if let (Some(since), Some(outage)) = (ask.since, outage)
        && since < outage.to
    {
        (ask.tell)(format!(
            "was put off: the tool failed too often and was not called from {} to {}",
            outage.from, outage.to
        ));
    }
}

fn too_fast(ask: &Ask<'_>, wait: Duration) -> Denied {
    refusals("rate_limit").increment(1);
    Denied {
        code: ErrorCode::RateLimitExceeded,
        category: ErrorCategory::RateLimit,
        message: format!(
            "the rate limit of {} is used up for longer than this call may wait; try again in {}",
            ask.tool_type.to_lowercase(),
            in_words(wait)
        ),
        retry_after: wait,
    }
}

/// A moment to leave at that is given back when whoever waits for it goes away.
struct Unused {
    gate: Gate,
    tool: Arc<Tool>,
    departure: Option<Departure>,
}

impl Unused {
    /// The next moment, or for how long there is none.
    async fn reserve(
        gate: Gate,
        tool: Arc<Tool>,
        rate: Option<Rate>,
        patience: Duration,
    ) -> Result<Result<Self, Duration>, Error> {
        let reserve = |known: &mut Known, now| (known.pace.reserve(rate, patience, now), None);
        let reserved = gate.change(&tool, RESERVED_WITHIN, reserve).await?;
        Ok(reserved.map(|departure| Self {
            gate,
            tool,
            departure: Some(departure),
        }))
    }

    fn wait(&self) -> Duration {
        self.departure.map_or(Duration::ZERO, |it| it.wait)
    }

    fn used(mut self) {
        self.departure = None;
    }
}

impl Drop for Unused {
    fn drop(&mut self) {
        let Some(departure) = self.departure.take() else {
            return;
        };
        let (gate, tool) = (self.gate.clone(), Arc::clone(&self.tool));
        tokio::spawn(async move {
            let give_back = |known: &mut Known, _| {
                known.pace.give_back(departure);
                ((), None)
            };
            let _ = gate.change(&tool, SHARED_WITHIN, give_back).await;
        });
    }
}
