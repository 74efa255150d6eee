use cqrs_es::DomainEvent;
use serde_json::json;

use super::{
    Command, Definition, Details, DetailsPatch, Error, Event, ExternalConfig, NativeConfig,
    PolicyOverrides, Tool, ToolConfig,
};
use crate::{
    claim::{ClaimChange, EventClaims},
    code::{ErrorCode, Refusal},
    id::{ToolId, WorkspaceId},
    limits,
    testing::{at, given},
};

mod properties;

fn id() -> ToolId {
    ToolId::from_uuid(uuid::Uuid::from_u128(1))
}

fn native(function_path: &str) -> Box<Definition> {
    Box::new(Definition {
        config: ToolConfig::Native(NativeConfig {
            function_path: function_path.to_owned(),
        }),
        input_schema: json!({"type": "object"}),
        output_schema: None,
        policy: PolicyOverrides::default(),
        requires_approval: false,
    })
}

fn details(name: &str) -> Details {
    Details {
        name: name.to_owned(),
        title: None,
        description: "formats text".to_owned(),
        category: None,
        tags: vec!["text".to_owned()],
    }
}

fn register(name: &str) -> Command {
    Command::Register {
        id: id(),
        workspace: WorkspaceId::DEFAULT,
        number: 1,
        details: details(name),
        definition: native("v1"),
        at: at(1),
    }
}

fn registered() -> Event {
    Event::Registered {
        id: id(),
        workspace: WorkspaceId::DEFAULT,
        number: 1,
        name: "format".to_owned(),
        title: None,
        description: "formats text".to_owned(),
        category: None,
        tags: vec!["text".to_owned()],
        definition: native("v1"),
        at: at(1),
    }
}

fn revise(definition: &str) -> Command {
    Command::Revise {
        expected_version: None,
        details: DetailsPatch::default(),
        definition: Some(native(definition)),
        active: None,
        at: at(2),
    }
}

fn revised(version: u32, definition: &str, restored_from: Option<u32>) -> Event {
    Event::Revised {
        version,
        definition: native(definition),
        restored_from,
        at: at(2),
    }
}

fn rename(name: &str) -> Command {
    Command::Revise {
        expected_version: None,
        details: DetailsPatch {
            name: Some(name.to_owned()),
            ..DetailsPatch::default()
        },
        definition: None,
        active: None,
        at: at(2),
    }
}

fn renamed(from: &str, to: &str) -> Event {
    Event::DetailsChanged {
        previous_name: from.to_owned(),
        name: to.to_owned(),
        title: None,
        description: "formats text".to_owned(),
        category: None,
        tags: vec!["text".to_owned()],
        at: at(2),
    }
}

fn restore(version: u32) -> Command {
    Command::RestoreVersion { version, at: at(2) }
}

fn deleted() -> Event {
    Event::Deleted {
        name: "format".to_owned(),
        at: at(2),
    }
}

#[test]
fn a_registered_tool_is_active_at_version_1() {
    let story = given::<Tool>([])
        .when(register("format"))
        .then([registered()]);
    let tool = story.state();
    assert_eq!(
        (tool.id(), tool.number(), tool.version()),
        (Some(id()), Some(1), 1)
    );
    assert!(tool.is_active() && !tool.is_deleted());
    assert_eq!(tool.definition(1), Some(&*native("v1")));
    assert_eq!((tool.definition(0), tool.definition(2)), (None, None));
}

#[test]
fn registering_twice_is_refused() {
    given::<Tool>([])
        .when(register("format"))
        .when(register("format"))
        .then_refused(Error::AlreadyRegistered);
}

#[test]
fn nothing_can_be_asked_of_a_tool_that_was_never_registered() {
    let commands = [
        revise("v2"),
        Command::Activate { at: at(2) },
        Command::Deactivate { at: at(2) },
        Command::Delete { at: at(2) },
        restore(1),
    ];
    for command in commands {
        given::<Tool>([])
            .when(command.clone())
            .then_refused(Error::Unknown);
    }
}

#[test]
fn all_that_is_wrong_with_a_registration_is_told_at_once() {
    let mut definition = native("v1");
    definition.config = ToolConfig::External(ExternalConfig {
        endpoint_url: "ftp://example.org".to_owned(),
        idempotency_header: None,
    });
    definition.input_schema = json!(7);
    definition.policy.timeout_ms = Some(0);
    let refusal = given::<Tool>([])
        .when(Command::Register {
            id: id(),
            workspace: WorkspaceId::DEFAULT,
            number: 1,
            details: Details {
                name: "no spaces".to_owned(),
                title: Some("\u{7}".to_owned()),
                description: "d".repeat(limits::DESCRIPTION_CHARS + 1),
                category: Some("c".repeat(limits::LABEL_CHARS + 1)),
                tags: vec![String::new(); limits::TAGS + 1],
            },
            definition,
            at: at(1),
        })
        .refusal();
    assert_eq!(refusal.code(), ErrorCode::ValidationFailed);
    let violations = refusal.violations();
    let paths: Vec<_> = violations.iter().map(|v| v.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "name",
            "description",
            "title",
            "category",
            "tags",
            "inputSchema",
            "external.endpointUrl",
            "policy.timeoutMs",
        ]
    );
}

#[test]
fn a_change_of_behaviour_makes_a_version_and_keeps_the_old_one() {
    let story = given::<Tool>([registered()])
        .when(revise("v2"))
        .then([revised(2, "v2", None)])
        .when(revise("v2"))
        .then_nothing();
    assert_eq!(story.state().definition(1), Some(&*native("v1")));
    assert_eq!(story.state().definition(2), Some(&*native("v2")));
}

#[test]
fn a_change_of_name_makes_no_version() {
    let story = given::<Tool>([registered()])
        .when(rename("layout"))
        .then([renamed("format", "layout")])
        .when(rename("layout"))
        .then_nothing();
    assert_eq!(story.state().version(), 1);
}

#[test]
fn a_revision_may_change_everything_in_one_go() {
    let command = Command::Revise {
        expected_version: Some(1),
        details: DetailsPatch {
            name: Some("layout".to_owned()),
            ..DetailsPatch::default()
        },
        definition: Some(native("v2")),
        active: Some(false),
        at: at(2),
    };
    given::<Tool>([registered()])
        .when(command.clone())
        .then([
            renamed("format", "layout"),
            revised(2, "v2", None),
            Event::Deactivated { at: at(2) },
        ])
        .when(command)
        .then_refused(Error::VersionConflict {
            expected: 1,
            current: 2,
        });
}

#[test]
fn a_title_can_be_set_and_taken_away() {
    let retitle = |title: Option<&str>| Command::Revise {
        expected_version: None,
        details: DetailsPatch {
            title: Some(title.map(str::to_owned)),
            ..DetailsPatch::default()
        },
        definition: None,
        active: None,
        at: at(2),
    };
    let story = given::<Tool>([registered()]).when(retitle(Some("Format")));
    assert_eq!(story.state().details().title.as_deref(), Some("Format"));
    let story = story.when(retitle(None));
    assert_eq!(story.state().details().title, None);
}

#[test]
fn a_revision_to_something_invalid_changes_nothing() {
    let story = given::<Tool>([registered()]).when(rename("12"));
    assert_eq!(story.state().details(), details("format"));
    assert_eq!(story.refusal().violations()[0].path, "name");
}

#[test]
fn a_tool_has_a_bounded_number_of_versions() {
    let full = (2..=limits::TOOL_VERSIONS).map(|v| revised(v, &format!("v{v}"), None));
    given::<Tool>([registered()].into_iter().chain(full))
        .when(revise("one more"))
        .then_refused(Error::TooManyVersions {
            limit: limits::TOOL_VERSIONS,
        })
        .when(restore(1))
        .then_refused(Error::TooManyVersions {
            limit: limits::TOOL_VERSIONS,
        });
}

#[test]
fn deactivating_and_activating_twice_is_fine() {
    given::<Tool>([registered()])
        .when(Command::Activate { at: at(2) })
        .then_nothing()
        .when(Command::Deactivate { at: at(2) })
        .then([Event::Deactivated { at: at(2) }])
        .when(Command::Deactivate { at: at(2) })
        .then_nothing()
        .when(Command::Activate { at: at(2) })
        .then([Event::Activated { at: at(2) }]);
}

#[test]
fn deleting_twice_is_fine_and_what_is_deleted_does_not_change() {
    let mut story = given::<Tool>([registered()])
        .when(Command::Delete { at: at(2) })
        .then([deleted()])
        .when(Command::Delete { at: at(2) })
        .then_nothing();
    for command in [
        revise("v2"),
        Command::Activate { at: at(2) },
        Command::Deactivate { at: at(2) },
    ] {
        story = story.when(command).then_refused(Error::Deleted);
    }
}

#[test]
fn restoring_an_earlier_version_repeats_it_as_the_newest() {
    given::<Tool>([registered(), revised(2, "v2", None)])
        .when(restore(1))
        .then([revised(3, "v1", Some(1))])
        .when(restore(1))
        .then_nothing()
        .when(restore(9))
        .then_refused(Error::NoSuchVersion {
            version: 9,
            current: 3,
        });
}

#[test]
fn restoring_brings_a_deleted_tool_back_as_active_as_it_was() {
    let story = given::<Tool>([registered(), Event::Deactivated { at: at(2) }, deleted()])
        .when(restore(1))
        .then([Event::Restored {
            name: "format".to_owned(),
            at: at(2),
        }]);
    assert!(!story.state().is_deleted() && !story.state().is_active());
}

#[test]
fn a_name_is_claimed_and_given_up_as_events_tell() {
    let take = |key: &str| ClaimChange::Take {
        scope: "tool-name",
        key: key.to_owned(),
    };
    let release = |key: &str| ClaimChange::Release {
        scope: "tool-name",
        key: key.to_owned(),
    };
    assert_eq!(registered().claim_changes(), [take("format")]);
    assert_eq!(
        renamed("format", "layout").claim_changes(),
        [release("format"), take("layout")]
    );
    assert_eq!(renamed("format", "format").claim_changes(), []);
    assert_eq!(deleted().claim_changes(), [release("format")]);
}

#[test]
fn the_names_of_events_are_frozen() {
    let events = [
        (registered(), "ToolRegistered"),
        (renamed("a", "b"), "ToolDetailsChanged"),
        (revised(2, "v2", None), "ToolRevised"),
        (Event::Activated { at: at(1) }, "ToolActivated"),
        (Event::Deactivated { at: at(1) }, "ToolDeactivated"),
        (deleted(), "ToolDeleted"),
        (
            Event::Restored {
                name: "a".to_owned(),
                at: at(1),
            },
            "ToolRestored",
        ),
    ];
    for (event, name) in events {
        assert_eq!(event.event_type(), name);
        assert_eq!(event.event_version(), "1.0");
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["type"], name);
    }
}

#[test]
fn a_stored_registration_keeps_its_shape() {
    let json = serde_json::to_value(registered()).unwrap();
    assert_eq!(
        json,
        json!({
            "type": "ToolRegistered",
            "id": "tool_00000000000000000000000000000001",
            "workspace": "ws_00000000000000000000000000000000",
            "number": 1,
            "name": "format",
            "title": null,
            "description": "formats text",
            "category": null,
            "tags": ["text"],
            "definition": {
                "config": {"kind": "NATIVE", "function_path": "v1"},
                "input_schema": {"type": "object"},
                "requires_approval": false,
            },
            "at": "1970-01-01T00:00:01Z",
        })
    );
}

fn open_circuit(second: i64) -> Command {
    Command::OpenCircuit {
        failures: 5,
        until: at(second + 60),
        at: at(second),
    }
}

fn circuit_opened(second: i64) -> Event {
    Event::CircuitOpened {
        failures: 5,
        until: at(second + 60),
        at: at(second),
    }
}

#[test]
fn a_circuit_that_opens_and_closes_is_told_of_once() {
    given::<Tool>([registered()])
        .when(open_circuit(10))
        .then([circuit_opened(10)]);
    given::<Tool>([registered(), circuit_opened(10)])
        .when(open_circuit(10))
        .then([]);
    given::<Tool>([registered(), circuit_opened(10)])
        .when(Command::CloseCircuit { at: at(80) })
        .then([Event::CircuitClosed { at: at(80) }]);
    given::<Tool>([registered(), circuit_opened(10)])
        .when(open_circuit(75))
        .then([circuit_opened(75)]);
    given::<Tool>([registered()])
        .when(Command::CloseCircuit { at: at(80) })
        .then([]);
}

#[test]
fn what_is_told_late_of_a_circuit_changes_nothing() {
    let closed = || {
        [
            registered(),
            circuit_opened(10),
            Event::CircuitClosed { at: at(80) },
        ]
    };
    given::<Tool>(closed()).when(open_circuit(10)).then([]);
    given::<Tool>(closed())
        .when(open_circuit(90))
        .then([circuit_opened(90)]);
    given::<Tool>([registered(), circuit_opened(90)])
        .when(Command::CloseCircuit { at: at(80) })
        .then([]);
}
