//! Who asks, and under which name.

use toolroom_domain::{Actor, WorkspaceId};

use crate::append::SideRow;

/// Who sends a command, and under which name.
#[derive(Clone, Debug)]
pub struct CommandContext {
    /// In which workspace.
    pub workspace: WorkspaceId,
    /// Who.
    pub actor: Actor,
    /// The sender's idempotency key and what it asked for, when it sent one.
    pub named: Option<NamedCommand>,
    /// What all that one request causes has in common.
    pub correlation_id: String,
    /// The event or command that led to this one.
    pub causation_id: Option<String>,
    /// From which address.
    pub ip: Option<String>,
    /// With which program.
    pub user_agent: Option<String>,
    /// What is written beside the command's events, in their transaction; nothing, for a repeated
    /// command.
    pub side: Vec<SideRow>,
}

/// A command that its sender may repeat.
#[derive(Clone, Debug)]
pub struct NamedCommand {
    /// The idempotency key: up to [`toolroom_domain::limits::COMMAND_ID_CHARS`] characters.
    pub id: String,
    /// What was asked for, in any form that is the same for the same request. Only its HMAC is
    /// kept.
    pub request: Vec<u8>,
}

impl CommandContext {
    /// The same sender and request, for a further command of which it knows nothing and which it
    /// therefore cannot repeat.
    #[must_use]
    pub fn unnamed(&self) -> Self {
        Self {
            named: None,
            causation_id: self
                .named
                .as_ref()
                .map(|named| named.id.clone())
                .or_else(|| self.causation_id.clone()),
            side: Vec::new(),
            ..self.clone()
        }
    }

    /// A command of a part of Toolroom itself.
    pub fn system(workspace: WorkspaceId, part: &str, correlation_id: String) -> Self {
        Self {
            workspace,
            actor: Actor::system(part),
            named: None,
            correlation_id,
            causation_id: None,
            ip: None,
            user_agent: None,
            side: Vec::new(),
        }
    }
}
