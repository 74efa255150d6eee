//! What holds whatever is asked of a job, in whatever order.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::testing::{decide, replay};

fn calls() -> impl Strategy<Value = Vec<Receipt>> {
    let outcome = prop_oneof![
        Just(ReceiptOutcome::Answered),
        Just(ReceiptOutcome::NotSent),
        Just(ReceiptOutcome::Unknown),
    ];
    let call = (1..4_u32, outcome, any::<bool>());
    let call = call.prop_map(|(step, outcome, repeatable)| receipt(step, outcome, repeatable));
    proptest::collection::vec(call, 0..3)
}

fn any_command() -> impl Strategy<Value = Command> {
    let attempt = 0..6_u32;
    prop_oneof![
        1 => Just(Command::Request(request())),
        1 => Just(Command::RequestAndStart {
            request: request(),
            node: "n1".to_owned(),
            lease_ms: LEASE_MS,
        }),
        3 => (attempt.clone(), any::<bool>(), 0..20_i64).prop_map(|(attempt, silent, second)| {
            Command::Start {
                node: "n2".to_owned(),
                lease_ms: LEASE_MS,
                ground: match silent {
                    true => Ground::Silent { attempt },
                    false => Ground::Due { after: attempt },
                },
                at: at(second),
            }
        }),
        2 => (attempt.clone(), calls(), any::<bool>()).prop_map(|(attempt, receipts, late)| {
            let told = of_calls(receipts);
            match late {
                false => Command::Tell { attempt, told, at: at(3) },
                true => Command::TellLate { attempt, told, at: at(3) },
            }
        }),
        3 => attempt.clone().prop_map(fail_for_now),
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
                Event::Succeeded { attempt, .. }
                | Event::Failed { attempt, .. }
                | Event::AttemptFailed { attempt, .. }
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
            // but that it is told late what an attempt had done
            let told = |e: &Event| matches!(e, Event::CallRecorded { .. });
            prop_assert!(history[end + 1..].iter().all(told), "something followed the end");
        }
    }

    #[test]
    fn an_attempt_that_may_have_done_something_is_followed_by_another_only_by_hand(
        commands in proptest::collection::vec(any_command(), 0..60),
    ) {
        let mut job = Job::default();
        for command in commands {
            let by_hand = matches!(command, Command::Retry { .. });
            let mut next = job.clone();
            let Ok(events) = decide(&mut next, command) else { continue };
            let doubtful = next
                .attempts()
                .last()
                .is_some_and(|attempt| attempt.receipts.iter().any(Receipt::is_doubtful));
            let scheduled = events
                .iter()
                .any(|event| matches!(event, Event::RetryScheduled { .. }));
            prop_assert!(by_hand || !scheduled || !doubtful);
            let lost = job.attempts().last().filter(|_| job.status() == Status::Running);
            let taken_over = events.iter().any(|event| matches!(event, Event::Started { .. }));
            if let Some(lost) = lost {
                prop_assert!(!taken_over || lost.doubled_by_takeover().is_none());
            }
            job = next;
        }
    }

    #[test]
    fn a_job_is_pending_after_an_attempt_that_is_repeated_and_then_due(
        commands in proptest::collection::vec(any_command(), 0..60),
    ) {
        let (_, history) = live(commands);
        for pair in history.windows(2) {
            if let Event::AttemptFailed { attempt: failed, .. } = &pair[0] {
                let follows = matches!(
                    &pair[1],
                    Event::RetryScheduled { attempt, .. } | Event::Started { attempt, .. }
                        if *attempt == failed + 1
                );
                prop_assert!(follows, "{:?}", pair[1]);
            }
        }
        let is_left = matches!(history.last(), Some(Event::AttemptFailed { .. }));
        prop_assert!(!is_left);
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
