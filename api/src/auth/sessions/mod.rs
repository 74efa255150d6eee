//! Sessions of browsers: made of a key or a token, held in a cookie, ended when either ends.

mod rows;
mod token;

use std::{sync::Arc, time::Duration};

use aws_lc_rs::rand as secure_random;
use jiff::Timestamp;
use moka::future::Cache;
use sqlx::PgPool;
use toolroom_domain::{Actor, ApiKeyId, SessionId, UserId, WorkspaceId};
use toolroom_eventlog::ids;

pub use token::{SessionKey, Token};

use super::keys::TRUSTED_FOR;
use crate::error::ApiError;

/// A session that is not used for this long has ended: a night at home.
pub const IDLE: Duration = Duration::from_secs(12 * 3600);

/// A session ends after this long, however it is used.
pub const AT_MOST: Duration = Duration::from_secs(7 * 24 * 3600);

/// How late it may be written when a session was last used.
const COARSE: Duration = Duration::from_secs(60);

/// Sessions of one holder. One more ends the one that was not used for longest.
pub const MAX_SESSIONS: i64 = 100;

/// Sessions remembered, unknown ones included.
const REMEMBERED: u64 = 20_000;

/// What a session was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A key.
    Key {
        /// Its id.
        id: ApiKeyId,
        /// The part of it that is no secret.
        prefix: String,
    },
    /// A token of this user.
    User(UserId),
}

impl Holder {
    /// As events name them.
    pub fn actor(&self) -> Actor {
        match self {
            Self::Key { id, .. } => Actor::key(*id),
            Self::User(id) => Actor::user(id),
        }
    }
}

/// A session as it is kept.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// What it was made from.
    pub holder: Holder,
    /// The workspace that was selected when it was made.
    pub workspace: WorkspaceId,
    /// The holder's address, if the token told it.
    pub email: Option<String>,
    /// From which address it was made.
    pub ip: Option<String>,
    /// With which program it was made.
    pub user_agent: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used, a minute late at the most.
    pub last_used_at: Timestamp,
    /// When it ends, however it is used.
    pub expires_at: Timestamp,
    hash: Vec<u8>,
    has_ended: bool,
}

impl Session {
    /// Whether it opens anything now, as far as it goes by the session itself.
    pub fn is_open(&self, now: Timestamp) -> bool {
        let idle_since = now.duration_since(self.last_used_at);
        !self.has_ended && now < self.expires_at && idle_since < span(IDLE)
    }
}

/// A time span as timestamps have it.
fn span(duration: Duration) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(duration).unwrap_or(jiff::SignedDuration::MAX)
}

/// Of whom, in which workspace and from where a session is made.
#[derive(Clone, Debug)]
pub struct Made {
    /// What it is made from.
    pub holder: Holder,
    /// The workspace that is selected.
    pub workspace: WorkspaceId,
    /// The holder's address, if the token tells it.
    pub email: Option<String>,
    /// From which address.
    pub ip: Option<String>,
    /// With which program.
    pub user_agent: Option<String>,
}

/// Makes, finds and ends sessions.
pub struct Sessions {
    pool: PgPool,
    key: SessionKey,
    known: Cache<SessionId, Option<Arc<Session>>>,
}

impl Sessions {
    pub(super) fn new(pool: PgPool, key: SessionKey) -> Self {
        Self {
            pool,
            key,
            known: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(TRUSTED_FOR)
                .build(),
        }
    }

    /// Makes a session; what its holder is to keep, and when it ends.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn create(&self, made: Made, now: Timestamp) -> Result<(Token, Session), ApiError> {
        let id = SessionId::from_uuid(ids::new_uuid());
        let token = Token::issue(id, secure_random::fill).map_err(ApiError::internal)?;
        let session = Session {
            id,
            hash: self.key.hash(&token, &made.holder.actor()).to_vec(),
            holder: made.holder,
            workspace: made.workspace,
            email: made.email,
            ip: made.ip,
            user_agent: made.user_agent,
            created_at: now,
            last_used_at: now,
            expires_at: now + span(AT_MOST),
            has_ended: false,
        };
        rows::insert(&self.pool, &session, now).await?;
        Ok((token, session))
    }

    /// The session of a cookie, which this uses; none when it is none, or not any more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open(
        &self,
        token: &Token,
        now: Timestamp,
    ) -> Result<Option<Arc<Session>>, ApiError> {
        let Some(session) = self.find(token.id()).await? else {
            return Ok(None);
        };
        let actor = session.holder.actor();
        if !self.key.verify(token, &actor, &session.hash) || !session.is_open(now) {
            return Ok(None);
        }
        if now.duration_since(session.last_used_at) >= span(COARSE) {
            rows::touch(&self.pool, session.id, now).await?;
            self.known.invalidate(&session.id).await;
        }
        Ok(Some(session))
    }

    /// A session as it was within the last half second, ended or not.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find(&self, id: SessionId) -> Result<Option<Arc<Session>>, ApiError> {
        if let Some(known) = self.known.get(&id).await {
            return Ok(known);
        }
        let read = self
            .known
            .try_get_with(id, async { rows::read(&self.pool, id).await });
        read.await.map_err(|error| match Arc::try_unwrap(error) {
            Ok(error) => error.into(),
            Err(_) => ApiError::unavailable(),
        })
    }

    /// The sessions of a holder that are open, the one used last first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn of(&self, holder: &Actor, now: Timestamp) -> Result<Vec<Session>, ApiError> {
        let mut sessions = rows::of(&self.pool, holder).await?;
        sessions.retain(|session| session.is_open(now));
        Ok(sessions)
    }

    /// Ends a session of this holder, and says whether they have it, ended or not.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn end(
        &self,
        holder: &Actor,
        id: SessionId,
        now: Timestamp,
    ) -> Result<bool, ApiError> {
        let is_theirs = rows::end(&self.pool, holder, id, now).await?;
        self.known.invalidate(&id).await;
        Ok(is_theirs)
    }

    /// The value of the cookie that holds a token.
    pub fn cookie(&self, token: &Token) -> String {
        self.key.cookie(token)
    }

    /// What a cookie of this value holds; none when it is none that we gave out.
    pub fn token(&self, cookie: &str) -> Option<Token> {
        self.key.token(cookie)
    }

    /// What the session's pages show with each request that changes something.
    pub fn csrf(&self, token: &Token) -> String {
        self.key.csrf(token)
    }

    /// Whether this is the session's CSRF token.
    pub(super) fn is_csrf(&self, token: &Token, shown: &str) -> bool {
        self.key.verify_csrf(token, shown)
    }
}
