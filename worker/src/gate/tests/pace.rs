//! When calls may leave.

use std::time::Duration;

use proptest::prelude::*;

use super::{
    super::pace::{ANNOUNCED_MAX, Pace, Rate},
    at,
};
use crate::executor::Announced;

const SLACK: Option<Rate> = Some(Rate {
    requests: 60,
    window_ms: 60_000,
});

const PATIENT: Duration = Duration::from_secs(300);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn announced(remaining: Option<u64>, seconds: u64) -> Announced {
    let time = Some(Duration::from_secs(seconds));
    Announced {
        remaining,
        reset_after: time.filter(|_| remaining.is_some()),
        retry_after: time.filter(|_| remaining.is_none()),
    }
}

#[test]
fn types_have_the_rates_that_the_document_lists() {
    let per_minute = |tool_type| Rate::of(tool_type).map(|rate| (rate.requests, rate.window_ms));
    assert_eq!(per_minute("SLACK"), Some((60, 60_000)));
    assert_eq!(per_minute("DISCORD"), Some((60, 60_000)));
    assert_eq!(per_minute("EMAIL"), Some((30, 60_000)));
    assert_eq!(per_minute("GOOGLE_SHEETS"), Some((100, 60_000)));
    assert_eq!(per_minute("REST"), None);
}

#[test]
fn sixty_leave_at_once_and_the_next_when_the_first_is_a_minute_old() {
    let mut pace = Pace::default();
    for n in 0..60 {
        let departure = pace.reserve(SLACK, Duration::ZERO, at(n * 10)).unwrap();
        assert_eq!(departure.wait, Duration::ZERO);
    }
    assert_eq!(pace.room_within(SLACK, seconds(2), at(600)), Some(0));
    let wait = pace.reserve(SLACK, seconds(59), at(600)).unwrap_err();
    assert_eq!(wait, Duration::from_millis(59_400));
    let waits = (0..3).map(|_| pace.reserve(SLACK, PATIENT, at(600)).unwrap().wait);
    let waits: Vec<_> = waits.map(|wait| wait.as_millis()).collect();
    assert_eq!(waits, [59_400, 59_410, 59_420]);
    assert_eq!(pace.room_within(SLACK, seconds(60), at(600)), Some(57));
}

#[test]
fn a_moment_that_is_given_back_is_used_by_the_next() {
    let mut pace = Pace::default();
    for _ in 0..60 {
        pace.reserve(SLACK, PATIENT, at(0)).unwrap();
    }
    let unused = pace.reserve(SLACK, PATIENT, at(1)).unwrap();
    let next = pace.reserve(SLACK, PATIENT, at(1)).unwrap();
    pace.give_back(unused);
    pace.give_back(next);
    assert_eq!(pace.reserve(SLACK, PATIENT, at(1)).unwrap(), unused);
}

#[test]
fn nothing_leaves_before_what_a_refusal_names_and_then_one_after_the_other() {
    let mut pace = Pace::default();
    assert!(!pace.is_restricted(at(0)));
    assert!(pace.announce(announced(None, 30), at(0)));
    assert!(pace.is_restricted(at(1_000)));
    assert_eq!(pace.reserve(None, seconds(5), at(1_000)), Err(seconds(29)));
    let wait = |pace: &mut Pace| pace.reserve(None, PATIENT, at(1_000)).unwrap().wait;
    assert_eq!(wait(&mut pace), seconds(29));
    assert_eq!(wait(&mut pace), Duration::from_millis(29_100));
    assert_eq!(pace.room_within(None, seconds(30), at(1_000)), Some(9));
    assert!(!pace.is_restricted(at(31_000)));
    assert_eq!(pace.room_within(None, seconds(2), at(31_000)), None);
}

#[test]
fn of_what_is_said_to_be_left_no_more_is_taken() {
    let mut pace = Pace::default();
    assert!(!pace.announce(announced(Some(500), 10), at(0)));
    assert!(pace.announce(announced(Some(2), 10), at(0)));
    for _ in 0..2 {
        let departure = pace.reserve(None, PATIENT, at(0)).unwrap();
        assert_eq!(departure.wait, Duration::ZERO);
    }
    let third = pace.reserve(None, PATIENT, at(0)).unwrap();
    assert_eq!(third.wait, seconds(10));
    // an answer to one of the first two, which knows of less than has left
    pace.announce(announced(Some(1), 10), at(100));
    assert!(pace.reserve(None, PATIENT, at(100)).unwrap().wait >= Duration::from_millis(9_900));
    assert!(pace.announce(announced(Some(100), 10), at(10_000)));
    assert!(
        pace.reserve(None, PATIENT, at(11_000))
            .unwrap()
            .wait
            .is_zero()
    );
}

#[test]
fn no_announcement_is_believed_for_more_than_an_hour_nor_longer_by_a_clock_that_goes_back() {
    let mut pace = Pace::default();
    pace.announce(announced(None, 1_000_000), at(0));
    assert_eq!(pace.wait(None, at(0)), ANNOUNCED_MAX);
    assert_eq!(pace.wait(None, at(-7_200_000)), Duration::ZERO);
}

proptest! {
    /// Whoever asks when, and gives back what: no span of a window sees more than the rate grants, and
    /// nobody is overtaken by who asks later.
    #[test]
    fn no_window_sees_more_than_its_rate(
        requests in 1..20_u32,
        steps in proptest::collection::vec((0..400_i64, 0..5_000_u64, any::<bool>()), 1..150),
    ) {
        let rate = Some(Rate { requests, window_ms: 1_000 });
        let mut pace = Pace::default();
        let (mut now, mut left) = (0, Vec::new());
        for (wait, patience, gives_back) in steps {
            now += wait;
            let patience = Duration::from_millis(patience);
            if let Ok(departure) = pace.reserve(rate, patience, at(now)) {
                prop_assert!(departure.wait <= patience);
                if gives_back {
                    pace.give_back(departure);
                } else {
                    left.push(now + i64::try_from(departure.wait.as_millis()).unwrap());
                }
            }
        }
        prop_assert!(left.is_sorted());
        for (n, first) in left.iter().enumerate() {
            let within = left[n..].iter().filter(|at| **at < first + 1_000).count();
            prop_assert!(within <= requests as usize, "{} of {}", within, requests);
        }
    }
}
