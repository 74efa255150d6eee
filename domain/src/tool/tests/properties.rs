//! What holds whatever is asked of a tool, in whatever order.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::testing::{decide, replay};

fn any_definition() -> impl Strategy<Value = Box<Definition>> {
    let parts = ("v[1-3]", any::<bool>(), proptest::option::of(1.0..=100.0));
    parts.prop_map(|(path, requires_approval, backoff_multiplier)| {
        let mut definition = native(&path);
        definition.requires_approval = requires_approval;
        definition.policy.backoff_multiplier = backoff_multiplier;
        definition
    })
}

fn any_command() -> impl Strategy<Value = Command> {
    let name = "[a-c]|12|é";
    let patch = (
        proptest::option::of(name),
        proptest::option::of(proptest::option::of("[xy]")),
    )
        .prop_map(|(name, title)| DetailsPatch {
            name,
            title,
            ..DetailsPatch::default()
        });
    let register = (name, any_definition(), 0..99_i64).prop_map(|(name, definition, second)| {
        Command::Register {
            id: id(),
            workspace: WorkspaceId::DEFAULT,
            number: 1,
            details: details(&name),
            definition,
            at: at(second),
        }
    });
    let revise = (
        proptest::option::weighted(0.2, 0..4_u32),
        patch,
        proptest::option::of(any_definition()),
        proptest::option::of(any::<bool>()),
    )
        .prop_map(
            |(expected_version, details, definition, active)| Command::Revise {
                expected_version,
                details,
                definition,
                active,
                at: at(2),
            },
        );
    prop_oneof![
        2 => register,
        4 => revise,
        1 => Just(Command::Activate { at: at(3) }),
        1 => Just(Command::Deactivate { at: at(4) }),
        1 => Just(Command::Delete { at: at(5) }),
        2 => (0..6_u32).prop_map(|version| Command::RestoreVersion { version, at: at(6) }),
    ]
}

/// Sends the commands one by one and gives the final state and its history.
fn live(commands: Vec<Command>) -> (Tool, Vec<Event>) {
    let (mut tool, mut history) = (Tool::default(), Vec::new());
    for command in commands {
        let mut next = tool.clone();
        if let Ok(events) = decide(&mut next, command) {
            tool = next;
            history.extend(events);
        }
    }
    (tool, history)
}

proptest! {
    #[test]
    fn any_history_read_back_from_the_log_gives_the_same_tool(
        commands in proptest::collection::vec(any_command(), 0..40),
    ) {
        let (tool, history) = live(commands);
        prop_assert_eq!(replay::<Tool>(&history), tool);
    }

    #[test]
    fn a_command_that_was_fulfilled_causes_nothing_when_sent_again(
        commands in proptest::collection::vec(any_command(), 1..20),
    ) {
        let (mut tool, mut history) = (Tool::default(), Vec::new());
        for command in commands {
            let mut next = tool.clone();
            if let Ok(events) = decide(&mut next, command.clone()) {
                history.extend(events);
                tool = next;
                let again = decide(&mut tool.clone(), command);
                prop_assert!(again.as_ref().map_or(true, Vec::is_empty), "{:?}", again);
            }
        }
    }

    #[test]
    fn claims_never_release_what_is_not_held_and_follow_the_name(
        commands in proptest::collection::vec(any_command(), 0..40),
    ) {
        let (tool, history) = live(commands);
        let mut held: HashSet<String> = HashSet::new();
        for change in history.iter().flat_map(EventClaims::claim_changes) {
            match change {
                ClaimChange::Take { key, .. } => prop_assert!(held.insert(key)),
                ClaimChange::Release { key, .. } => prop_assert!(held.remove(&key)),
            }
        }
        let expected: Vec<String> = (tool.exists() && !tool.is_deleted())
            .then(|| tool.details().name)
            .into_iter()
            .collect();
        prop_assert_eq!(held.into_iter().collect::<Vec<_>>(), expected);
    }
}
