use std::{collections::HashSet, fs, path::Path};

use super::*;

fn permitted(caller: Caller) -> HashSet<Operation> {
    let all = Operation::ALL.iter().copied();
    all.filter(|operation| permits(caller, *operation))
        .collect()
}

fn allowed(role: Role) -> HashSet<Operation> {
    permitted(Caller::User(Some(role)))
}

/// The fields of a root type in the committed schema, which is printed with two spaces of indent.
fn fields(schema: &str, root: &str) -> Vec<String> {
    let begin = format!("type {root} {{");
    let lines = schema.lines().skip_while(|line| *line != begin).skip(1);
    let field = |line: &str| {
        let text = line
            .strip_prefix("  ")
            .or_else(|| line.strip_prefix('\t'))?;
        let end = text.find(['(', ':'])?;
        let name = &text[..end];
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
        is_name.then(|| name.to_owned())
    };
    let mut inside_text = false;
    lines
        .take_while(|line| *line != "}")
        .filter(|line| {
            let quotes = line.matches("\"\"\"").count();
            let was_text = inside_text;
            inside_text ^= quotes == 1;
            quotes == 0 && !was_text
        })
        .filter_map(field)
        .collect()
}

#[test]
fn the_table_knows_every_operation_of_the_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/snapshots/schema.graphql");
    let schema = fs::read_to_string(path).unwrap();
    for (root, place, at_least) in [
        ("Query", Place::Query, 12),
        ("Mutation", Place::Mutation, 12),
        ("Subscription", Place::Subscription, 4),
    ] {
        let fields = fields(&schema, root);
        assert!(fields.len() >= at_least, "read only {fields:?} of {root}");
        for field in fields {
            assert!(
                Operation::find(place, &field).is_some(),
                "`{root}.{field}` is not in the table of domain/src/access.rs"
            );
        }
    }
}

#[test]
fn an_operation_is_found_by_its_place_and_name_alone() {
    let mut seen = HashSet::new();
    for operation in Operation::ALL.iter().copied() {
        let key = (operation.place(), operation.name());
        assert!(seen.insert(key), "{key:?} is there twice");
        assert_eq!(Operation::find(key.0, key.1), Some(operation));
    }
    assert_eq!(Operation::find(Place::Mutation, "tools"), None);
    assert_eq!(Operation::find(Place::Query, "nothing"), None);
}

#[test]
fn a_higher_role_may_whatever_a_lower_one_may() {
    for lower in Role::ALL {
        for higher in Role::ALL
            .into_iter()
            .filter(|r| lower.is_no_higher_than(*r))
        {
            let (less, more) = (allowed(lower), allowed(higher));
            let missing: Vec<_> = less.difference(&more).collect();
            assert!(
                missing.is_empty(),
                "{lower} may {missing:?}, {higher} may not"
            );
        }
    }
    let ladder = [Role::Viewer, Role::Member, Role::Admin, Role::Owner];
    for step in ladder.windows(2) {
        assert!(step[0].is_no_higher_than(step[1]));
        assert!(allowed(step[0]).len() < allowed(step[1]).len(), "{step:?}");
    }
}

#[test]
fn an_owner_may_all_but_what_concerns_other_workspaces() {
    let all: HashSet<_> = Operation::ALL.iter().copied().collect();
    let refused: HashSet<_> = all.difference(&allowed(Role::Owner)).copied().collect();
    let operators_only = HashSet::from([
        Operation::SetPlan,
        Operation::Projections,
        Operation::DeadLetters,
        Operation::RetryDeadLetter,
        Operation::RebuildProjection,
        Operation::RotateMasterKey,
    ]);
    assert_eq!(refused, operators_only);
    assert_eq!(permitted(Caller::Operator), all);
}

#[test]
fn an_admin_may_all_that_an_owner_may_but_end_the_workspace() {
    let (owner, admin) = (allowed(Role::Owner), allowed(Role::Admin));
    let missing: Vec<_> = owner.difference(&admin).collect();
    assert_eq!(missing, [&Operation::DeleteWorkspace]);
}

#[test]
fn a_member_makes_and_runs_tools_and_looks_after_nobody() {
    for operation in [
        Operation::RegisterTool,
        Operation::DeleteTool,
        Operation::ExecuteTool,
        Operation::CancelJob,
        Operation::Members,
    ] {
        assert!(allows(Role::Member, operation), "{operation:?}");
    }
    for operation in [
        Operation::InviteMember,
        Operation::SetMemberRole,
        Operation::CreateApiKey,
        Operation::UpdateWorkspace,
        Operation::AuditLog,
    ] {
        assert!(!allows(Role::Member, operation), "{operation:?}");
    }
}

/// The mutations that everybody known may send, because they concern only what is their own.
fn mutations(role: Role) -> HashSet<Operation> {
    let all = allowed(role).into_iter();
    all.filter(|operation| operation.place() == Place::Mutation)
        .collect()
}

#[test]
fn viewers_and_auditors_change_nothing_in_the_workspace() {
    let own = HashSet::from([Operation::CreateWorkspace, Operation::AcceptInvitation]);
    for role in [Role::Viewer, Role::Auditor] {
        assert_eq!(mutations(role), own, "{role}");
    }
}

#[test]
fn a_viewer_reads_catalogue_and_jobs_but_not_the_audit() {
    for operation in [
        Operation::Tools,
        Operation::Jobs,
        Operation::JobProgress,
        Operation::Stats,
    ] {
        assert!(allows(Role::Viewer, operation), "{operation:?}");
    }
    for operation in [
        Operation::AuditLog,
        Operation::AuditEvents,
        Operation::AuditReplay,
        Operation::Members,
        Operation::ApiKeys,
    ] {
        assert!(!allows(Role::Viewer, operation), "{operation:?}");
    }
}

#[test]
fn an_auditor_reads_catalogue_jobs_and_audit_and_nothing_more() {
    let beyond_everybody: HashSet<_> = allowed(Role::Auditor)
        .difference(&permitted(Caller::User(None)))
        .copied()
        .collect();
    let expected = HashSet::from([
        Operation::Viewer,
        Operation::Tool,
        Operation::Tools,
        Operation::Job,
        Operation::Jobs,
        Operation::Stats,
        Operation::JobProgress,
        Operation::JobChanged,
        Operation::AuditLog,
        Operation::AuditEvent,
        Operation::LogHead,
        Operation::AuditEvents,
        Operation::AuditReplay,
        Operation::Metrics,
        Operation::Secrets,
        Operation::Connectors,
        Operation::JobLogs,
        Operation::JobLogAdded,
    ]);
    assert_eq!(beyond_everybody, expected);
}

#[test]
fn who_is_not_known_may_ask_only_for_the_servers_health() {
    assert_eq!(
        permitted(Caller::Anonymous),
        HashSet::from([Operation::Health])
    );
}

#[test]
fn who_has_no_role_reads_and_runs_nothing_here() {
    let place = |operation: &Operation| operation.place();
    let own: HashSet<_> = permitted(Caller::User(None))
        .into_iter()
        .filter(|operation| place(operation) != Place::Session)
        .collect();
    let expected = HashSet::from([
        Operation::Health,
        Operation::Workspaces,
        Operation::CreateWorkspace,
        Operation::AcceptInvitation,
    ]);
    assert_eq!(own, expected);
}

#[test]
fn a_key_may_what_its_role_may_but_never_become_a_member() {
    for role in Role::ALL {
        let (person, key) = (allowed(role), permitted(Caller::Key(role)));
        let missing: HashSet<_> = person.difference(&key).copied().collect();
        let expected = HashSet::from([Operation::CreateWorkspace, Operation::AcceptInvitation]);
        assert_eq!(missing, expected, "{role}");
        assert!(key.is_subset(&person), "{role}");
    }
}

#[test]
fn nobody_gives_more_than_they_have() {
    for given in Role::ALL {
        assert!(Caller::Operator.may_give(given));
        assert!(!Caller::Anonymous.may_give(given));
        assert!(!Caller::User(None).may_give(given));
        for own in Role::ALL {
            let may = given.is_no_higher_than(own);
            assert_eq!(
                Caller::User(Some(own)).may_give(given),
                may,
                "{own} {given}"
            );
            assert_eq!(Caller::Key(own).may_give(given), may, "{own} {given}");
        }
    }
}
