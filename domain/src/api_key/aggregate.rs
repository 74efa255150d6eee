//! The key's rules (`handle`) and its memory (`apply`).

use cqrs_es::{Aggregate, event_sink::EventSink};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{command::Command, error::Error, event::Event};
use crate::{
    access::Caller,
    actor::Actor,
    id::{ApiKeyId, WorkspaceId},
    limits,
    name::check_label,
    role::Role,
    violation::Violation,
};

/// How many characters a prefix has. Short enough to read out, long enough that few are drawn
/// twice.
const PREFIX_CHARS: std::ops::RangeInclusive<usize> = 6..=16;

/// An API key, as its events tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Empty until it is created.
    created: Option<Created>,
    revoked_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Created {
    id: ApiKeyId,
    workspace: WorkspaceId,
    name: String,
    prefix: String,
    role: Role,
    operator: bool,
    created_by: Actor,
    expires_at: Option<Timestamp>,
    at: Timestamp,
}

#[allow(missing_docs, reason = "each reads the fact that its name says")]
impl ApiKey {
    pub fn exists(&self) -> bool {
        self.created.is_some()
    }

    pub fn id(&self) -> Option<ApiKeyId> {
        self.created.as_ref().map(|c| c.id)
    }

    pub fn workspace(&self) -> Option<WorkspaceId> {
        self.created.as_ref().map(|c| c.workspace)
    }

    pub fn name(&self) -> Option<&str> {
        self.created.as_ref().map(|c| c.name.as_str())
    }

    pub fn prefix(&self) -> Option<&str> {
        self.created.as_ref().map(|c| c.prefix.as_str())
    }

    pub fn role(&self) -> Option<Role> {
        self.created.as_ref().map(|c| c.role)
    }

    /// Whether its holder runs the server, whatever the role.
    pub fn is_operator(&self) -> bool {
        self.created.as_ref().is_some_and(|c| c.operator)
    }

    pub fn created_by(&self) -> Option<&Actor> {
        self.created.as_ref().map(|c| &c.created_by)
    }

    pub fn created_at(&self) -> Option<Timestamp> {
        self.created.as_ref().map(|c| c.at)
    }

    /// The first moment at which it opens nothing; none if that never comes.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.created.as_ref().and_then(|c| c.expires_at)
    }

    pub fn revoked_at(&self) -> Option<Timestamp> {
        self.revoked_at
    }
}

/// Whether a text can be a key's prefix: 6 to 16 lower-case letters and digits.
pub fn is_prefix(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    PREFIX_CHARS.contains(&text.len()) && text.bytes().all(is_allowed)
}

fn check(
    name: &str,
    prefix: &str,
    expires_at: Option<Timestamp>,
    at: Timestamp,
) -> Result<(), Error> {
    let mut found: Vec<Violation> = Vec::new();
    found.extend(check_label("name", name, limits::LABEL_CHARS).err());
    if !is_prefix(prefix) {
        let problem = "must be 6–16 lower-case letters and digits";
        found.push(Violation::new("prefix", problem));
    }
    if expires_at.is_some_and(|expires_at| expires_at <= at) {
        let problem = "must lie in the future; leave it out for a key that does not expire";
        found.push(Violation::new("expiresAt", problem));
    }
    if found.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid(found))
    }
}

impl Aggregate for ApiKey {
    const TYPE: &'static str = "api_key";
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
                id,
                workspace,
                name,
                prefix,
                role,
                operator,
                created_by,
                creator,
                expires_at,
                at,
            } => {
                if self.exists() {
                    return Err(Error::AlreadyCreated);
                }
                if !creator.may_give(role) {
                    return Err(Error::AboveOwnRole { role });
                }
                check(&name, &prefix, expires_at, at)?;
                let event = Event::Created {
                    id,
                    workspace,
                    name,
                    prefix,
                    role,
                    operator,
                    created_by,
                    expires_at,
                    at,
                };
                sink.write(event, self).await;
            }
            // Revoking twice is fine: the sender's wish is fulfilled.
            Command::Revoke { revoker, at } => {
                if !self.exists() {
                    return Err(Error::Unknown);
                }
                if self.is_operator() && revoker != Caller::Operator {
                    return Err(Error::RunsServer);
                }
                if self.revoked_at.is_none() {
                    sink.write(Event::Revoked { at }, self).await;
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
                prefix,
                role,
                operator,
                created_by,
                expires_at,
                at,
            } => {
                self.created = Some(Created {
                    id,
                    workspace,
                    name,
                    prefix,
                    role,
                    operator,
                    created_by,
                    expires_at,
                    at,
                });
            }
            Event::Revoked { at } => self.revoked_at = Some(at),
        }
    }
}
