//! How events change a tool's entry, without a database: the same for the tables and for a view of
//! the past.

use std::collections::BTreeMap;

use jiff::Timestamp;
use toolroom_domain::{
    ToolId, WorkspaceId,
    tool::{Event, Kind},
};
use toolroom_eventlog::RecordedEvent;

use super::row::{ToolRow, VersionRow};
use crate::projection::{ApplyError, aggregate_id, decode};

/// A tool without what its versions do.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub id: ToolId,
    pub number: i32,
    pub workspace: WorkspaceId,
    pub name: String,
    pub title: Option<String>,
    pub description: String,
    pub category: Option<String>,
    pub tags: Vec<String>,
    pub kind: Kind,
    pub tool_type: String,
    pub is_active: bool,
    pub is_deleted: bool,
    pub version: u32,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub circuit_open_until: Option<Timestamp>,
    pub last_event: i64,
}

/// Entries that events have touched, and the versions that they made.
#[derive(Default)]
pub(super) struct Fold {
    pub entries: BTreeMap<ToolId, Entry>,
    pub versions: Vec<VersionRow>,
}

fn actor(event: &RecordedEvent) -> Result<String, ApplyError> {
    let metadata = event.metadata();
    Ok(metadata
        .map_err(|error| ApplyError::event(event, error))?
        .actor)
}

impl Fold {
    /// Takes in an event that was decoded to `change`.
    pub fn apply(&mut self, event: &RecordedEvent, change: Event) -> Result<(), ApplyError> {
        let tool: ToolId = aggregate_id(event)?;
        if let Event::Registered {
            id,
            workspace,
            number,
            name,
            title,
            description,
            category,
            tags,
            definition,
            at,
        } = change
        {
            let created_by = actor(event)?;
            let entry = Entry {
                id,
                number,
                workspace,
                name,
                title,
                description,
                category,
                tags,
                kind: definition.config.kind(),
                tool_type: definition.config.type_name().to_owned(),
                is_active: true,
                is_deleted: false,
                version: 1,
                created_by: created_by.clone(),
                created_at: at,
                updated_at: at,
                circuit_open_until: None,
                last_event: event.position,
            };
            self.entries.insert(tool, entry);
            self.versions.push(VersionRow {
                tool,
                workspace,
                version: 1,
                definition: *definition,
                changed_at: at,
                changed_by: created_by,
                restored_from: None,
                last_event: event.position,
            });
            return Ok(());
        }
        let Some(entry) = self.entries.get_mut(&tool) else {
            return Err(ApplyError::event(event, "the tool was never registered"));
        };
        entry.last_event = event.position;
        entry.updated_at = match change {
            Event::Registered { at, .. } => at,
            Event::DetailsChanged {
                previous_name: _,
                name,
                title,
                description,
                category,
                tags,
                at,
            } => {
                entry.name = name;
                entry.title = title;
                entry.description = description;
                entry.category = category;
                entry.tags = tags;
                at
            }
            Event::Revised {
                version,
                definition,
                restored_from,
                at,
            } => {
                entry.version = version;
                entry.kind = definition.config.kind();
                entry.tool_type = definition.config.type_name().to_owned();
                self.versions.push(VersionRow {
                    tool,
                    workspace: entry.workspace,
                    version,
                    definition: *definition,
                    changed_at: at,
                    changed_by: actor(event)?,
                    restored_from,
                    last_event: event.position,
                });
                at
            }
            Event::Activated { at } => {
                entry.is_active = true;
                at
            }
            Event::Deactivated { at } => {
                entry.is_active = false;
                at
            }
            Event::Deleted { at, .. } => {
                entry.is_deleted = true;
                at
            }
            Event::Restored { at, .. } => {
                entry.is_deleted = false;
                at
            }
            // Whether it works at the moment is not what the tool is.
            Event::CircuitOpened { until, .. } => {
                entry.circuit_open_until = Some(until);
                entry.updated_at
            }
            Event::CircuitClosed { .. } => {
                entry.circuit_open_until = None;
                entry.updated_at
            }
        };
        Ok(())
    }
}

/// The tools that a workspace's tool events tell of, deleted ones too, by number: the catalogue as
/// it was after the last of them.
///
/// # Errors
/// [`ApplyError::Event`] when one cannot be read.
pub fn as_of(events: &[RecordedEvent]) -> Result<Vec<ToolRow>, ApplyError> {
    let mut fold = Fold::default();
    for event in events {
        fold.apply(event, decode(event)?)?;
    }
    // Later versions of a tool come later, and stay.
    let mut definitions: BTreeMap<ToolId, _> = fold
        .versions
        .into_iter()
        .map(|version| (version.tool, version.definition))
        .collect();
    let rows = fold.entries.into_values().filter_map(|entry| {
        Some(ToolRow {
            definition: definitions.remove(&entry.id)?,
            id: entry.id,
            number: entry.number,
            workspace: entry.workspace,
            name: entry.name,
            title: entry.title,
            description: entry.description,
            category: entry.category,
            tags: entry.tags,
            kind: entry.kind,
            is_active: entry.is_active,
            is_deleted: entry.is_deleted,
            version: entry.version,
            created_by: entry.created_by,
            created_at: entry.created_at,
            updated_at: entry.updated_at,
            circuit_open_until: entry.circuit_open_until,
            last_event: entry.last_event,
        })
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|row| row.number);
    Ok(rows)
}
