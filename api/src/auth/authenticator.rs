//! Recognises callers by what the database and the identity provider know of them.

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use toolroom_domain::{Actor, Clock, UserId, WorkspaceId, access::Caller, workspace::Workspace};
use toolroom_eventlog::{
    EventLog,
    vault::{self, ServerKey},
};

use super::{
    Credential, Identify, Identity, Presented, Reason, Unauthenticated,
    api_key::{ApiKey, HashKey},
    jwt,
    keys::Keys,
    workspaces::Workspaces,
};
use crate::{error::ApiError, state::RequestContext};

/// What the operator decides of callers.
#[derive(Default)]
pub struct AuthOptions {
    /// Whether whoever shows nothing owns the server.
    pub local: bool,
    /// Users who run the server.
    pub operators: HashSet<UserId>,
    /// Checks tokens of the identity provider, if there is one.
    pub tokens: Option<jwt::Verifier>,
}

/// Recognises callers.
pub struct Authenticator {
    options: AuthOptions,
    keys: Keys,
    workspaces: Workspaces,
    clock: Arc<dyn Clock>,
}

impl Authenticator {
    /// An authenticator over a log, whose vault has the server's key.
    ///
    /// # Errors
    /// When the vault's keys cannot be had.
    pub async fn init(
        log: &EventLog,
        options: AuthOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, vault::Error> {
        let hash_key = HashKey::new(&log.vault.server_key(ServerKey::ApiKeyHash).await?);
        Ok(Self {
            options,
            keys: Keys::new(log.database.authenticator_pool().clone(), hash_key),
            workspaces: Workspaces::new(
                log.bus.clone(),
                log.database.authenticator_pool().clone(),
            ),
            clock,
        })
    }

    /// What API keys are hashed with.
    pub fn hash_key(&self) -> &HashKey {
        self.keys.hash_key()
    }

    /// A workspace that exists and was not deleted, as it was within the last half second.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn workspace(&self, id: WorkspaceId) -> Result<Option<Arc<Workspace>>, ApiError> {
        self.workspaces.find(id).await
    }

    /// Forgets what is remembered of a key, which this node has just changed.
    pub async fn key_changed(&self, prefix: &str) {
        self.keys.forget(prefix).await;
    }

    /// Forgets what is remembered of a workspace, which this node has just changed.
    pub async fn workspace_changed(&self, id: WorkspaceId) {
        self.workspaces.forget(id).await;
    }

    async fn by_key(&self, key: &str, wanted: Option<WorkspaceId>) -> Result<Identity, ApiError> {
        let key = ApiKey::parse(key)?;
        let known = self.keys.verify(&key, self.clock.now()).await?;
        if self.workspaces.find(known.workspace).await?.is_none() {
            return Err(Unauthenticated::from(Reason::WorkspaceGone).into());
        }
        let workspace = match wanted {
            None => known.workspace,
            Some(wanted) if wanted == known.workspace => wanted,
            Some(wanted) if known.operator => self.existing(wanted).await?,
            Some(_) => return Err(no_such_workspace()),
        };
        Ok(Identity {
            workspace,
            actor: Actor::key(known.id),
            caller: match known.operator {
                true => Caller::Operator,
                false => Caller::Key(known.role),
            },
            credential: Credential::Key {
                id: known.id,
                prefix: key.prefix().to_owned(),
            },
            email: None,
        })
    }

    async fn by_token(
        &self,
        token: &str,
        wanted: Option<WorkspaceId>,
    ) -> Result<Identity, ApiError> {
        let verifier = self.options.tokens.as_ref();
        let verifier = verifier.ok_or(Unauthenticated::from(Reason::NoIssuer))?;
        let claims = verifier.verify(token).await?;
        let user =
            UserId::try_new(claims.subject).map_err(|_| Unauthenticated::from(Reason::Subject))?;
        let (workspace, caller) = self.place_of(&user, wanted).await?;
        Ok(Identity {
            workspace,
            actor: Actor::user(&user),
            caller,
            credential: Credential::Token {
                user,
                expires_at: claims.expires_at,
            },
            email: claims.email,
        })
    }

    /// Where a user is, and as what.
    async fn place_of(
        &self,
        user: &UserId,
        wanted: Option<WorkspaceId>,
    ) -> Result<(WorkspaceId, Caller), ApiError> {
        let is_operator = self.options.operators.contains(user);
        let workspace = match wanted {
            Some(wanted) => Some(wanted),
            None => self.workspaces.first_of(user).await?,
        };
        let Some(workspace) = workspace else {
            return Ok(match is_operator {
                true => (WorkspaceId::DEFAULT, Caller::Operator),
                false => (WorkspaceId::NONE, Caller::User(None)),
            });
        };
        let found = self.workspaces.find(workspace).await?;
        let found = found.ok_or_else(no_such_workspace)?;
        if is_operator {
            return Ok((workspace, Caller::Operator));
        }
        match found.role_of(user) {
            Some(role) => Ok((workspace, Caller::User(Some(role)))),
            None => Err(no_such_workspace()),
        }
    }

    async fn existing(&self, wanted: WorkspaceId) -> Result<WorkspaceId, ApiError> {
        match self.workspaces.find(wanted).await? {
            Some(_) => Ok(wanted),
            None => Err(no_such_workspace()),
        }
    }

    async fn present_caller(&self, ctx: &RequestContext) -> Result<Option<Caller>, ApiError> {
        let now = self.clock.now();
        match &ctx.credential {
            Credential::None | Credential::Local => Ok(Some(ctx.caller)),
            Credential::Key { prefix, .. } => {
                let Some(known) = self.keys.find(prefix).await? else {
                    return Ok(None);
                };
                if known.check(now).is_err()
                    || self.workspaces.find(known.workspace).await?.is_none()
                {
                    return Ok(None);
                }
                Ok(Some(match known.operator {
                    true => Caller::Operator,
                    false => Caller::Key(known.role),
                }))
            }
            Credential::Token { user, expires_at } => {
                if *expires_at <= now {
                    return Ok(None);
                }
                if self.options.operators.contains(user) {
                    return Ok(Some(Caller::Operator));
                }
                let workspace = self.workspaces.find(ctx.workspace).await?;
                Ok(Some(Caller::User(
                    workspace.and_then(|workspace| workspace.role_of(user)),
                )))
            }
        }
    }
}

/// The same whether there is none or it is somebody else's.
fn no_such_workspace() -> ApiError {
    ApiError::refused(&toolroom_domain::workspace::Error::Unknown)
}

#[async_trait]
impl Identify for Authenticator {
    fn is_local(&self) -> bool {
        self.options.local
    }

    async fn identify(&self, presented: &Presented) -> Result<Identity, ApiError> {
        let wanted = presented.wanted();
        match &presented.credential {
            Some(credential) if ApiKey::is_meant(credential) => {
                self.by_key(credential, wanted).await
            }
            Some(credential) => self.by_token(credential, wanted).await,
            None if self.options.local => match wanted {
                None => Ok(Identity::local()),
                Some(wanted) => Ok(Identity {
                    workspace: self.existing(wanted).await?,
                    ..Identity::local()
                }),
            },
            None => Ok(Identity::anonymous()),
        }
    }

    async fn still_valid(&self, ctx: &RequestContext) -> bool {
        match self.present_caller(ctx).await {
            Ok(caller) => caller == Some(ctx.caller),
            // A database that is away ends nothing: what it would stream waits for it too.
            Err(_) => true,
        }
    }
}
