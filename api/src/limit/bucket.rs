//! The arithmetic of a token bucket.
//!
//! A bucket holds at most `burst` tokens and gains `per_second` of them, continuously. Whoever wants
//! to do something takes a token. (J. Turner, "New directions in communications", 1986.) So in any
//! span of `t` seconds at most `burst + per_second · t` are taken. `operational.buckets` are computed
//! alike, in SQL; a test compares the two.

use std::time::Duration;

use jiff::Timestamp;
use toolroom_domain::plan::Rate;

/// How fast a bucket fills, and how far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Flow {
    /// Tokens a second.
    pub(crate) per_second: f64,
    /// Tokens of a full bucket.
    pub(crate) burst: f64,
}

impl From<Rate> for Flow {
    fn from(rate: Rate) -> Self {
        Self {
            per_second: f64::from(rate.per_second),
            burst: f64::from(rate.burst),
        }
    }
}

impl Flow {
    /// How long `tokens` take to flow in.
    pub(crate) fn time_for(self, tokens: f64) -> Duration {
        Duration::try_from_secs_f64((tokens / self.per_second).max(0.0)).unwrap_or(Duration::MAX)
    }

    /// How long an empty bucket takes to be full.
    pub(crate) fn time_to_fill(self) -> Duration {
        self.time_for(self.burst)
    }
}

/// A bucket as it was at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bucket {
    tokens: f64,
    refilled_at: Timestamp,
}

impl Bucket {
    /// A bucket that nobody has taken from.
    pub(crate) fn full(flow: Flow, now: Timestamp) -> Self {
        Self {
            tokens: flow.burst,
            refilled_at: now,
        }
    }

    /// The tokens that are in it.
    pub(crate) fn tokens(self, flow: Flow, now: Timestamp) -> f64 {
        // A clock that went back adds nothing, and takes nothing away.
        let since = now.duration_since(self.refilled_at).as_secs_f64().max(0.0);
        (self.tokens + since * flow.per_second).min(flow.burst)
    }

    /// Takes up to `want` whole tokens, and says how many.
    pub(crate) fn take(&mut self, flow: Flow, want: u32, now: Timestamp) -> u32 {
        let tokens = self.tokens(flow, now);
        let granted = f64::from(want).min(tokens.floor());
        self.tokens = tokens - granted;
        self.refilled_at = self.refilled_at.max(now);
        // From 0 to `want`.
        granted as u32
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_millis(ms)
    }

    fn flow(per_second: u32, burst: u32) -> Flow {
        Rate { per_second, burst }.into()
    }

    #[test]
    fn an_empty_bucket_fills_as_time_goes_by() {
        let flow = flow(10, 100);
        let mut bucket = Bucket::full(flow, at(0));
        assert_eq!(bucket.take(flow, 150, at(0)), 100);
        assert_eq!(bucket.take(flow, 1, at(99)), 0);
        assert_eq!(bucket.take(flow, 1, at(100)), 1);
        assert_eq!(bucket.take(flow, 1_000, at(60_000)), 100, "it overflows");
        assert_eq!(flow.time_to_fill(), Duration::from_secs(10));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_twice() {
        let flow = flow(10, 100);
        let mut bucket = Bucket::full(flow, at(5_000));
        assert_eq!(bucket.take(flow, 100, at(5_000)), 100);
        assert_eq!(bucket.take(flow, 1, at(0)), 0);
        assert_eq!(bucket.take(flow, 100, at(5_500)), 5);
    }

    proptest! {
        /// In every span no more than the burst and what flows in meanwhile; and whoever wants all
        /// there is gets, to a token, what flowed in.
        #[test]
        fn no_span_sees_more_than_burst_and_flow(
            per_second in 1..2_000_u32,
            saved in 1..20_u32,
            steps in proptest::collection::vec((0..3_000_i64, 0..5_000_u32), 1..60),
        ) {
            let flow = flow(per_second, per_second * saved);
            let mut bucket = Bucket::full(flow, at(0));
            let (mut now, mut taken) = (0, vec![]);
            for (wait, want) in steps {
                now += wait;
                let before = bucket.tokens(flow, at(now));
                let granted = bucket.take(flow, want, at(now));
                prop_assert!(granted <= want);
                prop_assert!(granted == want || before - f64::from(granted) < 1.0);
                taken.push((now, f64::from(granted)));
            }
            for from in 0..taken.len() {
                let mut sum = 0.0;
                for &(until, granted) in &taken[from..] {
                    sum += granted;
                    let span = (until - taken[from].0) as f64 / 1_000.0;
                    prop_assert!(sum <= flow.burst + span * flow.per_second + 1e-6);
                }
            }
        }
    }
}
