//! The state machine of a circuit breaker, shared by all nodes; without a clock, a database or chance.
//!
//! ```text
//!            5 failures in a row, or half of at least 10 calls within a minute
//!  CLOSED ──────────────────────────────────────────────────────────────────► OPEN
//!     ▲                                                            60 s over │  ▲
//!     │ 2 probes succeeded                                                   ▼  │ a probe failed
//!     └───────────────────────────────────────────────────────────── HALF OPEN ─┘
//! ```
//!
//! (M. Nygard, *Release It!*, 2007; the numbers are those of `tool-actions.md`.) Nodes count for
//! themselves and tell what they have counted since, a [`Tally`]; what they counted before a
//! transition does not count after it, for which the transitions are numbered.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::verdict::Verdict;

/// Failures in a row that open the circuit.
pub const FAILURES_IN_A_ROW: u32 = 5;

/// Of at least so many calls within the window…
pub const WINDOW_CALLS: u32 = 10;

/// …this part, in percent, opens the circuit if it failed.
pub const WINDOW_FAILED_PERCENT: u32 = 50;

/// For how long the circuit stays open.
pub const OPEN_FOR: Duration = Duration::from_secs(60);

/// Probes in a row that close it.
pub const SUCCESSES: u32 = 2;

/// The window, and the steps in which it moves on: calls count for 55 to 60 s.
pub const WINDOW: Duration = Duration::from_secs(60);
const STEP_MS: i64 = 5_000;
const STEPS: i64 = WINDOW.as_millis() as i64 / STEP_MS;

/// Calls that ended within one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Step {
    nth: i64,
    calls: u32,
    failures: u32,
}

fn step_at(now: Timestamp) -> i64 {
    now.as_millisecond().div_euclid(STEP_MS)
}

/// Calls of the last minute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Window(Vec<Step>);

impl Window {
    fn add(&mut self, step: Step) {
        match self.0.iter_mut().find(|known| known.nth == step.nth) {
            Some(known) => {
                known.calls = known.calls.saturating_add(step.calls);
                known.failures = known.failures.saturating_add(step.failures);
            }
            None => self.0.push(step),
        }
    }

    /// Forgets what is over, and what a clock that went back has left in the future.
    fn forget(&mut self, now: Timestamp) {
        let newest = step_at(now);
        self.0
            .retain(|step| (newest - STEPS + 1..=newest).contains(&step.nth));
    }

    fn sum(&self) -> (u32, u32) {
        self.0.iter().fold((0, 0), |(calls, failures), step| {
            (calls + step.calls, failures + step.failures)
        })
    }
}

/// What a node has counted and not told yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    window: Window,
    /// Whether a call succeeded.
    worked: bool,
    /// Failures since, in a row.
    failures: u32,
}

impl Tally {
    /// Counts the end of a call.
    pub fn count(&mut self, verdict: Verdict, now: Timestamp) {
        let failures = match verdict {
            Verdict::Works => 0,
            Verdict::Fails => 1,
            Verdict::Answers | Verdict::Silent => return,
        };
        self.window.forget(now);
        self.window.add(Step {
            nth: step_at(now),
            calls: 1,
            failures,
        });
        if failures == 0 {
            self.worked = true;
            self.failures = 0;
        } else {
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.window.0.is_empty()
    }
}

/// A call that tries whether the other side works again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Which one it is: only its own end counts.
    id: u64,
    /// When it is taken for lost, with its node.
    until: Timestamp,
    /// Until when calls were to be kept back, of one that was let in before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    open_until: Option<Timestamp>,
}

/// Whether calls are let through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum State {
    /// They are.
    #[default]
    Closed,
    /// They are not.
    Open {
        /// Until when.
        until: Timestamp,
    },
    /// One at a time is.
    HalfOpen {
        /// Probes that have succeeded.
        successes: u32,
        /// The one under way.
        probe: Option<Probe>,
    },
}

/// A tool's circuit, as all nodes share it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circuit {
    state: State,
    /// Counts transitions.
    epoch: u64,
    /// Numbers probes.
    probes: u64,
    /// Failures in a row; after an opening, those that led to it.
    failures: u32,
    window: Window,
    /// When it last opened or closed.
    changed_at: Option<Timestamp>,
    /// When it opened, of an opening that no success has ended.
    broken_since: Option<Timestamp>,
    /// The last time it was broken, once that is over.
    #[serde(default)]
    outage: Option<Outage>,
}

/// A time during which a circuit was not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// When it opened.
    pub from: Timestamp,
    /// When it closed.
    pub to: Timestamp,
}

/// A change that the world is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// It opened, or stays open after a probe that failed.
    Opened {
        /// Failures that led to it.
        failures: u32,
        /// Until when.
        until: Timestamp,
        /// When.
        at: Timestamp,
    },
    /// It closed.
    Closed {
        /// When.
        at: Timestamp,
    },
}

fn later(now: Timestamp, time: Duration) -> Timestamp {
    now.checked_add(time).unwrap_or(Timestamp::MAX)
}

/// What is left until a moment: at most what can be meant, should the clock have gone back.
fn left(until: Timestamp, now: Timestamp, at_most: Duration) -> Duration {
    let left = until.duration_since(now);
    match left.is_positive() {
        true if left.unsigned_abs() <= at_most => left.unsigned_abs(),
        _ => Duration::ZERO,
    }
}

impl Circuit {
    /// Where it stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The number of its last transition.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// When it last opened or closed.
    pub fn changed_at(&self) -> Option<Timestamp> {
        self.changed_at
    }

    /// Since when no call has succeeded, of a circuit that is not closed.
    pub fn broken_since(&self) -> Option<Timestamp> {
        self.broken_since
    }

    /// The last time it was broken, of a circuit that is closed.
    pub fn outage(&self) -> Option<Outage> {
        self.outage
    }

    /// How long calls are still kept back before one may probe, at the most; none where all are let
    /// through.
    pub fn opens_in(&self, now: Timestamp) -> Option<Duration> {
        match &self.state {
            State::Closed => None,
            State::Open { until } => Some(left(*until, now, OPEN_FOR)),
            State::HalfOpen { probe: None, .. } => Some(Duration::ZERO),
            State::HalfOpen {
                probe: Some(probe), ..
            } => Some(left(probe.until, now, PROBE_MAX)),
        }
    }

    /// Whether successes count too, since there were failures of late.
    pub fn is_in_doubt(&self, now: Timestamp) -> bool {
        let mut window = self.window.clone();
        window.forget(now);
        self.state != State::Closed || window.sum().1 > 0
    }

    /// What the world knows of it, or should.
    pub fn told(&self) -> Option<Transition> {
        let at = self.changed_at?;
        Some(match &self.state {
            State::Closed => Transition::Closed { at },
            State::Open { until } => Transition::Opened {
                failures: self.failures,
                until: *until,
                at,
            },
            State::HalfOpen { .. } => Transition::Opened {
                failures: self.failures,
                until: later(at, OPEN_FOR),
                at,
            },
        })
    }

    fn open(&mut self, failures: u32, now: Timestamp) -> Transition {
        let until = later(now, OPEN_FOR);
        self.state = State::Open { until };
        self.epoch += 1;
        self.failures = failures;
        self.window = Window::default();
        self.changed_at = Some(now);
        self.broken_since.get_or_insert(now);
        Transition::Opened {
            failures,
            until,
            at: now,
        }
    }

    fn close(&mut self, now: Timestamp) -> Transition {
        self.state = State::Closed;
        self.epoch += 1;
        self.failures = 0;
        self.window = Window::default();
        self.changed_at = Some(now);
        self.outage = self
            .broken_since
            .take()
            .map(|from| Outage { from, to: now });
        Transition::Closed { at: now }
    }

    /// Takes in what a node has counted since it heard of the transition `epoch`.
    pub fn add(&mut self, tally: &Tally, epoch: u64, now: Timestamp) -> Option<Transition> {
        if self.state != State::Closed || epoch != self.epoch {
            return None;
        }
        for step in &tally.window.0 {
            self.window.add(*step);
        }
        self.window.forget(now);
        self.failures = match tally.worked {
            true => tally.failures,
            false => self.failures.saturating_add(tally.failures),
        };
        let (calls, failures) = self.window.sum();
        let too_many = calls >= WINDOW_CALLS
            && u64::from(failures) * 100 >= u64::from(calls) * u64::from(WINDOW_FAILED_PERCENT);
        if self.failures >= FAILURES_IN_A_ROW {
            Some(self.open(self.failures, now))
        } else if too_many && tally.failures > 0 {
            Some(self.open(failures, now))
        } else {
            None
        }
    }

    /// Asks to be the one call that probes, which is to end within `within`.
    ///
    /// # Errors
    /// When calls are kept back still, or another one probes: how long to wait at the most.
    pub fn probe(&mut self, within: Duration, now: Timestamp) -> Result<Entry, Duration> {
        match self.opens_in(now) {
            None => return Ok(Entry::Free { epoch: self.epoch }),
            Some(Duration::ZERO) => {}
            Some(left) => return Err(left),
        }
        Ok(self.let_probe(within, None, now))
    }

    /// The same for a call that somebody makes to see whether the tool works again: it need not wait
    /// for the time that calls are kept back.
    ///
    /// # Errors
    /// When another one probes: how long to wait at the most.
    pub fn trial(&mut self, within: Duration, now: Timestamp) -> Result<Entry, Duration> {
        match &self.state {
            State::Open { until } => Ok(self.let_probe(within, Some(*until), now)),
            State::Closed | State::HalfOpen { .. } => self.probe(within, now),
        }
    }

    fn let_probe(
        &mut self,
        within: Duration,
        open_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Entry {
        let successes = match &self.state {
            State::HalfOpen { successes, .. } => *successes,
            State::Closed | State::Open { .. } => 0,
        };
        self.probes += 1;
        let probe = Probe {
            id: self.probes,
            until: later(now, within.min(PROBE_MAX)),
            open_until,
        };
        self.state = State::HalfOpen {
            successes,
            probe: Some(probe),
        };
        Entry::Probe { id: probe.id }
    }

    /// Takes in the end of a probe. One that was taken for lost counts no more.
    pub fn probed(&mut self, id: u64, verdict: Verdict, now: Timestamp) -> Option<Transition> {
        let State::HalfOpen { successes, probe } = &mut self.state else {
            return None;
        };
        let ended = probe.filter(|probe| probe.id == id)?;
        *probe = None;
        match verdict {
            Verdict::Works | Verdict::Answers => {
                *successes += 1;
                (*successes >= SUCCESSES).then(|| self.close(now))
            }
            Verdict::Fails => {
                let failures = self.failures.saturating_add(1);
                Some(self.open(failures, now))
            }
            Verdict::Silent => {
                // Nothing was learnt: what it was let in before goes on.
                if let Some(until) = ended.open_until {
                    self.state = State::Open { until };
                }
                None
            }
        }
    }
}

/// The longest that a probe holds the others back, should its node be lost: a call's longest time.
pub const PROBE_MAX: Duration = Duration::from_secs(320);

/// As what a call was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Like any other.
    Free {
        /// After which transition.
        epoch: u64,
    },
    /// To see whether the other side works again.
    Probe {
        /// Which one.
        id: u64,
    },
}
