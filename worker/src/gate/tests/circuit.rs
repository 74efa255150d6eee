//! The breaker's state machine.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::{
    super::{
        circuit::{
            Circuit, Entry, FAILURES_IN_A_ROW, OPEN_FOR, PROBE_MAX, SUCCESSES, State, Tally,
            Transition,
        },
        verdict::Verdict,
    },
    at,
};

const TIMEOUT: Duration = Duration::from_secs(30);

/// A circuit that one node tells of each call.
#[derive(Default)]
struct Told(Circuit);

impl Told {
    fn call(&mut self, verdict: Verdict, now: Timestamp) -> Option<Transition> {
        let mut tally = Tally::default();
        tally.count(verdict, now);
        let epoch = self.0.epoch();
        self.0.add(&tally, epoch, now)
    }

    fn probe(&mut self, now: Timestamp) -> Result<u64, Duration> {
        match self.0.probe(TIMEOUT, now)? {
            Entry::Probe { id } => Ok(id),
            Entry::Free { .. } => panic!("a closed circuit is not probed"),
        }
    }

    fn broken(now: Timestamp) -> Self {
        let mut told = Self::default();
        for _ in 0..FAILURES_IN_A_ROW {
            told.call(Verdict::Fails, now);
        }
        assert!(matches!(told.0.state(), State::Open { .. }));
        told
    }
}

#[test]
fn five_failures_in_a_row_open_it_for_a_minute() {
    let mut told = Told::default();
    for n in 1..5 {
        assert_eq!(told.call(Verdict::Fails, at(n)), None);
    }
    let until = at(60_005);
    let opened = Transition::Opened {
        failures: 5,
        until,
        at: at(5),
    };
    assert_eq!(told.call(Verdict::Fails, at(5)), Some(opened));
    assert_eq!(told.0.opens_in(at(5)), Some(OPEN_FOR));
    assert_eq!(told.0.opens_in(at(60_004)), Some(Duration::from_millis(1)));
    assert_eq!(told.0.opens_in(at(60_005)), Some(Duration::ZERO));
    assert_eq!(told.probe(at(60_004)), Err(Duration::from_millis(1)));
}

#[test]
fn a_success_in_between_begins_the_row_anew_and_an_answer_does_not() {
    let mut told = Told::default();
    for _ in 0..4 {
        told.call(Verdict::Fails, at(0));
    }
    told.call(Verdict::Works, at(0));
    for _ in 0..4 {
        assert_eq!(told.call(Verdict::Fails, at(0)), None);
        assert_eq!(told.call(Verdict::Answers, at(0)), None);
        assert_eq!(told.call(Verdict::Silent, at(0)), None);
    }
    // the ninth call that counts, and the fifth failure in a row
    assert!(told.call(Verdict::Fails, at(0)).is_some());
}

#[test]
fn half_of_ten_calls_within_a_minute_open_it() {
    let mut told = Told::default();
    for n in 0..9 {
        let verdict = match n % 2 {
            0 => Verdict::Works,
            _ => Verdict::Fails,
        };
        assert_eq!(told.call(verdict, at(n)), None);
    }
    let opened = told.call(Verdict::Fails, at(9));
    assert!(matches!(
        opened,
        Some(Transition::Opened { failures: 5, .. })
    ));

    let mut slow = Told::default();
    for n in 0..40 {
        let verdict = match n % 2 {
            0 => Verdict::Works,
            _ => Verdict::Fails,
        };
        assert_eq!(slow.call(verdict, at(n * 7_000)), None, "nine a minute");
    }
}

#[test]
fn two_probes_close_it_and_one_that_fails_opens_it_again() {
    let mut told = Told::broken(at(0));
    let first = told.probe(at(60_000)).unwrap();
    assert_eq!(told.probe(at(60_000)), Err(TIMEOUT), "one at a time");
    assert_eq!(told.0.probed(first, Verdict::Works, at(60_100)), None);
    let second = told.probe(at(60_100)).unwrap();
    let opened = told.0.probed(second, Verdict::Fails, at(60_200));
    assert!(matches!(opened, Some(Transition::Opened { until, .. }) if until == at(120_200)));
    assert_eq!(told.0.broken_since(), Some(at(0)));

    let third = told.probe(at(120_200)).unwrap();
    assert_eq!(
        told.0.probed(first, Verdict::Works, at(120_201)),
        None,
        "late"
    );
    assert_eq!(told.0.probed(third, Verdict::Works, at(120_300)), None);
    let fourth = told.probe(at(120_300)).unwrap();
    let closed = told.0.probed(fourth, Verdict::Answers, at(120_400));
    assert_eq!(closed, Some(Transition::Closed { at: at(120_400) }));
    assert_eq!(told.0.broken_since(), None);
    assert_eq!(told.call(Verdict::Fails, at(120_500)), None, "counts anew");
}

#[test]
fn a_probe_whose_node_was_lost_makes_room_for_another() {
    let mut told = Told::broken(at(0));
    let lost = told.probe(at(60_000)).unwrap();
    assert!(told.probe(at(89_999)).is_err());
    let next = told.probe(at(90_000)).unwrap();
    assert_ne!(lost, next);
    assert_eq!(told.0.probed(lost, Verdict::Fails, at(90_001)), None);
    assert_eq!(told.0.probed(next, Verdict::Silent, at(90_002)), None);
    assert!(told.probe(at(90_002)).is_ok(), "one that said nothing too");
}

#[test]
fn a_clock_that_goes_back_an_hour_keeps_nobody_out_for_longer() {
    const HOUR: i64 = 3_600_000;
    let mut told = Told::broken(at(HOUR));
    assert!(told.probe(at(0)).is_ok());
    assert_eq!(told.probe(at(-HOUR)).unwrap(), 2, "nor does its probe");
    let mut doubted = Told::default();
    doubted.call(Verdict::Fails, at(HOUR));
    for n in 0..9 {
        doubted.call(Verdict::Works, at(n));
    }
    assert!(!doubted.0.is_in_doubt(at(9)));
}

#[test]
fn what_was_counted_before_a_change_does_not_count_after_it() {
    let mut told = Told::broken(at(0));
    let mut tally = Tally::default();
    for _ in 0..9 {
        tally.count(Verdict::Fails, at(1));
    }
    assert_eq!(told.0.add(&tally, 0, at(2)), None);
    for n in 0..i64::from(SUCCESSES) {
        let id = told.probe(at(60_000 + n)).unwrap();
        told.0.probed(id, Verdict::Works, at(60_000 + n));
    }
    assert_eq!(told.0.state(), &State::Closed);
    assert_eq!(told.0.add(&tally, 0, at(60_010)), None);
    assert!(told.0.add(&tally, told.0.epoch(), at(60_010)).is_some());
}

#[test]
fn what_is_kept_is_read_back() {
    let mut told = Told::broken(at(0));
    told.probe(at(60_000)).unwrap();
    let text = serde_json::to_string(&told.0).unwrap();
    assert_eq!(serde_json::from_str::<Circuit>(&text).unwrap(), told.0);
}

/// What can happen to a circuit.
#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(i64),
    Call(usize, Verdict),
    Tell(usize),
    Probe,
    End(usize, Verdict),
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        1 => Just(Verdict::Works),
        3 => Just(Verdict::Fails),
        1 => Just(Verdict::Answers),
        1 => Just(Verdict::Silent),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (-5_000..70_000_i64).prop_map(Step::Wait),
        4 => (0..3_usize, verdict()).prop_map(|(node, verdict)| Step::Call(node, verdict)),
        2 => (0..3_usize).prop_map(Step::Tell),
        2 => Just(Step::Probe),
        2 => (0..4_usize, verdict()).prop_map(|(which, verdict)| Step::End(which, verdict)),
    ]
}

proptest! {
    /// However calls, tellings, probes and time are mixed, over three nodes and a clock that may go back
    /// a little: it opens only by failures, closes only by two probes that succeeded since, lets nobody
    /// in while it is open, and one at a time while it is half open.
    #[test]
    fn whatever_happens_the_rules_hold(steps in proptest::collection::vec(step(), 1..200)) {
        let mut circuit = Circuit::default();
        let mut tallies: [(Tally, u64); 3] = Default::default();
        let mut probes: Vec<(u64, Timestamp)> = Vec::new();
        let (mut now, mut fails_told, mut successes) = (0, 0_u64, 0);
        for step in steps {
            let before = circuit.clone();
            match step {
                Step::Wait(ms) => now += ms,
                Step::Call(node, verdict) => {
                    let (tally, epoch) = &mut tallies[node];
                    if *epoch != circuit.epoch() {
                        (*tally, *epoch) = (Tally::default(), circuit.epoch());
                    }
                    tally.count(verdict, at(now));
                }
                Step::Tell(node) => {
                    let (tally, epoch) = std::mem::take(&mut tallies[node]);
                    let transition = circuit.add(&tally, epoch, at(now));
                    prop_assert_eq!(transition.is_some(), circuit.epoch() != before.epoch());
                    if let Some(transition) = transition {
                        prop_assert!(matches!(before.state(), State::Closed));
                        let is_opened = matches!(transition, Transition::Opened { failures: 5.., .. });
                        prop_assert!(is_opened, "{:?}", transition);
                        fails_told += 1;
                        successes = 0;
                    }
                    tallies[node].1 = circuit.epoch();
                }
                Step::Probe => match circuit.probe(TIMEOUT, at(now)) {
                    Ok(Entry::Free { .. }) => prop_assert!(matches!(before.state(), State::Closed)),
                    Ok(Entry::Probe { id }) => {
                        if let State::Open { until } = before.state() {
                            let left = until.duration_since(at(now));
                            let is_over = !left.is_positive() || left.unsigned_abs() > OPEN_FOR;
                            prop_assert!(is_over);
                            successes = 0;
                        }
                        // The one before has ended, or is lost.
                        let are_over = probes.iter().all(|(_, until)| {
                            let left = until.duration_since(at(now));
                            !left.is_positive() || left.unsigned_abs() > PROBE_MAX
                        });
                        prop_assert!(are_over);
                        probes.clear();
                        probes.push((id, at(now) + jiff::SignedDuration::try_from(TIMEOUT).unwrap()));
                    }
                    Err(wait) => {
                        prop_assert!(!wait.is_zero() && wait <= PROBE_MAX);
                        prop_assert_eq!(&circuit, &before);
                    }
                },
                Step::End(which, verdict) => {
                    let known = probes.get(which).map(|probe| probe.0);
                    let id = known.unwrap_or(u64::MAX);
                    let transition = circuit.probed(id, verdict, at(now));
                    if known.is_none() {
                        prop_assert_eq!(&circuit, &before);
                        continue;
                    }
                    probes.clear();
                    match verdict {
                        Verdict::Works | Verdict::Answers => successes += 1,
                        Verdict::Fails => successes = 0,
                        Verdict::Silent => {}
                    }
                    match transition {
                        Some(Transition::Closed { .. }) => prop_assert_eq!(successes, SUCCESSES),
                        Some(Transition::Opened { .. }) => prop_assert_eq!(verdict, Verdict::Fails),
                        None => prop_assert!(successes < SUCCESSES),
                    }
                    if transition.is_some() {
                        successes = 0;
                    }
                }
            }
            prop_assert_eq!(circuit.opens_in(at(now)).is_none(), matches!(circuit.state(), State::Closed));
            let left = circuit.opens_in(at(now)).unwrap_or_default();
            prop_assert!(left <= PROBE_MAX);
        }
        prop_assert!(circuit.epoch() >= fails_told);
    }
}

#[test]
fn a_trial_probes_at_once_and_what_learns_nothing_changes_nothing() {
    let mut told = Told::broken(at(0));
    let opened = told.0.clone();
    let Ok(Entry::Probe { id }) = told.0.trial(TIMEOUT, at(10_000)) else {
        panic!("it is let in");
    };
    assert_eq!(told.0.trial(TIMEOUT, at(10_000)), Err(TIMEOUT));
    assert_eq!(told.probe(at(10_000)), Err(TIMEOUT));
    assert_eq!(told.0.probed(id, Verdict::Silent, at(11_000)), None);
    assert_eq!(told.0.opens_in(at(11_000)), opened.opens_in(at(11_000)));
    assert_eq!(told.0.told(), opened.told());
    let Ok(Entry::Probe { id }) = told.0.trial(TIMEOUT, at(12_000)) else {
        panic!("it is let in");
    };
    let again = told.0.probed(id, Verdict::Fails, at(13_000));
    assert!(
        matches!(again, Some(Transition::Opened { .. })),
        "{again:?}"
    );
    assert_eq!(told.0.opens_in(at(13_000)), Some(OPEN_FOR));
}
