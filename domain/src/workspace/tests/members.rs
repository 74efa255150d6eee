//! What becomes of those who are in a workspace.

use super::*;

#[test]
fn a_role_changes_once() {
    let story = staffed()
        .when(set_role(by("adam"), member("mia"), Role::Admin))
        .then([role_changed(member("mia"), Role::Member, Role::Admin)])
        .when(set_role(by("adam"), member("mia"), Role::Admin))
        .then_nothing();
    assert_eq!(story.state().role_of(&user("mia")), Some(Role::Admin));
}

#[test]
fn nobody_gives_a_role_above_their_own_and_least_to_themselves() {
    for name in ["mia", "adam"] {
        staffed()
            .when(set_role(by("adam"), member(name), Role::Owner))
            .then_refused(Error::AboveOwnRole { role: Role::Owner });
    }
    for name in ["mia", "vera", "anna"] {
        staffed()
            .when(set_role(by(name), member(name), Role::Owner))
            .then_refused(not_permitted("setMemberRole"));
    }
}

#[test]
fn nobody_touches_whoever_stands_above_them() {
    staffed()
        .when(set_role(Sender::Operator, member("mia"), Role::Owner))
        .then([role_changed(member("mia"), Role::Member, Role::Owner)])
        .when(set_role(by("adam"), member("olga"), Role::Viewer))
        .then_refused(Error::AboveOwnRole { role: Role::Owner })
        .when(remove(by("adam"), member("olga")))
        .then_refused(Error::AboveOwnRole { role: Role::Owner })
        .when(remove(Sender::Key(Role::Admin), member("olga")))
        .then_refused(Error::AboveOwnRole { role: Role::Owner });
}

#[test]
fn the_last_owner_stays_owner_whoever_asks() {
    for sender in [by("olga"), Sender::Operator, Sender::Key(Role::Owner)] {
        let refusal = staffed()
            .when(set_role(sender.clone(), member("olga"), Role::Admin))
            .refusal();
        assert_eq!(refusal, Error::LastOwner);
        assert_eq!(refusal.code(), ErrorCode::Conflict);
        staffed()
            .when(remove(sender, member("olga")))
            .then_refused(Error::LastOwner);
    }
}

#[test]
fn an_owner_who_is_only_invited_does_not_let_the_last_one_go() {
    staffed()
        .when(invite(by("olga"), 1, "ben", Role::Owner))
        .when(remove(by("olga"), member("olga")))
        .then_refused(Error::LastOwner)
        .when(accept(1, "ben"))
        .when(remove(by("olga"), member("olga")))
        .then([removed(member("olga"))]);
}

#[test]
fn an_invited_owner_may_be_offered_less_while_there_is_one_owner() {
    staffed()
        .when(invite(by("olga"), 1, "ben", Role::Owner))
        .when(set_role(by("olga"), invited_member(1), Role::Viewer))
        .then([role_changed(invited_member(1), Role::Owner, Role::Viewer)])
        .when(accept(1, "ben"))
        .then([joined(1, "ben", Role::Viewer)]);
}

#[test]
fn removing_twice_writes_once_and_takes_the_role_away() {
    let story = staffed()
        .when(remove(by("adam"), member("mia")))
        .then([removed(member("mia"))])
        .when(remove(by("adam"), member("mia")))
        .then_nothing()
        .when(set_role(by("adam"), member("mia"), Role::Viewer))
        .then_refused(Error::NoSuchMember);
    assert_eq!(story.state().role_of(&user("mia")), None);
    assert!(
        story
            .state()
            .member(&user("mia"))
            .is_some_and(|m| m.removed)
    );
}

#[test]
fn who_was_removed_may_nothing() {
    staffed()
        .when(remove(by("olga"), member("adam")))
        .when(update(by("adam"), Some("Mine"), None))
        .then_refused(Error::Unknown);
}

#[test]
fn who_joined_is_still_known_by_the_invitation() {
    staffed()
        .when(set_role(by("olga"), invited_member(102), Role::Viewer))
        .then([role_changed(member("mia"), Role::Member, Role::Viewer)])
        .when(remove(by("olga"), invited_member(102)))
        .then([removed(member("mia"))]);
}

#[test]
fn whom_nobody_knows_cannot_be_changed_or_removed() {
    for unknown in [member("stranger"), invited_member(7)] {
        staffed()
            .when(set_role(by("olga"), unknown.clone(), Role::Viewer))
            .then_refused(Error::NoSuchMember)
            .when(remove(by("olga"), unknown))
            .then_refused(Error::NoSuchMember);
    }
    assert_eq!(Error::NoSuchMember.code(), ErrorCode::NotFound);
}
