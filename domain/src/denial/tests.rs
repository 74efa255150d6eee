use proptest::prelude::*;

use super::{Command, Denial, Denials, Error, Event, stream_id};
use crate::{
    actor::Actor,
    claim::EventClaims,
    code::{ErrorCode, Refusal},
    id::WorkspaceId,
    limits::DENIALS_PER_HOUR,
    testing::{at, decide, given, replay},
};

const WORKSPACE: WorkspaceId = WorkspaceId::DEFAULT;

fn denial(second: i64) -> Denial {
    Denial {
        operation: "registerTool".to_owned(),
        reason: "FORBIDDEN".to_owned(),
        actor: Actor::local_owner(),
        count: 2,
        first_at: at(second),
        last_at: at(second + 1),
    }
}

fn deny(second: i64) -> Command {
    Command::Deny {
        workspace: WORKSPACE,
        denial: denial(second),
    }
}

fn denied(second: i64) -> Event {
    Event::Denied {
        workspace: WORKSPACE,
        denial: denial(second),
    }
}

fn omit(count: u64, second: i64) -> Command {
    Command::Omit {
        workspace: WORKSPACE,
        count,
        first_at: at(second),
        last_at: at(second),
    }
}

fn omitted(count: u64, second: i64) -> Event {
    Event::Omitted {
        workspace: WORKSPACE,
        count,
        first_at: at(second),
        last_at: at(second),
    }
}

fn full_hour() -> Vec<Event> {
    (0..i64::from(DENIALS_PER_HOUR)).map(denied).collect()
}

#[test]
fn a_refusal_is_told_once() {
    let story = given::<Denials>([])
        .when(deny(1))
        .then([denied(1)])
        .when(deny(1))
        .then_nothing()
        .when(deny(2))
        .then([denied(2)]);
    assert_eq!(story.state().workspace(), Some(WORKSPACE));
}

#[test]
fn an_hour_that_is_full_takes_no_more_but_their_number() {
    let refusal = given::<Denials>(full_hour()).when(deny(900)).refusal();
    assert_eq!(refusal, Error::HourFull);
    assert_eq!(refusal.code(), ErrorCode::RateLimitExceeded);
    given::<Denials>(full_hour())
        .when(omit(7, 900))
        .then([omitted(7, 900)])
        .when(omit(7, 900))
        .then_nothing()
        .when(deny(901))
        .then_refused(Error::HourFull);
}

#[test]
fn the_next_hour_has_room_again() {
    given::<Denials>(full_hour())
        .when(deny(3_600))
        .then([denied(3_600)]);
    // What another node tells late of the hour before does not open it again.
    let mut told = full_hour();
    told.extend((0..i64::from(DENIALS_PER_HOUR)).map(|n| denied(3_600 + n)));
    given::<Denials>(told)
        .when(deny(1_000))
        .then_refused(Error::HourFull);
}

#[test]
fn what_is_not_valid_is_refused_with_the_path_of_each_fault() {
    let bad = Denial {
        operation: " ".to_owned(),
        reason: "a\nb".to_owned(),
        count: 0,
        last_at: at(0),
        ..denial(1)
    };
    let command = Command::Deny {
        workspace: WORKSPACE,
        denial: bad,
    };
    let refusal = given::<Denials>([]).when(command).refusal();
    assert_eq!(refusal.code(), ErrorCode::ValidationFailed);
    let paths: Vec<_> = refusal.violations().into_iter().map(|v| v.path).collect();
    assert_eq!(paths, ["operation", "reason", "count", "lastAt"]);
    let refusal = given::<Denials>([]).when(omit(0, 1)).refusal();
    assert_eq!(refusal.violations()[0].path, "count");
}

#[test]
fn a_day_has_a_stream_of_its_own() {
    let day = "2026-11-21";
    let at = |time: &str| format!("{day}T{time}Z").parse().unwrap();
    let id = stream_id(WORKSPACE, at("00:00:00"));
    assert_eq!(id, format!("ws_00000000000000000000000000000000_{day}"));
    assert_eq!(stream_id(WORKSPACE, at("23:59:59")), id);
}

#[test]
fn refusals_claim_no_names() {
    assert_eq!(denied(1).claim_changes(), []);
    assert_eq!(omitted(1, 1).claim_changes(), []);
}

#[test]
fn the_stored_form_is_frozen() {
    let text = |event| serde_json::to_string(&event).unwrap();
    assert_eq!(
        text(denied(1)),
        r#"{"type":"AccessDenied","workspace":"ws_00000000000000000000000000000000","operation":"registerTool","reason":"FORBIDDEN","actor":"user:local","count":2,"first_at":"1970-01-01T00:00:01Z","last_at":"1970-01-01T00:00:02Z"}"#
    );
    assert_eq!(
        text(omitted(3, 1)),
        r#"{"type":"AccessDenialsOmitted","workspace":"ws_00000000000000000000000000000000","count":3,"first_at":"1970-01-01T00:00:01Z","last_at":"1970-01-01T00:00:01Z"}"#
    );
}

fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        4 => (0..9_i64).prop_map(|n| deny(n * 1_800)),
        1 => (0..3_u64, 0..9_i64).prop_map(|(count, n)| omit(count, n * 1_800)),
    ]
}

proptest! {
    #[test]
    fn any_history_is_bounded_and_gives_the_state_again(
        commands in proptest::collection::vec(any_command(), 0..600),
    ) {
        let (mut denials, mut history) = (Denials::default(), Vec::new());
        for command in commands {
            let mut next = denials.clone();
            if let Ok(events) = decide(&mut next, command.clone()) {
                denials = next;
                history.extend(events);
                let again = decide(&mut denials.clone(), command);
                prop_assert!(again.as_ref().map_or(true, Vec::is_empty), "{:?}", again);
            }
        }
        prop_assert_eq!(replay::<Denials>(&history), denials);
        let told = history.iter().filter(|e| matches!(e, Event::Denied { .. })).count();
        // The commands span five hours.
        prop_assert!(told <= 5 * DENIALS_PER_HOUR as usize);
    }
}
