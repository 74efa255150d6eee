use proptest::prelude::*;

use super::{Command, Error, Event, Secret, check_value, is_name, reference};
use crate::{
    claim::EventClaims,
    code::{ErrorCode, Refusal},
    id::{SecretId, WorkspaceId},
    limits,
    testing::{at, decide, given, replay},
};

const NAME: &str = "API_KEY";

fn id() -> SecretId {
    SecretId::of(WorkspaceId::DEFAULT, NAME)
}

fn create_named(name: &str, version: u32) -> Command {
    Command::Create {
        workspace: WorkspaceId::DEFAULT,
        name: name.to_owned(),
        version,
        at: at(1),
    }
}

fn create(version: u32) -> Command {
    create_named(NAME, version)
}

fn created(version: u32) -> Event {
    Event::Created {
        id: id(),
        workspace: WorkspaceId::DEFAULT,
        name: NAME.to_owned(),
        version,
        at: at(1),
    }
}

fn replace(version: u32) -> Command {
    Command::Replace { version, at: at(2) }
}

fn replaced(version: u32) -> Event {
    Event::Replaced { version, at: at(2) }
}

fn delete() -> Command {
    Command::Delete { at: at(3) }
}

fn deleted() -> Event {
    Event::Deleted { at: at(3) }
}

#[test]
fn a_secret_is_created_replaced_and_deleted() {
    let story = given::<Secret>([])
        .when(create(1))
        .then([created(1)])
        .when(replace(2))
        .then([replaced(2)]);
    let secret = story.state();
    assert_eq!((secret.id(), secret.name()), (Some(id()), Some(NAME)));
    assert_eq!((secret.version(), secret.next_version()), (2, 3));
    assert!(secret.is_present());
    assert_eq!(
        (secret.created_at(), secret.updated_at()),
        (Some(at(1)), Some(at(2)))
    );
    let gone = story.when(delete()).then([deleted()]);
    assert!(!gone.state().is_present());
}

#[test]
fn versions_go_on_where_a_deleted_secret_comes_back() {
    given::<Secret>([created(1), replaced(2), deleted()])
        .when(create(1))
        .then_refused(Error::Overtaken)
        .when(create(3))
        .then([created(3)]);
}

#[test]
fn a_name_has_one_secret() {
    let name = NAME.to_owned();
    let refusal = given::<Secret>([created(1)]).when(create(2)).refusal();
    assert_eq!(refusal, Error::AlreadyCreated { name });
    assert_eq!(refusal.code(), ErrorCode::Conflict);
    assert_eq!(created(1).claim_changes(), []);
    assert_ne!(id(), SecretId::of(WorkspaceId::DEFAULT, "api_key"));
    assert_ne!(id(), SecretId::of(WorkspaceId::NONE, NAME));
}

#[test]
fn a_value_that_was_sealed_for_a_version_that_is_taken_is_refused() {
    given::<Secret>([created(1), replaced(2)])
        .when(replace(2))
        .then_refused(Error::Overtaken);
}

#[test]
fn what_is_not_there_can_be_neither_replaced_nor_deleted() {
    given::<Secret>([])
        .when(replace(1))
        .then_refused(Error::Unknown)
        .when(delete())
        .then_refused(Error::Unknown);
    given::<Secret>([created(1), deleted()])
        .when(replace(2))
        .then_refused(Error::Unknown);
}

#[test]
fn deleting_twice_writes_once() {
    given::<Secret>([created(1)])
        .when(delete())
        .then([deleted()])
        .when(delete())
        .then_nothing();
}

#[test]
fn a_name_is_that_of_a_variable() {
    let long = "X".repeat(limits::SECRET_NAME_CHARS);
    for name in ["A", "_", "a1", "API_KEY", &long] {
        assert!(is_name(name), "{name}");
        assert_eq!(reference(&format!("${{{name}}}")), Some(name));
    }
    for name in ["", "1A", "A-B", "A B", "Ä", "A.B", &format!("{long}X")] {
        let refusal = given::<Secret>([]).when(create_named(name, 1)).refusal();
        assert_eq!(refusal.violations()[0].path, "name", "{name}");
        assert_eq!(reference(&format!("${{{name}}}")), None);
    }
    assert_eq!(reference("API_KEY"), None);
}

#[test]
fn a_value_is_bounded_and_told_to_nobody() {
    assert_eq!(check_value("x"), Ok(()));
    assert_eq!(check_value(&"x".repeat(limits::SECRET_BYTES)), Ok(()));
    let long = "sesame".repeat(limits::SECRET_BYTES);
    for value in ["", long.as_str()] {
        let violation = check_value(value).unwrap_err();
        assert_eq!(violation.path, "value");
        assert!(!violation.message.contains("sesame"));
    }
}

#[test]
fn the_stored_form_is_frozen() {
    let text = |event| serde_json::to_string(&event).unwrap();
    assert_eq!(
        text(created(1)),
        format!(
            r#"{{"type":"SecretCreated","id":"{}","workspace":"ws_00000000000000000000000000000000","name":"API_KEY","version":1,"at":"1970-01-01T00:00:01Z"}}"#,
            id()
        )
    );
    assert_eq!(
        text(replaced(2)),
        r#"{"type":"SecretReplaced","version":2,"at":"1970-01-01T00:00:02Z"}"#
    );
    assert_eq!(
        text(deleted()),
        r#"{"type":"SecretDeleted","at":"1970-01-01T00:00:03Z"}"#
    );
    // The id of a name must never become another.
    assert_eq!(id().to_string(), "sec_240b9bcbac6a5c4597f5cd4a7fc82b50");
}

fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        (1..6_u32).prop_map(create),
        (1..6_u32).prop_map(replace),
        Just(delete()),
    ]
}

proptest! {
    #[test]
    fn replayed_events_give_the_state_again_and_no_version_twice(
        commands in proptest::collection::vec(any_command(), 0..30),
    ) {
        let (mut secret, mut history) = (Secret::default(), Vec::new());
        for command in commands {
            let mut next = secret.clone();
            if let Ok(events) = decide(&mut next, command.clone()) {
                secret = next;
                history.extend(events);
                let again = decide(&mut secret.clone(), command);
                prop_assert!(again.as_ref().map_or(true, Vec::is_empty), "{:?}", again);
            }
        }
        let versions: Vec<_> = history.iter().filter_map(|event| match event {
            Event::Created { version, .. } | Event::Replaced { version, .. } => Some(*version),
            Event::Deleted { .. } => None,
        }).collect();
        prop_assert!(versions.is_sorted_by(|a, b| a < b), "{:?}", versions);
        prop_assert_eq!(replay::<Secret>(&history), secret);
    }
}
