//! The tool's rules (`handle`) and its memory (`apply`).

use cqrs_es::{Aggregate, event_sink::EventSink};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    command::{Command, Details, DetailsPatch},
    definition::Definition,
    error::Error,
    event::Event,
};
use crate::{
    id::{ToolId, WorkspaceId},
    limits,
};

/// A tool, as its events tell it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Empty until it is registered.
    identity: Option<Identity>,
    name: String,
    title: Option<String>,
    description: String,
    category: Option<String>,
    tags: Vec<String>,
    /// Version `n` is at `n - 1`.
    versions: Vec<Definition>,
    active: bool,
    deleted: bool,
    /// Until when its circuit is open, if it is.
    #[serde(default)]
    circuit_open_until: Option<Timestamp>,
    /// When its circuit last opened or closed.
    #[serde(default)]
    circuit_changed_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Identity {
    id: ToolId,
    workspace: WorkspaceId,
    number: i32,
}

impl Tool {
    /// Whether it was ever registered.
    pub fn exists(&self) -> bool {
        self.identity.is_some()
    }

    /// Its id, once registered.
    pub fn id(&self) -> Option<ToolId> {
        self.identity.map(|identity| identity.id)
    }

    /// The workspace it belongs to, once registered.
    pub fn workspace(&self) -> Option<WorkspaceId> {
        self.identity.map(|identity| identity.workspace)
    }

    /// Its integer id, once registered.
    pub fn number(&self) -> Option<i32> {
        self.identity.map(|identity| identity.number)
    }

    /// Its newest version; 0 before it is registered.
    pub fn version(&self) -> u32 {
        u32::try_from(self.versions.len()).unwrap_or(u32::MAX)
    }

    /// What a version does.
    pub fn definition(&self, version: u32) -> Option<&Definition> {
        let index = usize::try_from(version.checked_sub(1)?).ok()?;
        self.versions.get(index)
    }

    /// Until when its circuit is open, if it is; after that one call may try whether it works.
    pub fn circuit_open_until(&self) -> Option<Timestamp> {
        self.circuit_open_until
    }

    /// Whether a change of its circuit at this moment is later than what is known: nodes tell of
    /// changes again, and in any order.
    fn is_news_of_circuit(&self, at: Timestamp) -> bool {
        self.circuit_changed_at.is_none_or(|known| known < at)
    }

    /// How it presents itself.
    pub fn details(&self) -> Details {
        Details {
            name: self.name.clone(),
            title: self.title.clone(),
            description: self.description.clone(),
            category: self.category.clone(),
            tags: self.tags.clone(),
        }
    }

    /// Whether it may run.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Whether it left the catalogue.
    pub fn is_deleted(&self) -> bool {
        self.deleted
    }

    fn must_exist(&self) -> Result<(), Error> {
        if self.exists() {
            Ok(())
        } else {
            Err(Error::Unknown)
        }
    }

    fn must_be_present(&self) -> Result<(), Error> {
        self.must_exist()?;
        if self.deleted {
            return Err(Error::Deleted);
        }
        Ok(())
    }

    fn next_version(&self) -> Result<u32, Error> {
        if self.version() >= limits::TOOL_VERSIONS {
            return Err(Error::TooManyVersions {
                limit: limits::TOOL_VERSIONS,
            });
        }
        Ok(self.version() + 1)
    }

    fn patched(&self, patch: DetailsPatch) -> Details {
        let old = self.details();
        Details {
            name: patch.name.unwrap_or(old.name),
            title: patch.title.unwrap_or(old.title),
            description: patch.description.unwrap_or(old.description),
            category: patch.category.unwrap_or(old.category),
            tags: patch.tags.unwrap_or(old.tags),
        }
    }
}

fn check(details: Option<&Details>, definition: Option<&Definition>) -> Result<(), Error> {
    let mut found = Vec::new();
    if let Some(details) = details {
        found.extend(details.check().err().unwrap_or_default());
    }
    if let Some(definition) = definition {
        found.extend(definition.check().err().unwrap_or_default());
    }
    if found.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid(found))
    }
}

impl Aggregate for Tool {
    const TYPE: &'static str = "tool";
    type Command = Command;
    type Event = Event;
    type Error = Error;
    type Services = ();

    async fn handle(
        &mut self,
        command: Command,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Error> {
        match command {
            Command::Register {
                id,
                workspace,
                number,
                details,
                definition,
                at,
            } => {
                if self.exists() {
                    return Err(Error::AlreadyRegistered);
                }
                check(Some(&details), Some(&definition))?;
                let Details {
                    name,
                    title,
                    description,
                    category,
                    tags,
                } = details;
                let event = Event::Registered {
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
                };
                sink.write(event, self).await;
            }
            Command::Revise {
                expected_version,
                details,
                definition,
                active,
                at,
            } => {
                self.must_be_present()?;
                let current = self.version();
                if let Some(expected) = expected_version.filter(|v| *v != current) {
                    return Err(Error::VersionConflict { expected, current });
                }
                let details = self.patched(details);
                let changes_details = details != self.details();
                // What stays was fine by the rules of its time.
                check(changes_details.then_some(&details), definition.as_deref())?;
                if changes_details {
                    let event = Event::DetailsChanged {
                        previous_name: self.name.clone(),
                        name: details.name,
                        title: details.title,
                        description: details.description,
                        category: details.category,
                        tags: details.tags,
                        at,
                    };
                    sink.write(event, self).await;
                }
                if let Some(definition) =
                    definition.filter(|d| self.definition(current) != Some(&**d))
                {
                    let event = Event::Revised {
                        version: self.next_version()?,
                        definition,
                        restored_from: None,
                        at,
                    };
                    sink.write(event, self).await;
                }
                match active {
                    Some(true) if !self.active => sink.write(Event::Activated { at }, self).await,
                    Some(false) if self.active => sink.write(Event::Deactivated { at }, self).await,
                    _ => {}
                }
            }
            Command::Activate { at } => {
                self.must_be_present()?;
                if !self.active {
                    sink.write(Event::Activated { at }, self).await;
                }
            }
            Command::Deactivate { at } => {
                self.must_be_present()?;
                if self.active {
                    sink.write(Event::Deactivated { at }, self).await;
                }
            }
            Command::OpenCircuit {
                failures,
                until,
                at,
            } => {
                self.must_exist()?;
                if self.is_news_of_circuit(at) {
                    let event = Event::CircuitOpened {
                        failures,
                        until,
                        at,
                    };
                    sink.write(event, self).await;
                }
            }
            Command::CloseCircuit { at } => {
                self.must_exist()?;
                if self.circuit_open_until.is_some() && self.is_news_of_circuit(at) {
                    sink.write(Event::CircuitClosed { at }, self).await;
                }
            }
            // Deleting twice is fine: the sender's wish is fulfilled.
            Command::Delete { at } => {
                self.must_exist()?;
                if !self.deleted {
                    let name = self.name.clone();
                    sink.write(Event::Deleted { name, at }, self).await;
                }
            }
            Command::RestoreVersion { version, at } => {
                self.must_exist()?;
                let current = self.version();
                let Some(definition) = self.definition(version).cloned() else {
                    return Err(Error::NoSuchVersion { version, current });
                };
                if self.deleted {
                    let name = self.name.clone();
                    sink.write(Event::Restored { name, at }, self).await;
                }
                if self.definition(current) != Some(&definition) {
                    let event = Event::Revised {
                        version: self.next_version()?,
                        definition: Box::new(definition),
                        restored_from: Some(version),
                        at,
                    };
                    sink.write(event, self).await;
                }
            }
        }
        Ok(())
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Registered {
                id,
                workspace,
                number,
                name,
                title,
                description,
                category,
                tags,
                definition,
                at: _,
            } => {
                self.identity = Some(Identity {
                    id,
                    workspace,
                    number,
                });
                self.name = name;
                self.title = title;
                self.description = description;
                self.category = category;
                self.tags = tags;
                self.versions = vec![*definition];
                self.active = true;
            }
            Event::DetailsChanged {
                previous_name: _,
                name,
                title,
                description,
                category,
                tags,
                at: _,
            } => {
                self.name = name;
                self.title = title;
                self.description = description;
                self.category = category;
                self.tags = tags;
            }
            Event::Revised { definition, .. } => self.versions.push(*definition),
            Event::Activated { .. } => self.active = true,
            Event::Deactivated { .. } => self.active = false,
            Event::CircuitOpened { until, at, .. } => {
                self.circuit_open_until = Some(until);
                self.circuit_changed_at = Some(at);
            }
            Event::CircuitClosed { at } => {
                self.circuit_open_until = None;
                self.circuit_changed_at = Some(at);
            }
            Event::Deleted { .. } => self.deleted = true,
            Event::Restored { .. } => self.deleted = false,
        }
    }
}
