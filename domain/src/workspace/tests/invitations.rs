//! How somebody comes into a workspace.

use super::*;

fn open() -> crate::testing::Story<Workspace> {
    staffed()
        .when(invite(by("olga"), 1, "ben", Role::Member))
        .then([invited("olga", 1, "ben", Role::Member)])
}

#[test]
fn who_accepts_is_a_member_of_the_role_that_was_offered() {
    let story = open()
        .when(accept(1, "ben"))
        .then([joined(1, "ben", Role::Member)]);
    assert_eq!(story.state().role_of(&user("ben")), Some(Role::Member));
    assert_eq!(story.state().invitation(invitation(1)), None);
}

#[test]
fn who_joins_by_a_link_sent_to_another_is_known_by_both_addresses() {
    let mut by_another = joined(1, "rita", Role::Member);
    if let Event::MemberJoined {
        email,
        account_email,
        ..
    } = &mut by_another
    {
        *email = "ben@acme.example".to_owned();
        *account_email = Some("Rita@acme.example".to_owned());
    }
    let story = open()
        .when(accept_as(1, "rita", "Rita@acme.example"))
        .then([by_another.clone()]);
    let state = story.state();
    let rita = state.member(&user("rita")).unwrap();
    assert_eq!(rita.email.as_deref(), Some("ben@acme.example"));
    assert_eq!(rita.account_email.as_deref(), Some("Rita@acme.example"));
    for name in ["ben", "rita"] {
        let story = staffed().when(invite(by("olga"), 1, "ben", Role::Member));
        story
            .when(accept_as(1, "rita", "Rita@acme.example"))
            .when(invite(by("olga"), 2, name, Role::Member))
            .then_refused(Error::AlreadyMember);
    }
    let text = serde_json::to_string(&by_another).unwrap();
    assert!(
        text.contains(r#""email":"ben@acme.example","account_email":"Rita@acme.example""#),
        "{text}"
    );
}

#[test]
fn an_account_has_an_address_or_none() {
    let refusal = open().when(accept_as(1, "ben", "no address")).refusal();
    assert_eq!(refusal.code(), ErrorCode::ValidationFailed);
}

#[test]
fn inviting_and_accepting_twice_writes_once() {
    open()
        .when(invite(by("olga"), 1, "ben", Role::Member))
        .then_nothing()
        .when(accept(1, "ben"))
        .then([joined(1, "ben", Role::Member)])
        .when(accept_at(1, "ben", EXPIRY + 1))
        .then_nothing();
}

#[test]
fn an_invitation_is_accepted_by_one() {
    open()
        .when(accept(1, "ben"))
        .when(accept(1, "eve"))
        .then_refused(Error::InvitationUsed);
    assert_eq!(Error::InvitationUsed.code(), ErrorCode::Conflict);
}

#[test]
fn who_was_removed_does_not_come_back_by_the_same_invitation() {
    open()
        .when(accept(1, "ben"))
        .when(remove(by("olga"), member("ben")))
        .when(accept(1, "ben"))
        .then_refused(Error::InvitationUsed);
}

#[test]
fn who_was_removed_comes_back_by_a_new_one() {
    let story = open()
        .when(accept(1, "ben"))
        .when(remove(by("olga"), member("ben")))
        .when(invite(by("olga"), 2, "ben", Role::Viewer))
        .when(accept(2, "ben"))
        .then([joined(2, "ben", Role::Viewer)]);
    assert_eq!(story.state().role_of(&user("ben")), Some(Role::Viewer));
    story
        .when(accept(1, "ben"))
        .then_refused(Error::NoSuchInvitation)
        .when(invite(by("olga"), 1, "bob", Role::Viewer))
        .then_refused(Error::AlreadyInvited);
}

#[test]
fn an_invitation_ends_at_its_expiry() {
    let expires_at = at(EXPIRY);
    let late = open().when(accept_at(1, "ben", EXPIRY)).refusal();
    assert_eq!(late, Error::InvitationExpired { expires_at });
    assert_eq!(late.code(), ErrorCode::Conflict);
    let joined = open().when(accept_at(1, "ben", EXPIRY - 1));
    assert_eq!(joined.state().role_of(&user("ben")), Some(Role::Member));
}

#[test]
fn a_token_that_nobody_sent_opens_nothing() {
    let refusal = open().when(accept(7, "ben")).refusal();
    assert_eq!(refusal, Error::NoSuchInvitation);
    assert_eq!(refusal.code(), ErrorCode::NotFound);
    given::<Workspace>([])
        .when(accept(1, "ben"))
        .then_refused(Error::Unknown);
}

#[test]
fn an_invitation_that_was_withdrawn_opens_nothing() {
    open()
        .when(remove(by("adam"), invited_member(1)))
        .then([removed(invited_member(1))])
        .when(remove(by("adam"), invited_member(1)))
        .then_nothing()
        .when(accept(1, "ben"))
        .then_refused(Error::NoSuchInvitation);
}

#[test]
fn inviting_an_address_anew_withdraws_the_earlier_invitation() {
    open()
        .when(invite(by("adam"), 2, "BEN", Role::Viewer))
        .then([
            removed_at(invited_member(1), 2),
            invited("adam", 2, "BEN", Role::Viewer),
        ])
        .when(accept(1, "ben"))
        .then_refused(Error::NoSuchInvitation);
}

#[test]
fn an_admin_does_not_replace_what_an_owner_offered_above_them() {
    staffed()
        .when(invite(by("olga"), 1, "ben", Role::Owner))
        .when(invite(by("adam"), 2, "ben", Role::Viewer))
        .then_refused(Error::AboveOwnRole { role: Role::Owner });
}

#[test]
fn an_id_of_an_invitation_serves_once() {
    open()
        .when(invite(by("olga"), 1, "bob", Role::Member))
        .then_refused(Error::AlreadyInvited);
    assert_eq!(Error::AlreadyInvited.code(), ErrorCode::Conflict);
}

#[test]
fn a_member_is_neither_invited_nor_changed_by_a_link() {
    staffed()
        .when(invite(by("olga"), 1, "Mia", Role::Admin))
        .then_refused(Error::AlreadyMember)
        .when(invite(by("adam"), 2, "somebody", Role::Viewer))
        .when(accept(2, "olga"))
        .then_refused(Error::AlreadyMember);
    assert_eq!(Error::AlreadyMember.code(), ErrorCode::Conflict);
}

#[test]
fn nobody_invites_above_their_own_role() {
    let refusal = staffed()
        .when(invite(by("adam"), 1, "ben", Role::Owner))
        .refusal();
    assert_eq!(refusal, Error::AboveOwnRole { role: Role::Owner });
    assert_eq!(refusal.code(), ErrorCode::Forbidden);
    let key = Sender::Key(Role::Admin);
    let refusal = staffed().when(invite(key, 1, "ben", Role::Owner)).refusal();
    assert_eq!(refusal, Error::AboveOwnRole { role: Role::Owner });
    for name in ["mia", "vera", "anna"] {
        let refusal = staffed()
            .when(invite(by(name), 1, "ben", Role::Viewer))
            .refusal();
        assert_eq!(refusal, not_permitted("inviteMember"), "{name}");
    }
}

#[test]
fn operators_and_keys_invite_without_being_members() {
    for sender in [Sender::Operator, Sender::Key(Role::Admin)] {
        let story = staffed().when(invite(sender, 1, "ben", Role::Admin));
        let open = story.state().invitation(invitation(1)).expect("it is open");
        assert_eq!((open.role, &open.invited_by), (Role::Admin, &None));
    }
}

#[test]
fn an_invitation_that_is_not_valid_is_refused_with_the_path_of_each_fault() {
    let longest = limits::INVITATION_HOURS * 3600;
    for (end, is_valid) in [
        (2, false),
        (3, true),
        (longest + 2, true),
        (longest + 3, false),
    ] {
        let command = invite_until(by("olga"), 1, "ben", Role::Viewer, at(end));
        let mut workspace = staffed().state().clone();
        assert_eq!(decide(&mut workspace, command).is_ok(), is_valid, "{end}");
    }
    let command = invite_until(by("olga"), 1, "a@b", Role::Viewer, at(1));
    let refusal = staffed().when(command).refusal();
    assert_eq!(refusal.code(), ErrorCode::ValidationFailed);
    let paths: Vec<_> = refusal.violations().into_iter().map(|v| v.path).collect();
    assert_eq!(paths, ["email", "expiresAt"]);
}

#[test]
fn what_somebody_offered_falls_with_them() {
    let offered = || staffed().when(invite(by("adam"), 1, "ben", Role::Admin));
    offered()
        .when(remove(by("olga"), member("adam")))
        .then([removed(member("adam")), removed(invited_member(1))])
        .when(accept(1, "adam"))
        .then_refused(Error::NoSuchInvitation);
    offered()
        .when(set_role(by("olga"), member("adam"), Role::Member))
        .then([
            role_changed(member("adam"), Role::Admin, Role::Member),
            removed_at(invited_member(1), 4),
        ]);
    offered()
        .when(set_role(by("olga"), member("adam"), Role::Owner))
        .then([role_changed(member("adam"), Role::Admin, Role::Owner)]);
}
