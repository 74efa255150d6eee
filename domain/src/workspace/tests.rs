use cqrs_es::DomainEvent;

use super::{Command, Error, Event, Plan, Sender, Workspace};
use crate::{
    claim::EventClaims,
    code::{ErrorCode, Refusal},
    limits,
    role::Role,
    testing::{at, decide, given},
};

mod invitations;
mod members;
mod properties;
mod samples;

use samples::*;

fn update(sender: Sender, name: Option<&str>, time_zone: Option<&str>) -> Command {
    Command::Update {
        sender,
        name: name.map(str::to_owned),
        time_zone: time_zone.map(str::to_owned),
        at: at(2),
    }
}

fn updated(name: &str, time_zone: &str) -> Event {
    Event::Updated {
        name: name.to_owned(),
        time_zone: time_zone.to_owned(),
        at: at(2),
    }
}

fn delete(sender: Sender) -> Command {
    Command::Delete { sender, at: at(6) }
}

fn deleted() -> Event {
    Event::Deleted { at: at(6) }
}

fn change_plan(sender: Sender, plan: Plan) -> Command {
    Command::ChangePlan {
        sender,
        plan,
        at: at(2),
    }
}

fn not_permitted(operation: &'static str) -> Error {
    Error::NotPermitted { operation }
}

#[test]
fn whoever_creates_a_workspace_owns_it() {
    let story = given::<Workspace>([]).when(create()).then([created()]);
    let workspace = story.state();
    assert_eq!(workspace.id(), Some(id()));
    assert_eq!(workspace.created_at(), Some(at(1)));
    assert_eq!(
        (workspace.name(), workspace.time_zone()),
        ("Acme", "Europe/Berlin")
    );
    assert_eq!(workspace.plan(), Plan::Free);
    assert_eq!(workspace.role_of(&user("olga")), Some(Role::Owner));
    let email = workspace
        .member(&user("olga"))
        .and_then(|m| m.email.as_deref());
    assert_eq!(email, Some("olga@acme.example"));
    assert_eq!(workspace.role_of(&user("adam")), None);
}

#[test]
fn creating_it_again_is_refused() {
    given::<Workspace>([created()])
        .when(create())
        .then_refused(Error::AlreadyCreated);
    assert_eq!(Error::AlreadyCreated.code(), ErrorCode::Conflict);
}

#[test]
fn a_workspace_that_is_not_valid_is_refused_with_the_path_of_each_fault() {
    let refusal = given::<Workspace>([])
        .when(Command::Create {
            id: id(),
            name: " ".to_owned(),
            owner: user("olga"),
            owner_email: None,
            time_zone: "Mars/Olympus".to_owned(),
            plan: Plan::Free,
            at: at(1),
        })
        .refusal();
    assert_eq!(refusal.code(), ErrorCode::ValidationFailed);
    let paths: Vec<_> = refusal.violations().into_iter().map(|v| v.path).collect();
    assert_eq!(paths, ["name", "timeZone"]);
}

#[test]
fn an_update_changes_what_it_names() {
    staffed()
        .when(update(by("adam"), Some("Acme Ltd"), None))
        .then([updated("Acme Ltd", "Europe/Berlin")])
        .when(update(by("olga"), None, Some("UTC")))
        .then([updated("Acme Ltd", "UTC")])
        .when(update(by("olga"), None, Some("UTC")))
        .then_nothing()
        .when(update(by("olga"), None, None))
        .then_nothing();
}

#[test]
fn who_may_not_update_is_refused_and_who_is_no_member_finds_nothing() {
    for name in ["mia", "vera", "anna"] {
        let refusal = staffed()
            .when(update(by(name), Some("Mine"), None))
            .refusal();
        assert_eq!(refusal, not_permitted("updateWorkspace"), "{name}");
        assert_eq!(refusal.code(), ErrorCode::Forbidden);
    }
    let refusal = staffed()
        .when(update(by("stranger"), Some("Mine"), None))
        .refusal();
    assert_eq!(refusal, Error::Unknown);
    assert_eq!(refusal.code(), ErrorCode::NotFound);
    let nothing = given::<Workspace>([]).when(update(Sender::Operator, None, None));
    nothing.then_refused(Error::Unknown);
}

#[test]
fn a_key_may_what_its_role_may() {
    staffed()
        .when(update(Sender::Key(Role::Admin), Some("B"), None))
        .then([updated("B", "Europe/Berlin")])
        .when(update(Sender::Key(Role::Member), Some("C"), None))
        .then_refused(not_permitted("updateWorkspace"));
}

#[test]
fn only_an_operator_changes_the_plan() {
    let event = Event::PlanChanged {
        plan: Plan::Pro,
        at: at(2),
    };
    let story = staffed()
        .when(change_plan(by("olga"), Plan::Pro))
        .then_refused(not_permitted("setPlan"))
        .when(change_plan(Sender::Operator, Plan::Pro))
        .then([event])
        .when(change_plan(Sender::Operator, Plan::Pro))
        .then_nothing();
    assert_eq!(story.state().plan(), Plan::Pro);
}

#[test]
fn only_an_owner_deletes_it_and_twice_writes_once() {
    let story = staffed()
        .when(delete(by("adam")))
        .then_refused(not_permitted("deleteWorkspace"))
        .when(delete(by("olga")))
        .then([deleted()])
        .when(delete(by("olga")))
        .then_nothing()
        .when(delete(by("stranger")))
        .then_refused(Error::Unknown);
    assert_eq!(story.state().role_of(&user("olga")), None);
}

#[test]
fn nothing_happens_in_a_deleted_workspace() {
    for command in [
        update(by("olga"), Some("B"), None),
        change_plan(Sender::Operator, Plan::Pro),
        invite(by("olga"), 1, "ben", Role::Member),
        set_role(by("olga"), member("mia"), Role::Admin),
        remove(by("olga"), member("mia")),
        accept(1, "ben"),
    ] {
        let refusal = staffed().when(delete(by("olga"))).when(command).refusal();
        assert_eq!(refusal, Error::Deleted);
        assert_eq!(refusal.code(), ErrorCode::NotFound);
    }
}

#[test]
fn only_whoever_runs_the_server_erases_it_and_twice_writes_once() {
    let erase = |sender| Command::Erase { sender, at: at(7) };
    let story = staffed()
        .when(erase(by("olga")))
        .then_refused(Error::Unknown)
        .when(erase(Sender::Operator))
        .then([Event::Erased { at: at(7) }])
        .when(erase(Sender::Operator))
        .then_nothing();
    assert_eq!(story.state().role_of(&user("olga")), None);
    let refusal = story.when(update(by("olga"), Some("B"), None)).refusal();
    assert_eq!(refusal, Error::Erased);
    assert_eq!(refusal.code(), ErrorCode::Conflict);
    let nothing = given::<Workspace>([]).when(erase(Sender::Operator));
    assert_eq!(nothing.refusal(), Error::Unknown);
    // What was deleted can be erased.
    let deleted = staffed().when(delete(by("olga"))).then([deleted()]);
    deleted
        .when(erase(Sender::Operator))
        .then([Event::Erased { at: at(7) }]);
}

#[test]
fn workspaces_claim_no_names() {
    assert_eq!(created().claim_changes(), []);
    assert_eq!(updated("B", "UTC").claim_changes(), []);
}

#[test]
fn the_stored_form_is_frozen() {
    let text = |event| serde_json::to_string(&event).unwrap();
    assert_eq!(
        text(created()),
        r#"{"type":"WorkspaceCreated","id":"ws_00000000000000000000000000000009","name":"Acme","owner":"olga","owner_email":"olga@acme.example","time_zone":"Europe/Berlin","plan":"FREE","at":"1970-01-01T00:00:01Z"}"#
    );
    assert_eq!(
        text(removed(member("mia"))),
        r#"{"type":"WorkspaceMemberRemoved","member":{"user":"mia"},"at":"1970-01-01T00:00:05Z"}"#
    );
    let hash = "01".repeat(32);
    assert_eq!(
        text(invited("olga", 1, "ben", Role::Viewer)),
        format!(
            r#"{{"type":"WorkspaceMemberInvited","invitation":"inv_00000000000000000000000000000001","email":"ben@acme.example","role":"VIEWER","token_hash":"{hash}","invited_by":"olga","expires_at":"1970-01-01T00:16:40Z","at":"1970-01-01T00:00:02Z"}}"#
        )
    );
    assert_eq!(
        text(role_changed(invited_member(1), Role::Viewer, Role::Member)),
        r#"{"type":"WorkspaceMemberRoleChanged","member":{"invitation":"inv_00000000000000000000000000000001"},"previous_role":"VIEWER","role":"MEMBER","at":"1970-01-01T00:00:04Z"}"#
    );
}

#[test]
fn an_event_is_stored_under_the_name_that_its_text_has() {
    for event in [
        created(),
        updated("B", "UTC"),
        deleted(),
        Event::PlanChanged {
            plan: Plan::Enterprise,
            at: at(2),
        },
        invited("olga", 1, "ben", Role::Viewer),
        joined(1, "ben", Role::Viewer),
        role_changed(member("mia"), Role::Member, Role::Viewer),
        removed(member("mia")),
    ] {
        let stored = serde_json::to_value(&event).unwrap();
        assert_eq!(stored["type"], event.event_type());
    }
}

#[test]
fn a_workspace_takes_no_more_than_its_bound_of_members() {
    let mut workspace = Workspace::default();
    decide(&mut workspace, create()).unwrap();
    let invite = |n: usize, expiry: i64, second: i64| Command::Invite {
        sender: by("olga"),
        invitation: crate::InvitationId::from_uuid(uuid::Uuid::from_u128(n as u128)),
        email: format!("{n}@acme.example"),
        role: Role::Member,
        token_hash: token(1),
        expires_at: at(expiry),
        at: at(second),
    };
    for n in 1..limits::WORKSPACE_MEMBERS {
        decide(&mut workspace, invite(n, 100, 2)).unwrap();
    }
    let limit = limits::WORKSPACE_MEMBERS;
    let one_more = decide(&mut workspace.clone(), invite(limit, 100, 2));
    assert_eq!(one_more, Err(Error::TooManyMembers { limit }));
    assert_eq!(Error::TooManyMembers { limit }.code(), ErrorCode::Conflict);
    // What has expired takes no place.
    assert!(decide(&mut workspace, invite(limit, 200, 100)).is_ok());
}
