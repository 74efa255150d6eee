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
pub(crate) mod presented;
pub mod sessions;
mod workspaces;

pub use authenticator::{AuthOptions, Authenticator};
pub use error::{Reason, Unauthenticated};
pub use presented::{Cookie, Csrf, Presented};

use async_trait::async_trait;
use jiff::Timestamp;
use toolroom_domain::{Actor, ApiKeyId, SessionId, UserId, WorkspaceId, access::Caller};

pub use self::sessions::Holder;
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
    /// By the cookie of a session.
    Session {
        /// The session's id.
        id: SessionId,
        /// What it was made from.
        holder: Holder,
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
            Self::Session { .. } => "session",
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

    /// What has become of the sender of an earlier request: for what is open for longer than a
    /// request. Where that cannot be told now, they are as they were.
    async fn standing(&self, ctx: &RequestContext) -> Standing;
}

/// What has become of the sender of an earlier request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They are who they were and may do what they might.
    Same,
    /// They are known, but as something else: another role, or no member any more.
    Changed,
    /// What they showed does not count any more.
    Gone,
}
