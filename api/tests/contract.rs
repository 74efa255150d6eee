//! The schema beside the contract that clients rely on.

use std::collections::{BTreeMap, BTreeSet};

use async_graphql::parser::{
    parse_schema,
    types::{FieldDefinition, InputValueDefinition, TypeKind, TypeSystemDefinition},
};

/// The schema as it was last looked at.
const SNAPSHOT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/snapshots/schema.graphql"
);

/// Fields that come with the feature they show.
const LATER: [&str; 2] = ["Job.schedule", "Job.flowRun"];

#[derive(Default)]
struct Shape {
    /// `Type.field` → its type; `Type.field(argument)` → its type and default; `Enum.VALUE`.
    members: BTreeMap<String, String>,
    types: BTreeSet<String>,
}

fn argument(argument: &InputValueDefinition) -> String {
    let default = argument.default_value.as_ref();
    default.map_or_else(
        || argument.ty.node.to_string(),
        |value| {
            let value = value.node.to_string();
            // `0` and `0.0` are one number.
            format!("{} = {}", argument.ty.node, value.trim_end_matches(".0"))
        },
    )
}

impl Shape {
    fn of(sdl: &str) -> Self {
        let mut shape = Self::default();
        for definition in parse_schema(sdl)
            .expect("the SDL can be parsed")
            .definitions
        {
            let TypeSystemDefinition::Type(definition) = definition else {
                continue;
            };
            let name = definition.node.name.node.to_string();
            shape.types.insert(name.clone());
            match definition.node.kind {
                TypeKind::Object(object) => {
                    for field in object.fields {
                        shape.field(&name, &field.node);
                    }
                }
                TypeKind::InputObject(input) => {
                    for field in input.fields {
                        let path = format!("{name}.{}", field.node.name.node);
                        shape.members.insert(path, argument(&field.node));
                    }
                }
                TypeKind::Enum(values) => {
                    for value in values.values {
                        let path = format!("{name}.{}", value.node.value.node);
                        shape.members.insert(path, String::new());
                    }
                }
                _ => {}
            }
        }
        shape
    }

    fn field(&mut self, owner: &str, field: &FieldDefinition) {
        let path = format!("{owner}.{}", field.name.node);
        for input in &field.arguments {
            let path = format!("{path}({})", input.node.name.node);
            self.members.insert(path, argument(&input.node));
        }
        self.members.insert(path, field.ty.node.to_string());
    }
}

#[test]
fn what_the_schema_has_is_as_the_contract_says() {
    let contract = Shape::of(include_str!("contract.graphql"));
    let ours = Shape::of(&toolroom_api::graphql::sdl());
    let roots = ["Query", "Mutation", "Subscription"];
    let mut wrong = Vec::new();
    for (path, wanted) in &contract.members {
        let owner = path.split('.').next().unwrap_or_default();
        let field = path.split('(').next().unwrap_or_default();
        // An operation that is not there yet is left out whole.
        let is_absent_operation = roots.contains(&owner) && !ours.members.contains_key(field);
        if !ours.types.contains(owner) || is_absent_operation || LATER.contains(&field) {
            continue;
        }
        match ours.members.get(path) {
            None => wrong.push(format!("{path} is missing")),
            Some(is) if is != wanted => wrong.push(format!("{path} is {is}, not {wanted}")),
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_operations_of_this_version_are_there() {
    let ours = Shape::of(&toolroom_api::graphql::sdl());
    for operation in [
        "Query.health",
        "Query.viewer",
        "Query.tool",
        "Query.tools",
        "Query.job",
        "Query.jobs",
        "Query.stats",
        "Query.auditLog",
        "Query.auditEvent",
        "Query.logHead",
        "Query.projections",
        "Query.deadLetters",
        "Query.workspaces",
        "Query.members",
        "Query.apiKeys",
        "Mutation.registerTool",
        "Mutation.updateTool",
        "Mutation.setToolActive",
        "Mutation.deleteTool",
        "Mutation.restoreToolVersion",
        "Mutation.executeTool",
        "Mutation.submitJob",
        "Mutation.cancelJob",
        "Mutation.retryJob",
        "Mutation.rerunJob",
        "Mutation.createWorkspace",
        "Mutation.updateWorkspace",
        "Mutation.deleteWorkspace",
        "Mutation.setPlan",
        "Mutation.acceptInvitation",
        "Mutation.inviteMember",
        "Mutation.setMemberRole",
        "Mutation.removeMember",
        "Mutation.createApiKey",
        "Mutation.revokeApiKey",
        "Mutation.retryDeadLetter",
        "Mutation.rebuildProjection",
        "Subscription.jobProgress",
        "Subscription.jobChanged",
        "Subscription.auditEvents",
        "Subscription.auditReplay",
    ] {
        assert!(
            ours.members.contains_key(operation),
            "{operation} is missing"
        );
    }
}

/// `UPDATE=1` writes the snapshot anew.
#[test]
fn the_schema_is_as_it_was_committed() {
    let sdl = toolroom_api::graphql::sdl();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(SNAPSHOT, &sdl).expect("the snapshot can be written");
    }
    let committed = std::fs::read_to_string(SNAPSHOT).expect("the snapshot is there");
    assert!(
        committed == sdl,
        "the schema has changed; look at it, and run this test with UPDATE=1"
    );
}
