//! Recognises callers by what the database and the identity provider know of them.

use std::{collections::HashSet, net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use moka::sync::Cache;
use toolroom_domain::{
    Actor, Clock, ErrorCode, UserId, WorkspaceId, access::Caller, workspace::Workspace,
};
use toolroom_eventlog::{
    EventLog, ids,
    vault::{self, ServerKey},
};

use super::{
    Cookie, Credential, Csrf, Identify, Identity, Presented, Reason, Standing, Unauthenticated,
    api_key::{ApiKey, HashKey},
    jwt::{self, Claims},
    keys::{Keys, Known},
    presented::{Fingerprint, fingerprint},
    sessions::{Holder, SessionKey, Sessions},
    workspaces::Workspaces,
};
use crate::{denial::Denials, error::ApiError, limit::Strangers, state::RequestContext};

/// Tokens whose claims are remembered: some KiB each at the most.
const TOKENS: u64 = 10_000;

/// For how long the check of a token's signature counts: a key that its provider withdraws counts so
/// much longer.
const CHECKED_FOR: Duration = Duration::from_secs(60);

/// Credentials remembered as good, to be looked at whatever else comes from their address.
const KNOWN: u64 = 50_000;

/// For how long after they counted.
const KNOWN_FOR: Duration = Duration::from_secs(3_600);

/// What is refused to whoever asks for a workspace that their key does not open.
const SELECT_WORKSPACE: &str = "selectWorkspace";

/// What is refused to whoever shows a key that opens nothing.
const SHOW_KEY: &str = "authenticate";

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
    sessions: Sessions,
    workspaces: Workspaces,
    strangers: Strangers,
    /// What tokens say that were checked a short while ago, by their fingerprints.
    tokens: Cache<Fingerprint, Arc<Claims>>,
    /// The fingerprints of credentials that counted a short while ago.
    known: Cache<Fingerprint, ()>,
    denials: Denials,
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
        let session_key = SessionKey::new(&log.vault.server_key(ServerKey::Session).await?);
        Ok(Self {
            options,
            sessions: Sessions::new(log.database.authenticator_pool().clone(), session_key),
            keys: Keys::new(log.database.authenticator_pool().clone(), hash_key),
            workspaces: Workspaces::new(log.bus.clone(), log.database.authenticator_pool().clone()),
            strangers: Strangers::new(Arc::clone(&clock)),
            tokens: Cache::builder()
                .max_capacity(TOKENS)
                .time_to_live(CHECKED_FOR)
                .build(),
            known: Cache::builder()
                .max_capacity(KNOWN)
                .time_to_live(KNOWN_FOR)
                .build(),
            denials: Denials::new(Arc::clone(&clock)),
            clock,
        })
    }

    /// What API keys are hashed with.
    pub fn hash_key(&self) -> &HashKey {
        self.keys.hash_key()
    }

    /// The sessions of browsers.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
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

    /// Tells of whoever is refused something, and of keys that are tried although they open nothing.
    pub fn denials(&self) -> &Denials {
        &self.denials
    }

    async fn by_key(
        &self,
        key: &str,
        wanted: Option<WorkspaceId>,
        address: Option<IpAddr>,
    ) -> Result<Identity, ApiError> {
        let key = ApiKey::parse(key)?;
        let known = match self.keys.verify(&key, self.clock.now()).await {
            Ok(known) => known,
            Err(error) => {
                self.note_refused_key(&key, address, error.code).await;
                return Err(error);
            }
        };
        let workspace = match self.place_of_key(&known, wanted).await {
            Ok(workspace) => workspace,
            Err(error) => {
                if error.code == ErrorCode::NotFound {
                    let actor = Actor::key(known.id);
                    self.note(
                        known.workspace,
                        actor,
                        address,
                        SELECT_WORKSPACE,
                        error.code,
                    );
                }
                return Err(error);
            }
        };
        Ok(Identity {
            workspace,
            actor: Actor::key(known.id),
            caller: known.caller(),
            credential: Credential::Key {
                id: known.id,
                prefix: key.prefix().to_owned(),
            },
            email: None,
        })
    }

    async fn place_of_key(
        &self,
        known: &Known,
        wanted: Option<WorkspaceId>,
    ) -> Result<WorkspaceId, ApiError> {
        if self.is_gone(known.workspace).await? {
            return Err(Unauthenticated::from(Reason::WorkspaceGone).into());
        }
        match wanted {
            None => Ok(known.workspace),
            Some(wanted) if wanted == known.workspace => Ok(wanted),
            Some(wanted) if known.operator => self.existing(wanted).await,
            Some(_) => Err(no_such_workspace()),
        }
    }

    /// Who has this cookie; none when it opens nothing: an old cookie must not keep its browser
    /// from the page where one signs in anew.
    async fn by_cookie(
        &self,
        cookie: &Cookie,
        wanted: Option<WorkspaceId>,
    ) -> Result<Option<Identity>, ApiError> {
        let Some(token) = self.sessions.token(&cookie.value) else {
            return Ok(None);
        };
        let now = self.clock.now();
        let Some(session) = self.sessions.open(&token, now).await? else {
            return Ok(None);
        };
        let (workspace, caller) = match &session.holder {
            Holder::Key { prefix, .. } => {
                let Some(known) = self.keys.find(prefix).await? else {
                    return Ok(None);
                };
                if known.check(now).is_err() || self.is_gone(known.workspace).await? {
                    return Ok(None);
                }
                self.keys.used(known.id, now);
                (self.place_of_key(&known, wanted).await?, known.caller())
            }
            Holder::User(user) => {
                let own = Some(session.workspace).filter(|own| *own != WorkspaceId::NONE);
                match self.place_of(user, wanted.or(own)).await {
                    Ok(place) => place,
                    // Whose membership ended there has no session there either.
                    Err(error) if wanted.is_none() && error.code == ErrorCode::NotFound => {
                        return Ok(None);
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        if let Csrf::Needed(shown) = &cookie.csrf
            && !shown
                .as_deref()
                .is_some_and(|shown| self.sessions.is_csrf(&token, shown))
        {
            return Err(ApiError::new(
                ErrorCode::Forbidden,
                "a request that changes something under a session's cookie needs the header `X-CSRF-Token`, with what `GET /session` tells as `csrfToken`",
            ));
        }
        Ok(Some(Identity {
            workspace,
            actor: session.holder.actor(),
            caller,
            credential: Credential::Session {
                id: session.id,
                holder: session.holder.clone(),
            },
            email: session.email.clone(),
        }))
    }

    async fn is_gone(&self, workspace: WorkspaceId) -> Result<bool, ApiError> {
        Ok(self.workspaces.find(workspace).await?.is_none())
    }

    async fn by_token(
        &self,
        token: &str,
        fingerprint: Fingerprint,
        wanted: Option<WorkspaceId>,
    ) -> Result<Identity, ApiError> {
        let claims = self.claims_of(token, fingerprint).await?;
        let user = UserId::try_new(claims.subject.as_str())
            .map_err(|_| Unauthenticated::from(Reason::Subject))?;
        let (workspace, caller) = self.place_of(&user, wanted).await?;
        Ok(Identity {
            workspace,
            actor: Actor::user(&user),
            caller,
            credential: Credential::Token {
                user,
                expires_at: claims.expires_at,
            },
            email: claims.email.clone(),
        })
    }

    /// What a token says, checked within the last minute: its signature does not change, and how
    /// long it counts is looked at each time.
    async fn claims_of(
        &self,
        token: &str,
        fingerprint: Fingerprint,
    ) -> Result<Arc<Claims>, ApiError> {
        if let Some(claims) = self.tokens.get(&fingerprint) {
            if claims.expires_at <= self.clock.now() {
                return Err(Unauthenticated::from(Reason::Expired).into());
            }
            return Ok(claims);
        }
        let verifier = self.options.tokens.as_ref();
        let verifier = verifier.ok_or(Unauthenticated::from(Reason::NoIssuer))?;
        let claims = Arc::new(verifier.verify(token).await?);
        self.tokens.insert(fingerprint, Arc::clone(&claims));
        Ok(claims)
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
            None if is_operator => Some(WorkspaceId::DEFAULT),
            None => self.workspaces.first_of(user).await?,
        };
        let Some(workspace) = workspace else {
            return Ok((WorkspaceId::NONE, Caller::User(None)));
        };
        let found = self.workspaces.find(workspace).await?;
        let found = found.ok_or_else(no_such_workspace)?;
        if is_operator {
            return Ok((workspace, Caller::Operator));
        }
        match found.role_of(user) {
            Some(role) => Ok((workspace, Caller::User(Some(role)))),
            // They were a member a moment ago, and did not say which workspace they mean.
            None if wanted.is_none() => Ok((WorkspaceId::NONE, Caller::User(None))),
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
            Credential::Key { prefix, .. } => self.present_key(prefix).await,
            Credential::Token { expires_at, .. } if *expires_at <= now => Ok(None),
            Credential::Token { user, .. } => self.present_user(user, ctx.workspace).await,
            Credential::Session { id, holder } => {
                let session = self.sessions.find(*id).await?;
                if !session.is_some_and(|session| session.is_open(now)) {
                    return Ok(None);
                }
                match holder {
                    Holder::Key { prefix, .. } => self.present_key(prefix).await,
                    Holder::User(user) => self.present_user(user, ctx.workspace).await,
                }
            }
        }
    }

    async fn present_key(&self, prefix: &str) -> Result<Option<Caller>, ApiError> {
        let Some(known) = self.keys.find(prefix).await? else {
            return Ok(None);
        };
        if known.check(self.clock.now()).is_err() || self.is_gone(known.workspace).await? {
            return Ok(None);
        }
        Ok(Some(known.caller()))
    }

    async fn present_user(
        &self,
        user: &UserId,
        workspace: WorkspaceId,
    ) -> Result<Option<Caller>, ApiError> {
        if self.options.operators.contains(user) {
            return Ok(Some(Caller::Operator));
        }
        let workspace = self.workspaces.find(workspace).await?;
        Ok(Some(Caller::User(
            workspace.and_then(|workspace| workspace.role_of(user)),
        )))
    }
}

/// Tells the operator what the caller must not learn. How often, the limit of wrong credentials
/// bounds.
fn tell_refused(presented: &Presented, reason: Reason) {
    let key = presented.credential.as_deref().map(ApiKey::parse);
    let prefix = key.and_then(Result::ok).map(|key| key.prefix().to_owned());
    let address = presented.address.map(tracing::field::display);
    tracing::info!(%reason, address, prefix, "a credential was refused");
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
        match &presented.credential {
            Some(credential) => self.by_credential(credential, presented).await,
            None => self.by_what_is_left(presented).await,
        }
    }

    async fn standing(&self, ctx: &RequestContext) -> Standing {
        match self.present_caller(ctx).await {
            Ok(Some(caller)) if caller == ctx.caller => Standing::Same,
            Ok(Some(_)) => Standing::Changed,
            Ok(None) => Standing::Gone,
            // A database that is away ends nothing: what it would stream waits for it too.
            Err(_) => Standing::Same,
        }
    }
}

impl Authenticator {
    async fn by_credential(
        &self,
        credential: &str,
        presented: &Presented,
    ) -> Result<Identity, ApiError> {
        let fingerprint = fingerprint(credential);
        // Somebody behind the same address may be guessing: that is no fault of whoever is known.
        let is_known = self.known.contains_key(&fingerprint);
        if let (Some(address), false) = (presented.address, is_known) {
            self.strangers.admit(address)?;
        }
        let wanted = presented.wanted();
        let recognised = match ApiKey::is_meant(credential) {
            true => self.by_key(credential, wanted, presented.address).await,
            false => self.by_token(credential, fingerprint, wanted).await,
        };
        match &recognised {
            Ok(_) if !is_known => self.known.insert(fingerprint, ()),
            Ok(_) => {}
            Err(error) => {
                if let Some(reason) = error.refused_for {
                    self.known.invalidate(&fingerprint);
                    tell_refused(presented, reason);
                    if let Some(address) = presented.address
                        && reason.may_be_a_guess()
                    {
                        self.strangers.failed(address);
                    }
                }
            }
        }
        recognised
    }

    /// Who shows no credential. A cookie is sealed: what is invented costs nothing, and is no failure.
    async fn by_what_is_left(&self, presented: &Presented) -> Result<Identity, ApiError> {
        let wanted = presented.wanted();
        if let Some(cookie) = &presented.cookie
            && let Some(identity) = self.by_cookie(cookie, wanted).await?
        {
            return Ok(identity);
        }
        match (self.options.local, wanted) {
            (false, _) => Ok(Identity::anonymous()),
            (true, None) => Ok(Identity::local()),
            (true, Some(wanted)) => Ok(Identity {
                workspace: self.existing(wanted).await?,
                ..Identity::local()
            }),
        }
    }

    /// Has the audit of a key's workspace tell that the key was tried although it opens nothing. With
    /// another secret than its own, whoever tried it is nobody.
    async fn note_refused_key(&self, key: &ApiKey, address: Option<IpAddr>, code: ErrorCode) {
        if code != ErrorCode::Unauthenticated {
            return;
        }
        let Ok(Some(known)) = self.keys.find(key.prefix()).await else {
            return;
        };
        let actor = match self.keys.is_of(key, &known) {
            true => Actor::key(known.id),
            false => Actor::anonymous(),
        };
        self.note(known.workspace, actor, address, SHOW_KEY, code);
    }

    fn note(
        &self,
        workspace: WorkspaceId,
        actor: Actor,
        address: Option<IpAddr>,
        operation: &str,
        code: ErrorCode,
    ) {
        let tried = Identity {
            workspace,
            actor,
            ..Identity::anonymous()
        };
        let mut ctx = RequestContext::of(tried, ids::new_uuid().simple().to_string());
        ctx.ip = address.map(|address| address.to_string());
        self.denials.note(&ctx, operation, code);
    }
}
