//! What the stories of a workspace are told with.

use jiff::Timestamp;

use super::super::{Command, Event, MemberRef, Plan, Sender, TokenHash, Workspace};
use crate::{
    id::{InvitationId, WorkspaceId},
    role::Role,
    testing::{Story, at, given},
    user::UserId,
};

/// When invitations end that no story asks to end sooner.
pub const EXPIRY: i64 = 1_000;

pub fn id() -> WorkspaceId {
    WorkspaceId::from_uuid(uuid::Uuid::from_u128(9))
}

pub fn user(name: &str) -> UserId {
    UserId::try_new(name).expect("the names of stories are valid")
}

pub fn by(name: &str) -> Sender {
    Sender::User(user(name))
}

pub fn member(name: &str) -> MemberRef {
    MemberRef::User(user(name))
}

pub fn invitation(number: u8) -> InvitationId {
    InvitationId::from_uuid(uuid::Uuid::from_u128(number.into()))
}

pub fn invited_member(number: u8) -> MemberRef {
    MemberRef::Invitation(invitation(number))
}

pub fn token(number: u8) -> TokenHash {
    TokenHash::from_sha256([number; 32])
}

pub fn create() -> Command {
    Command::Create {
        id: id(),
        name: "Acme".to_owned(),
        owner: user("olga"),
        owner_email: Some("olga@acme.example".to_owned()),
        time_zone: "Europe/Berlin".to_owned(),
        plan: Plan::Free,
        at: at(1),
    }
}

pub fn created() -> Event {
    Event::Created {
        id: id(),
        name: "Acme".to_owned(),
        owner: user("olga"),
        owner_email: Some("olga@acme.example".to_owned()),
        time_zone: "Europe/Berlin".to_owned(),
        plan: Plan::Free,
        at: at(1),
    }
}

pub fn invite_until(sender: Sender, number: u8, name: &str, role: Role, end: Timestamp) -> Command {
    Command::Invite {
        sender,
        invitation: invitation(number),
        email: format!("{name}@acme.example"),
        role,
        token_hash: token(number),
        expires_at: end,
        at: at(2),
    }
}

pub fn invite(sender: Sender, number: u8, name: &str, role: Role) -> Command {
    invite_until(sender, number, name, role, at(EXPIRY))
}

pub fn invited(sender: &str, number: u8, name: &str, role: Role) -> Event {
    Event::MemberInvited {
        invitation: invitation(number),
        email: format!("{name}@acme.example"),
        role,
        token_hash: token(number),
        invited_by: Some(user(sender)),
        expires_at: at(EXPIRY),
        at: at(2),
    }
}

pub fn accept_at(number: u8, name: &str, second: i64) -> Command {
    Command::AcceptInvitation {
        token_hash: token(number),
        user: user(name),
        account_email: None,
        at: at(second),
    }
}

/// As [`accept`], with an account of this address.
pub fn accept_as(number: u8, name: &str, email: &str) -> Command {
    Command::AcceptInvitation {
        token_hash: token(number),
        user: user(name),
        account_email: Some(email.to_owned()),
        at: at(3),
    }
}

pub fn accept(number: u8, name: &str) -> Command {
    accept_at(number, name, 3)
}

pub fn joined(number: u8, name: &str, role: Role) -> Event {
    Event::MemberJoined {
        invitation: invitation(number),
        user: user(name),
        email: format!("{name}@acme.example"),
        account_email: None,
        role,
        at: at(3),
    }
}

pub fn set_role(sender: Sender, member: MemberRef, role: Role) -> Command {
    Command::SetRole {
        sender,
        member,
        role,
        at: at(4),
    }
}

pub fn role_changed(member: MemberRef, previous_role: Role, role: Role) -> Event {
    Event::MemberRoleChanged {
        member,
        previous_role,
        role,
        at: at(4),
    }
}

pub fn remove(sender: Sender, member: MemberRef) -> Command {
    Command::Remove {
        sender,
        member,
        at: at(5),
    }
}

pub fn removed_at(member: MemberRef, second: i64) -> Event {
    Event::MemberRemoved {
        member,
        at: at(second),
    }
}

pub fn removed(member: MemberRef) -> Event {
    removed_at(member, 5)
}

/// A workspace of which olga is owner, with one more member of each other role: adam an admin, mia
/// a member, vera a viewer, anna an auditor, who came by the invitations 101 to 104.
pub fn staffed() -> Story<Workspace> {
    let staff = [
        (101, "adam", Role::Admin),
        (102, "mia", Role::Member),
        (103, "vera", Role::Viewer),
        (104, "anna", Role::Auditor),
    ];
    let arrivals = staff.into_iter().flat_map(|(number, name, role)| {
        [
            invited("olga", number, name, role),
            joined(number, name, role),
        ]
    });
    given([created()].into_iter().chain(arrivals))
}
