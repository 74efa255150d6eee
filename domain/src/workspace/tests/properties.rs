//! What holds whatever is asked of a workspace, in whatever order.

use std::collections::HashMap;

use proptest::prelude::*;

use super::super::{MemberRef, TokenHash};
use super::*;
use crate::{access::Caller, testing::replay};

const NAMES: [&str; 4] = ["olga", "adam", "mia", "vera"];

fn any_role() -> impl Strategy<Value = Role> {
    proptest::sample::select(Role::ALL.to_vec())
}

fn any_name() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(NAMES.to_vec())
}

/// Mostly the first owner, or few commands would be permitted.
fn any_sender() -> impl Strategy<Value = Sender> {
    prop_oneof![
        4 => Just(by("olga")),
        4 => any_name().prop_map(by),
        1 => any_role().prop_map(Sender::Key),
        1 => Just(Sender::Operator),
    ]
}

fn any_member() -> impl Strategy<Value = MemberRef> {
    prop_oneof![
        3 => any_name().prop_map(member),
        1 => (0..6_u8).prop_map(invited_member),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    let plan = proptest::sample::select(vec![Plan::Free, Plan::Pro, Plan::Enterprise]);
    let zone = proptest::option::of(proptest::sample::select(vec![
        "UTC",
        "Asia/Tokyo",
        "Nowhere",
    ]));
    let invite = (any_sender(), 0..6_u8, any_name(), any_role(), 1..20_i64);
    prop_oneof![
        1 => Just(create()),
        1 => (any_sender(), proptest::option::of("[a ]"), zone)
            .prop_map(|(sender, name, zone)| update(sender, name.as_deref(), zone)),
        1 => (any_sender(), plan).prop_map(|(sender, plan)| change_plan(sender, plan)),
        6 => invite.prop_map(|(sender, number, name, role, end)| {
            invite_until(sender, number, name, role, at(end))
        }),
        8 => (0..6_u8, any_name(), 2..20_i64)
            .prop_map(|(number, name, second)| accept_at(number, name, second)),
        6 => (any_sender(), any_member(), any_role())
            .prop_map(|(sender, member, role)| set_role(sender, member, role)),
        4 => (any_sender(), any_member()).prop_map(|(sender, member)| remove(sender, member)),
    ]
}

/// Commands after a creation, and perhaps an end. Half of the workspaces begin with an admin and a
/// second owner, to whom chance alone seldom leads.
fn any_life() -> impl Strategy<Value = Vec<Command>> {
    let commands = proptest::collection::vec(any_command(), 0..60);
    let end = proptest::option::weighted(0.2, any_sender().prop_map(delete));
    (any::<bool>(), commands, end).prop_map(|(has_staff, commands, end)| {
        let mut life = vec![create()];
        if has_staff {
            for (number, name, role) in [(0, "adam", Role::Admin), (1, "mia", Role::Owner)] {
                life.extend([invite(by("olga"), number, name, role), accept(number, name)]);
            }
        }
        life.extend(commands);
        life.extend(end);
        life
    })
}

/// One command that was carried out: the state before, the events, the state after.
struct Step {
    before: Workspace,
    command: Command,
    events: Vec<Event>,
    after: Workspace,
}

fn live(commands: Vec<Command>) -> Vec<Step> {
    let (mut workspace, mut steps) = (Workspace::default(), Vec::new());
    for command in commands {
        let mut after = workspace.clone();
        if let Ok(events) = decide(&mut after, command.clone()) {
            let before = std::mem::replace(&mut workspace, after.clone());
            steps.push(Step {
                before,
                command,
                events,
                after,
            });
        }
    }
    steps
}

fn caller(workspace: &Workspace, command: &Command) -> Option<Caller> {
    match command {
        Command::Invite { sender, .. }
        | Command::SetRole { sender, .. }
        | Command::Remove { sender, .. } => Some(match sender {
            Sender::User(user) => Caller::User(workspace.role_of(user)),
            Sender::Key(role) => Caller::Key(*role),
            Sender::Operator => Caller::Operator,
        }),
        _ => None,
    }
}

proptest! {
    #[test]
    fn any_history_read_back_from_the_log_gives_the_same_workspace(life in any_life()) {
        let steps = live(life);
        let history: Vec<_> = steps.iter().flat_map(|s| s.events.clone()).collect();
        let last = steps.last().map(|s| s.after.clone()).unwrap_or_default();
        prop_assert_eq!(replay::<Workspace>(&history), last);
    }

    #[test]
    fn a_command_that_was_fulfilled_causes_nothing_when_sent_again(life in any_life()) {
        for step in live(life) {
            let again = decide(&mut step.after.clone(), step.command);
            prop_assert!(again.as_ref().map_or(true, Vec::is_empty), "{:?}", again);
        }
    }

    #[test]
    fn somebody_is_always_owner(life in any_life()) {
        for step in live(life) {
            prop_assert!(step.after.owners() > 0, "{:?}", step.command);
        }
    }

    #[test]
    fn no_role_is_given_or_taken_above_the_senders_own(life in any_life()) {
        for step in live(life) {
            let Some(caller) = caller(&step.before, &step.command) else {
                continue;
            };
            for event in &step.events {
                match event {
                    Event::MemberInvited { role, .. } => prop_assert!(caller.may_give(*role)),
                    Event::MemberRoleChanged { previous_role, role, .. } => {
                        prop_assert!(caller.may_give(*role) && caller.may_give(*previous_role));
                    }
                    Event::MemberRemoved { member: MemberRef::User(user), .. } => {
                        let role = step.before.role_of(user);
                        prop_assert!(role.is_some_and(|role| caller.may_give(role)));
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn each_who_joins_had_an_open_invitation_of_their_own(life in any_life()) {
        let mut open: HashMap<crate::InvitationId, (TokenHash, Role, jiff::Timestamp)> = HashMap::new();
        for step in live(life) {
            for event in step.events {
                match event {
                    Event::MemberInvited { invitation, token_hash, role, expires_at, .. } => {
                        let earlier = open.insert(invitation, (token_hash, role, expires_at));
                        prop_assert!(earlier.is_none(), "{invitation} is open twice");
                    }
                    Event::MemberRoleChanged { member: MemberRef::Invitation(id), role, .. } => {
                        open.get_mut(&id).expect("it is open").1 = role;
                    }
                    Event::MemberRemoved { member: MemberRef::Invitation(id), .. } => {
                        prop_assert!(open.remove(&id).is_some(), "{id} was not open");
                    }
                    Event::MemberJoined { invitation, role, user, at, .. } => {
                        let (hash, offered, expires_at) =
                            open.remove(&invitation).expect("it is open");
                        prop_assert!(at < expires_at);
                        prop_assert_eq!(role, offered);
                        prop_assert_eq!(step.before.role_of(&user), None);
                        let shown = match &step.command {
                            Command::AcceptInvitation { token_hash, .. } => token_hash,
                            other => panic!("{other:?} let somebody join"),
                        };
                        prop_assert_eq!(shown, &hash);
                    }
                    _ => {}
                }
            }
        }
    }
}
