//! Who a request comes from, and whether they still may.
//!
//! What a caller shows is an API key ([`api_key`]) or a token of an identity provider ([`jwt`]).
//! Both parts are pure: keys, time, randomness and the way to the provider are handed in. Whatever
//! is wrong with a credential, the caller learns only that it does not count ([`Unauthenticated`]).
//! What a known caller may do, [`toolroom_domain::access`] says, and nothing else.

pub mod api_key;
mod authenticator;
pub mod bootstrap;
mod error;
pub mod jwt;
mod keys;
mod presented;
mod workspaces;

pub use authenticator::{AuthOptions, Authenticator};
pub use error::{Reason, Unauthenticated};
pub use presented::Presented;

use async_trait::async_trait;
use jiff::Timestamp;
use toolroom_domain::{Actor, ApiKeyId, UserId, WorkspaceId, access::Caller};

use crate::{error::ApiError, state::RequestContext};

/// By what somebody was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Nothing was shown.
    None,
    /// By reaching the loopback address of a server in local mode.
    Local,
    /// By an API key.
    Key {
        /// The key's id.
        id: ApiKeyId,
        /// The part of it that is no secret.
        prefix: String,
    },
    /// By a token of the identity provider.
    Token {
        /// Whose.
        user: UserId,
        /// From this moment on it does not count.
        expires_at: Timestamp,
    },
}

impl Credential {
    /// The word that `viewer.authenticatedBy` tells.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Local => "local",
            Self::Key { .. } => "api_key",
            Self::Token { .. } => "token",
        }
    }
}

/// Who asks, and in which workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The selected workspace; [`WorkspaceId::NONE`] of whoever has none.
    pub workspace: WorkspaceId,
    /// Who, as events name them.
    pub actor: Actor,
    /// What they may do.
    pub caller: Caller,
    /// By what they were recognised.
    pub credential: Credential,
    /// Their address, if the token tells it.
    pub email: Option<String>,
}

impl Identity {
    /// Whoever reaches the loopback address of a server in local mode.
    pub fn local() -> Self {
        Self {
            workspace: WorkspaceId::DEFAULT,
            actor: Actor::local_owner(),
            caller: Caller::Operator,
            credential: Credential::Local,
            email: None,
        }
    }

    /// Whoever shows nothing.
    pub fn anonymous() -> Self {
        Self {
            workspace: WorkspaceId::NONE,
            actor: Actor::anonymous(),
            caller: Caller::Anonymous,
            credential: Credential::None,
            email: None,
        }
    }
}

/// Knows callers.
#[async_trait]
pub trait Identify: Send + Sync + 'static {
    /// Whether whoever shows nothing owns the server.
    fn is_local(&self) -> bool;

    /// Who shows this.
    ///
    /// # Errors
    /// When it does not count, names a workspace that is not theirs, or cannot be checked now.
    async fn identify(&self, presented: &Presented) -> Result<Identity, ApiError>;

    /// Whether the sender of an earlier request is still who they were and may still do what they
    /// did: for what is open for longer than a request. A check that cannot be made now passes.
    async fn still_valid(&self, ctx: &RequestContext) -> bool;
}
