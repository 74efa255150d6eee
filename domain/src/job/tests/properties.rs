//! What holds whatever is asked of a job, in whatever order.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::testing::{decide, replay};

fn any_command() -> impl Strategy<Value = Command> {
    let attempt = 0..6_u32;
    prop_oneof![
        1 => Just(Command::Request(request())),
        1 => Just(Command::RequestAndStart {
            request: request(),
            node: "n1".to_owned(),
            lease_ms: LEASE_MS,
        }),
        3 => (proptest::option::of(attempt.clone()), 0..20_i64).prop_map(|(takes_over, second)| {
            Command::Start {
                node: "n2".to_owned(),
                lease_ms: LEASE_MS,
                takes_over,
                at: at(second),
            }
        }),
        2 => (attempt.clone(), -10.0..=110.0).prop_map(|(attempt, p)| progress(attempt, p)),
        2 => attempt.clone().prop_map(succeed),
        3 => attempt.prop_map(fail),
        2 => Just(retry()),
        1 => Just(cancel()),
    ]
}

/// Sends the commands one by one and gives the final state and its history.
fn live(commands: Vec<Command>) -> (Job, Vec<Event>) {
    let (mut job, mut history) = (Job::default(), Vec::new());
    for command in commands {
        let mut next = job.clone();
        if let Ok(events) = decide(&mut next, command) {
            job = next;
            history.extend(events);
        }
    }
    (job, history)
}

proptest! {
    #[test]
    fn any_history_read_back_from_the_log_gives_the_same_job(
        commands in proptest::collection::vec(any_command(), 0..40),
    ) {
        let (job, history) = live(commands);
        prop_assert_eq!(replay::<Job>(&history), job);
    }

    #[test]
    fn an_attempt_has_at_most_one_outcome_and_nothing_happens_after_it(
        commands in proptest::collection::vec(any_command(), 0..60),
    ) {
        let (_, history) = live(commands);
        let mut outcomes: HashMap<u32, &Event> = HashMap::new();
        let mut last_started = 0;
        for event in &history {
            match event {
                Event::Started { attempt, .. } => {
                    prop_assert_eq!(*attempt, last_started + 1);
                    last_started = *attempt;
                }
                Event::Progressed { attempt, .. } => {
                    prop_assert_eq!(*attempt, last_started);
                    prop_assert!(!outcomes.contains_key(attempt));
                }
                Event::Succeeded { attempt, .. } | Event::Failed { attempt, .. }
                    if *attempt > 0 =>
                {
                    prop_assert_eq!(*attempt, last_started);
                    prop_assert!(outcomes.insert(*attempt, event).is_none());
                }
                _ => {}
            }
        }
        let ends = |e: &Event| matches!(e, Event::Succeeded { .. } | Event::Cancelled { .. });
        if let Some(end) = history.iter().position(ends) {
            prop_assert_eq!(end + 1, history.len(), "something followed the end");
        }
    }

    #[test]
    fn a_command_sent_twice_is_not_carried_out_twice(
        commands in proptest::collection::vec(any_command(), 1..30),
    ) {
        let mut job = Job::default();
        for command in commands {
            let mut next = job.clone();
            if decide(&mut next, command.clone()).is_ok() {
                job = next;
                let again = decide(&mut job.clone(), command);
                prop_assert!(again.as_ref().map_or(true, Vec::is_empty), "{:?}", again);
            }
        }
    }
}
