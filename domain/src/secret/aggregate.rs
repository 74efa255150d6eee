//! The secret's rules (`handle`) and its memory (`apply`).

use cqrs_es::{Aggregate, event_sink::EventSink};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{command::Command, error::Error, event::Event, is_name};
use crate::{
    id::{SecretId, WorkspaceId},
    limits,
    violation::Violation,
};

/// A secret, as its events tell it: all but its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Empty until it is first created; stays when it is deleted.
    named: Option<Named>,
    is_present: bool,
    /// Of the newest value there ever was.
    version: u32,
    created_at: Option<Timestamp>,
    updated_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Named {
    id: SecretId,
    workspace: WorkspaceId,
    name: String,
}

#[allow(missing_docs, reason = "each reads the fact that its name says")]
impl Secret {
    /// Whether it has a value.
    pub fn is_present(&self) -> bool {
        self.is_present
    }

    pub fn id(&self) -> Option<SecretId> {
        self.named.as_ref().map(|named| named.id)
    }

    pub fn workspace(&self) -> Option<WorkspaceId> {
        self.named.as_ref().map(|named| named.workspace)
    }

    pub fn name(&self) -> Option<&str> {
        self.named.as_ref().map(|named| named.name.as_str())
    }

    /// That of its value; of a deleted secret, that of the last it had. 0 before the first.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The version for which the next value must be sealed.
    pub fn next_version(&self) -> u32 {
        self.version.saturating_add(1)
    }

    pub fn created_at(&self) -> Option<Timestamp> {
        self.created_at
    }

    /// When it was created, replaced or deleted last.
    pub fn updated_at(&self) -> Option<Timestamp> {
        self.updated_at
    }

    fn check_version(&self, version: u32) -> Result<(), Error> {
        if version == self.next_version() {
            Ok(())
        } else {
            Err(Error::Overtaken)
        }
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if is_name(name) {
        return Ok(());
    }
    let problem = format!(
        "must be letters, digits and `_`, not begin with a digit, and have at most {} characters",
        limits::SECRET_NAME_CHARS
    );
    Err(Error::Invalid(vec![Violation::new("name", problem)]))
}

impl Aggregate for Secret {
    const TYPE: &'static str = "secret";
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
            Command::Create {
                workspace,
                name,
                version,
                at,
            } => {
                check_name(&name)?;
                if self.is_present {
                    return Err(Error::AlreadyCreated { name });
                }
                self.check_version(version)?;
                let event = Event::Created {
                    id: SecretId::of(workspace, &name),
                    workspace,
                    name,
                    version,
                    at,
                };
                sink.write(event, self).await;
            }
            Command::Replace { version, at } => {
                if !self.is_present {
                    return Err(Error::Unknown);
                }
                self.check_version(version)?;
                sink.write(Event::Replaced { version, at }, self).await;
            }
            // Deleting twice is fine: the sender's wish is fulfilled.
            Command::Delete { at } => {
                if self.named.is_none() {
                    return Err(Error::Unknown);
                }
                if self.is_present {
                    sink.write(Event::Deleted { at }, self).await;
                }
            }
        }
        Ok(())
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Created {
                id,
                workspace,
                name,
                version,
                at,
            } => {
                *self = Self {
                    named: Some(Named {
                        id,
                        workspace,
                        name,
                    }),
                    is_present: true,
                    version,
                    created_at: Some(at),
                    updated_at: Some(at),
                };
            }
            Event::Replaced { version, at } => {
                self.version = version;
                self.updated_at = Some(at);
            }
            Event::Deleted { at } => {
                self.is_present = false;
                self.updated_at = Some(at);
            }
        }
    }
}
