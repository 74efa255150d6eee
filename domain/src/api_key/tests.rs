use proptest::prelude::*;

use super::{ApiKey, Command, Error, Event};
use crate::{
    access::Caller,
    actor::Actor,
    claim::EventClaims,
    code::{ErrorCode, Refusal},
    id::{ApiKeyId, WorkspaceId},
    role::Role,
    testing::{at, decide, given, replay},
};

const EXPIRY: i64 = 100;

fn id() -> ApiKeyId {
    ApiKeyId::from_uuid(uuid::Uuid::from_u128(3))
}

fn key(id: ApiKeyId) -> Actor {
    Actor::key(id)
}

fn create(role: Role, creator: Caller) -> Command {
    Command::Create {
        id: id(),
        workspace: WorkspaceId::DEFAULT,
        name: "deploy".to_owned(),
        prefix: "k7m2pq9x".to_owned(),
        role,
        operator: false,
        created_by: key(id()),
        creator,
        expires_at: Some(at(EXPIRY)),
        at: at(1),
    }
}

fn create_named(name: &str, prefix: &str, expires_at: i64) -> Command {
    Command::Create {
        id: id(),
        workspace: WorkspaceId::DEFAULT,
        name: name.to_owned(),
        prefix: prefix.to_owned(),
        role: Role::Viewer,
        operator: false,
        created_by: Actor::local_owner(),
        creator: Caller::Operator,
        expires_at: Some(at(expires_at)),
        at: at(1),
    }
}

fn created(role: Role) -> Event {
    Event::Created {
        id: id(),
        workspace: WorkspaceId::DEFAULT,
        name: "deploy".to_owned(),
        prefix: "k7m2pq9x".to_owned(),
        role,
        operator: false,
        created_by: key(id()),
        expires_at: Some(at(EXPIRY)),
        at: at(1),
    }
}

fn created_operator() -> Event {
    let mut event = created(Role::Viewer);
    if let Event::Created { operator, .. } = &mut event {
        *operator = true;
    }
    event
}

fn revoke_by(revoker: Caller, second: i64) -> Command {
    Command::Revoke {
        revoker,
        at: at(second),
    }
}

fn revoke(second: i64) -> Command {
    revoke_by(Caller::Key(Role::Admin), second)
}

fn revoked(second: i64) -> Event {
    Event::Revoked { at: at(second) }
}

#[test]
fn a_key_is_what_it_was_created_as() {
    let story = given::<ApiKey>([])
        .when(create(Role::Member, Caller::User(Some(Role::Admin))))
        .then([created(Role::Member)]);
    let key = story.state();
    assert_eq!((key.id(), key.role()), (Some(id()), Some(Role::Member)));
    assert_eq!(key.workspace(), Some(WorkspaceId::DEFAULT));
    assert_eq!(
        (key.name(), key.prefix()),
        (Some("deploy"), Some("k7m2pq9x"))
    );
    assert_eq!(
        key.created_by().map(Actor::as_str),
        Some("key:key_00000000000000000000000000000003")
    );
    assert_eq!(
        (key.created_at(), key.expires_at()),
        (Some(at(1)), Some(at(EXPIRY)))
    );
    assert_eq!(key.revoked_at(), None);
}

#[test]
fn a_key_that_runs_the_server_says_so() {
    let mut wanted = create(Role::Viewer, Caller::Operator);
    if let Command::Create { operator, .. } = &mut wanted {
        *operator = true;
    }
    let story = given::<ApiKey>([]).when(wanted).then([created_operator()]);
    assert!(story.state().is_operator());
    let text = serde_json::to_string(&created_operator()).unwrap();
    assert!(
        text.contains(r#""role":"VIEWER","operator":true,"#),
        "{text}"
    );
    assert_eq!(
        serde_json::from_str::<Event>(&text).unwrap(),
        created_operator()
    );
    assert!(
        !given::<ApiKey>([created(Role::Owner)])
            .state()
            .is_operator()
    );
}

#[test]
fn what_was_written_before_keys_told_it_reads_as_no_operators() {
    let text = serde_json::to_string(&created(Role::Owner)).unwrap();
    assert!(!text.contains("operator"), "{text}");
    let read: Event = serde_json::from_str(&text).unwrap();
    assert_eq!(read, created(Role::Owner));
}

#[test]
fn creating_it_again_is_refused() {
    let refusal = given::<ApiKey>([created(Role::Member)])
        .when(create(Role::Member, Caller::Operator))
        .refusal();
    assert_eq!(refusal, Error::AlreadyCreated);
    assert_eq!(refusal.code(), ErrorCode::Conflict);
}

#[test]
fn nobody_creates_a_key_above_themselves() {
    for creator in [
        Caller::User(Some(Role::Admin)),
        Caller::Key(Role::Admin),
        Caller::User(None),
        Caller::Anonymous,
    ] {
        let refusal = given::<ApiKey>([])
            .when(create(Role::Owner, creator))
            .refusal();
        assert_eq!(refusal, Error::AboveOwnRole { role: Role::Owner });
        assert_eq!(refusal.code(), ErrorCode::Forbidden);
    }
    for creator in [Caller::User(Some(Role::Owner)), Caller::Operator] {
        given::<ApiKey>([])
            .when(create(Role::Owner, creator))
            .then([created(Role::Owner)]);
    }
}

#[test]
fn a_key_that_is_not_valid_is_refused_with_the_path_of_each_fault() {
    let paths = |command| {
        let refusal = given::<ApiKey>([]).when(command).refusal();
        assert_eq!(refusal.code(), ErrorCode::ValidationFailed);
        let violations = refusal.violations().into_iter();
        violations.map(|v| v.path).collect::<Vec<_>>()
    };
    assert_eq!(
        paths(create_named(" ", "K_7", 1)),
        ["name", "prefix", "expiresAt"]
    );
    assert_eq!(paths(create_named("a\nb", "k7m2pq9x", 2)), ["name"]);
    assert_eq!(paths(create_named("a", "k7m2p_9x", 2)), ["prefix"]);
}

#[test]
fn revoking_twice_writes_once() {
    given::<ApiKey>([created(Role::Member)])
        .when(revoke(2))
        .then([revoked(2)])
        .when(revoke(3))
        .then_nothing();
}

#[test]
fn a_key_that_runs_the_server_is_revoked_by_operators_alone() {
    for revoker in [
        Caller::User(Some(Role::Owner)),
        Caller::User(Some(Role::Admin)),
        Caller::Key(Role::Owner),
    ] {
        let refusal = given::<ApiKey>([created_operator()])
            .when(revoke_by(revoker, 2))
            .refusal();
        assert_eq!(refusal, Error::RunsServer);
        assert_eq!(refusal.code(), ErrorCode::Forbidden);
    }
    given::<ApiKey>([created_operator()])
        .when(revoke_by(Caller::Operator, 2))
        .then([revoked(2)])
        .when(revoke_by(Caller::Operator, 3))
        .then_nothing();
}

#[test]
fn a_leaked_key_does_not_wait_for_whoever_stands_above_it() {
    given::<ApiKey>([created(Role::Owner)])
        .when(revoke_by(Caller::User(Some(Role::Admin)), 2))
        .then([revoked(2)]);
}

#[test]
fn what_was_never_created_cannot_be_revoked() {
    given::<ApiKey>([])
        .when(revoke(2))
        .then_refused(Error::Unknown);
    assert_eq!(Error::Unknown.code(), ErrorCode::NotFound);
}

#[test]
fn keys_claim_no_names() {
    assert_eq!(created(Role::Member).claim_changes(), []);
    assert_eq!(revoked(2).claim_changes(), []);
}

#[test]
fn the_stored_form_is_frozen() {
    let text = |event| serde_json::to_string(&event).unwrap();
    assert_eq!(
        text(created(Role::Member)),
        r#"{"type":"ApiKeyCreated","id":"key_00000000000000000000000000000003","workspace":"ws_00000000000000000000000000000000","name":"deploy","prefix":"k7m2pq9x","role":"MEMBER","created_by":"key:key_00000000000000000000000000000003","expires_at":"1970-01-01T00:01:40Z","at":"1970-01-01T00:00:01Z"}"#
    );
    assert_eq!(
        text(revoked(2)),
        r#"{"type":"ApiKeyRevoked","at":"1970-01-01T00:00:02Z"}"#
    );
}

fn any_command() -> impl Strategy<Value = Command> {
    let role = proptest::sample::select(Role::ALL.to_vec());
    let creator = prop_oneof![
        Just(Caller::Operator),
        role.clone().prop_map(Caller::Key),
        proptest::option::of(role.clone()).prop_map(Caller::User),
    ];
    prop_oneof![
        3 => (role, creator).prop_map(|(role, creator)| create(role, creator)),
        1 => ("[a ]{0,2}", "[a-c_]{5,17}", 0..4_i64)
            .prop_map(|(name, prefix, expiry)| create_named(&name, &prefix, expiry)),
        2 => (0..9_i64).prop_map(revoke),
    ]
}

proptest! {
    #[test]
    fn any_history_read_back_from_the_log_gives_the_same_key(
        commands in proptest::collection::vec(any_command(), 0..20),
    ) {
        let (mut key, mut history) = (ApiKey::default(), Vec::new());
        for command in commands {
            let mut next = key.clone();
            if let Ok(events) = decide(&mut next, command.clone()) {
                key = next;
                history.extend(events);
                let again = decide(&mut key.clone(), command);
                prop_assert!(again.as_ref().map_or(true, Vec::is_empty), "{:?}", again);
            }
        }
        prop_assert_eq!(replay::<ApiKey>(&history), key);
        let revocations = history.iter().filter(|e| matches!(e, Event::Revoked { .. })).count();
        prop_assert!(revocations <= 1);
    }
}
