//! How fast calls of a tool may follow each other, without a clock or a database.
//!
//! Of a type with a rate, no span as long as its window sees more calls than the rate grants: each call
//! is given the moment at which it may leave, in the order of asking (a sliding log of departures). What
//! the other side announces counts on top: nothing leaves before what a `Retry-After` names, and of what
//! it says is left no more is taken until it is renewed.

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::executor::Announced;

/// The longest that an announcement is believed: whoever says more may have meant milliseconds.
pub const ANNOUNCED_MAX: Duration = Duration::from_secs(3_600);

/// Between calls that have waited for the same moment: all at once, they would only be refused again.
const SPACING_MS: i64 = 100;

/// As long as the other side says that more are left than this, nobody counts them.
const FEW: u64 = 20;

/// Calls that may be given a moment in advance, of tools without a rate.
const AHEAD: usize = 1_000;

/// So many calls within a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Calls.
    pub requests: u32,
    /// Within which time, in milliseconds.
    pub window_ms: u32,
}

impl Rate {
    const fn per_minute(requests: u32) -> Self {
        Self {
            requests,
            window_ms: 60_000,
        }
    }

    /// The rate of a tool's type (`tool-actions.md`, "Default Limits"), if it has one.
    pub fn of(tool_type: &str) -> Option<Self> {
        match tool_type {
            "SLACK" | "DISCORD" => Some(Self::per_minute(60)),
            "EMAIL" => Some(Self::per_minute(30)),
            "GOOGLE_SHEETS" => Some(Self::per_minute(100)),
            _ => None,
        }
    }
}

/// What the other side says is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Left {
    calls: u64,
    until_ms: i64,
}

/// When calls of a tool have left, or will.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pace {
    /// Departures, the last one last, in milliseconds of the epoch.
    departures: VecDeque<i64>,
    /// Before this nothing leaves.
    blocked_until_ms: Option<i64>,
    left: Option<Left>,
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn wait(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

impl Pace {
    /// Forgets what is over, and what a clock that went back has left in the far future.
    fn forget(&mut self, rate: Option<Rate>, now: i64) {
        let window = rate.map_or(SPACING_MS, |rate| i64::from(rate.window_ms));
        let over = |at: &i64| *at <= now - window;
        while self.departures.front().is_some_and(over) {
            self.departures.pop_front();
        }
        let believed = ms(ANNOUNCED_MAX);
        let holds = |until: i64| until > now && until <= now + believed;
        self.blocked_until_ms = self.blocked_until_ms.filter(|until| holds(*until));
        self.left = self.left.filter(|left| holds(left.until_ms));
        let most = now + 2 * believed;
        while self.departures.back().is_some_and(|at| *at > most) {
            self.departures.pop_back();
        }
    }

    /// The moment at which the next call may leave.
    fn next(&self, rate: Option<Rate>, now: i64) -> i64 {
        let mut at = now;
        if let Some(rate) = rate {
            let requests = usize::try_from(rate.requests).unwrap_or(usize::MAX);
            if let Some(before) = self.departures.len().checked_sub(requests) {
                at = at.max(self.departures[before] + i64::from(rate.window_ms));
            }
        }
        let used_up = self.left.filter(|left| left.calls == 0);
        let blocked = self.blocked_until_ms.max(used_up.map(|left| left.until_ms));
        if let Some(until) = blocked {
            let last = self.departures.back().map(|last| last + SPACING_MS);
            at = at.max(until).max(last.unwrap_or(until));
        } else if let Some(last) = self.departures.back() {
            // In the order of asking, and spaced as long as others wait.
            at = at.max(*last);
        }
        at
    }

    /// Gives a call the moment at which it may leave, if that is within its patience.
    ///
    /// # Errors
    /// When it is not: how long it would have to wait.
    pub fn reserve(
        &mut self,
        rate: Option<Rate>,
        patience: Duration,
        now: Timestamp,
    ) -> Result<Departure, Duration> {
        let now = now.as_millisecond();
        self.forget(rate, now);
        let at = self.next(rate, now);
        if at > now + ms(patience) || (at > now && self.departures.len() >= self.room(rate)) {
            return Err(wait(at - now));
        }
        if let Some(left) = &mut self.left {
            left.calls = left.calls.saturating_sub(1);
        }
        self.departures.push_back(at);
        Ok(Departure {
            at_ms: at,
            wait: wait(at - now),
        })
    }

    fn room(&self, rate: Option<Rate>) -> usize {
        let requests = rate.map_or(0, |rate| rate.requests);
        AHEAD.max(usize::try_from(requests).unwrap_or(AHEAD))
    }

    /// Takes a moment back that was not used.
    pub fn give_back(&mut self, departure: Departure) {
        let mut all = self.departures.iter();
        if let Some(found) = all.position(|at| *at == departure.at_ms) {
            self.departures.remove(found);
            if let Some(left) = &mut self.left {
                left.calls += 1;
            }
        }
    }

    /// Takes in what the other side said. Says whether other nodes are to know.
    pub fn announce(&mut self, announced: Announced, now: Timestamp) -> bool {
        let now = now.as_millisecond();
        let after = |time: Duration| now + ms(time.min(ANNOUNCED_MAX));
        if let Some(retry_after) = announced.retry_after {
            self.blocked_until_ms = self.blocked_until_ms.max(Some(after(retry_after)));
            return true;
        }
        let Some(until) = announced.reset_after.map(after) else {
            return false;
        };
        match announced.remaining {
            Some(calls) if calls < FEW => {
                // What left meanwhile is not in the answer yet: the lower count holds.
                let calls = match self.left {
                    Some(left) if left.until_ms + 1_000 >= until => left.calls.min(calls),
                    _ => calls,
                };
                self.left = Some(Left {
                    calls,
                    until_ms: until,
                });
                true
            }
            _ => self.left.take().is_some(),
        }
    }

    /// Whether the other side restricts calls now.
    pub fn is_restricted(&self, now: Timestamp) -> bool {
        let now = now.as_millisecond();
        let until = self.left.map(|left| left.until_ms);
        self.blocked_until_ms
            .max(until)
            .is_some_and(|until| until > now)
            || self.departures.back().is_some_and(|last| *last > now)
    }

    /// Until when the other side restricts calls.
    pub fn restricted_until(&self) -> Option<Timestamp> {
        let until = self.left.map(|left| left.until_ms);
        let until = self.blocked_until_ms.max(until)?;
        Timestamp::from_millisecond(until).ok()
    }

    /// How many calls could leave within a time, were they to ask now; none where that is not limited.
    pub fn room_within(&self, rate: Option<Rate>, time: Duration, now: Timestamp) -> Option<usize> {
        let wait = self.wait(rate, now);
        if wait > time {
            return Some(0);
        }
        let now = now.as_millisecond();
        let by_rate = rate.map(|rate| {
            let counts = now + ms(time) - i64::from(rate.window_ms);
            let left = self.departures.iter().filter(|at| **at > counts).count();
            usize::try_from(rate.requests)
                .unwrap_or(usize::MAX)
                .saturating_sub(left)
        });
        let by_block = self.blocked_until_ms.filter(|until| *until > now).map(|_| {
            let spaced = ms(time - wait) / SPACING_MS + 1;
            usize::try_from(spaced).unwrap_or(1)
        });
        let by_left = self
            .left
            .filter(|left| left.until_ms > now)
            .map(|left| usize::try_from(left.calls).unwrap_or(usize::MAX));
        by_rate.into_iter().chain(by_block).chain(by_left).min()
    }

    /// How long a call would have to wait.
    pub fn wait(&self, rate: Option<Rate>, now: Timestamp) -> Duration {
        let mut copy = self.clone();
        let now = now.as_millisecond();
        copy.forget(rate, now);
        wait(copy.next(rate, now) - now)
    }
}

/// A moment at which a call may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    at_ms: i64,
    /// How long that is from when it was asked for.
    pub wait: Duration,
}
