//! Several nodes that share one allowance, on a clock that is moved by hand.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use proptest::prelude::*;
use toolroom_domain::{Clock, workspace::Plan};

use super::{
    bucket::{Bucket, Flow},
    rate,
    share::{Drawn, Grant, Share, Source},
};

/// A clock that stands still until it is told otherwise.
#[derive(Clone, Debug)]
pub(super) struct HandClock(Arc<Mutex<Timestamp>>);

impl HandClock {
    pub(super) fn at(time: &str) -> Self {
        Self(Arc::new(Mutex::new(time.parse().unwrap())))
    }

    pub(super) fn pass(&self, time: Duration) {
        let mut now = self.0.lock().unwrap();
        *now = now.checked_add(time).unwrap();
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// A shared bucket that lies in memory, and counts how often it is asked.
#[derive(Clone)]
struct InMemory {
    clock: HandClock,
    flow: Flow,
    chunk: u32,
    bucket: Arc<Mutex<(Bucket, u32)>>,
}

impl InMemory {
    fn of(plan: Plan, clock: &HandClock) -> Self {
        let flow = Flow::from(plan.grants().workspace);
        Self {
            clock: clock.clone(),
            flow,
            chunk: (flow.burst * 0.02) as u32,
            bucket: Arc::new(Mutex::new((Bucket::full(flow, clock.now()), 0))),
        }
    }

    fn asked(&self) -> u32 {
        self.bucket.lock().unwrap().1
    }
}

#[async_trait]
impl Source for InMemory {
    fn chunk(&self) -> u32 {
        self.chunk
    }

    async fn take(&self, want: u32) -> Result<Grant, sqlx::Error> {
        let now = self.clock.now();
        let mut shared = self.bucket.lock().unwrap();
        shared.1 += 1;
        let granted = shared.0.take(self.flow, want, now);
        let tokens = shared.0.tokens(self.flow, now);
        Ok(rate::grant(self.flow, granted, tokens))
    }
}

/// Lets what was begun beside the test come to its end: a node that takes ahead.
async fn settle() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

fn nodes(count: usize, clock: &HandClock) -> Vec<Arc<Share>> {
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    (0..count).map(|_| Share::new(Arc::clone(&clock))).collect()
}

/// How many of so many requests at once each node lets in.
async fn hammer(nodes: &[Arc<Share>], source: &InMemory, requests: u32) -> u32 {
    let mut admitted = 0;
    for _ in 0..requests {
        for node in nodes {
            if matches!(node.draw(source).await.unwrap(), Drawn::Granted { .. }) {
                admitted += 1;
            }
        }
        settle().await;
    }
    admitted
}

#[tokio::test]
async fn nodes_that_are_hammered_let_in_what_one_bucket_would() {
    for plan in [Plan::Free, Plan::Pro, Plan::Enterprise] {
        let clock = HandClock::at("2026-11-21T10:00:00Z");
        let source = InMemory::of(plan, &clock);
        let nodes = nodes(2, &clock);
        let burst = source.flow.burst;
        let mut admitted = hammer(&nodes, &source, burst as u32).await;
        assert_eq!(f64::from(admitted), burst, "{plan:?} at once");
        for _ in 0..100 {
            clock.pass(Duration::from_millis(100));
            let in_time = source.flow.per_second / 10.0;
            admitted += hammer(&nodes, &source, in_time as u32 + 5).await;
        }
        let granted = burst + 10.0 * source.flow.per_second;
        let share = f64::from(admitted) / granted;
        assert!((0.95..=1.0).contains(&share), "{plan:?}: {share}");
    }
}

#[tokio::test]
async fn most_requests_ask_nobody() {
    let clock = HandClock::at("2026-11-21T10:00:00Z");
    let source = InMemory::of(Plan::Pro, &clock);
    let nodes = nodes(1, &clock);
    assert_eq!(hammer(&nodes, &source, 500).await, 500);
    assert!(source.asked() <= 60, "asked {} times", source.asked());
}

#[tokio::test]
async fn whoever_is_refused_is_told_when_to_come_again_and_asks_nobody_meanwhile() {
    let clock = HandClock::at("2026-11-21T10:00:00Z");
    let source = InMemory::of(Plan::Free, &clock);
    let nodes = nodes(1, &clock);
    hammer(&nodes, &source, 100).await;
    let more_in = Duration::from_millis(100);
    let refused = nodes[0].draw(&source).await.unwrap();
    assert_eq!(refused, Drawn::Refused { more_in });
    settle().await;
    let asked = source.asked();
    assert_eq!(hammer(&nodes, &source, 50).await, 0);
    assert_eq!(source.asked(), asked);
    clock.pass(more_in);
    assert_eq!(hammer(&nodes, &source, 5).await, 1);
}

#[tokio::test]
async fn what_is_put_back_is_drawn_again() {
    let clock = HandClock::at("2026-11-21T10:00:00Z");
    let source = InMemory::of(Plan::Free, &clock);
    let nodes = nodes(1, &clock);
    hammer(&nodes, &source, 101).await;
    nodes[0].put_back();
    assert_eq!(hammer(&nodes, &source, 3).await, 1);
}

#[tokio::test]
async fn what_is_held_too_long_is_dropped_since_the_bucket_has_it_again() {
    let clock = HandClock::at("2026-11-21T10:00:00Z");
    let source = InMemory::of(Plan::Pro, &clock);
    let nodes = nodes(3, &clock);
    // Each takes ahead, and then rests.
    hammer(&nodes, &source, 1).await;
    clock.pass(Duration::from_secs(11));
    let admitted = hammer(&nodes, &source, 1_000).await;
    assert_eq!(f64::from(admitted), source.flow.burst);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However requests come to however many nodes: never more than a tenth above what one bucket
    /// would let in, in no span.
    #[test]
    fn no_span_sees_a_tenth_more_than_the_plan_grants(
        count in 1..=5_usize,
        plan in proptest::sample::select(vec![Plan::Free, Plan::Pro]),
        steps in proptest::collection::vec((0..5_000_u64, 0..5_usize, 0..300_u32), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let clock = HandClock::at("2026-11-21T10:00:00Z");
            let source = InMemory::of(plan, &clock);
            let nodes = nodes(count, &clock);
            let (mut now, mut seen) = (0, Vec::new());
            for (wait, node, requests) in steps {
                clock.pass(Duration::from_millis(wait));
                now += wait;
                let node = std::slice::from_ref(&nodes[node % count]);
                seen.push((now, hammer(node, &source, requests).await));
            }
            for from in 0..seen.len() {
                let mut sum = 0.0;
                for &(until, admitted) in &seen[from..] {
                    sum += f64::from(admitted);
                    let span = (until - seen[from].0) as f64 / 1_000.0;
                    let granted = source.flow.burst + span * source.flow.per_second;
                    prop_assert!(sum <= 1.1 * granted + 1e-6, "{sum} of {granted}");
                }
            }
            Ok(())
        })?;
    }
}
