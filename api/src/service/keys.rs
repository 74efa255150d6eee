//! API keys: made, revoked, listed.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use serde::Serialize;
use sqlx::Row as _;
use toolroom_domain::{
    ApiKeyId, ErrorCode, Role,
    api_key::{ApiKey, Command, Error},
};
use toolroom_eventlog::{Executed, append::SideRow, command::Target, ids};
use toolroom_projections::{
    Page, PageRequest,
    api_keys::{self, ApiKeyOrder, ApiKeyRow},
};

use super::settle::{API_KEYS, after_command, as_kept, before_read};
use crate::{
    auth::{api_key, bootstrap},
    error::ApiError,
    state::{AppState, RequestContext},
};

/// Keys of a workspace that open it at once: more than it has programs, and few enough to look
/// through when one leaked.
const KEYS: i64 = 1_000;

/// An API key to make.
#[derive(Clone, Debug, Serialize)]
pub struct NewKey {
    /// What people call it.
    pub name: String,
    /// What its holder may do: no more than whoever makes it.
    pub role: Role,
    /// From this moment on it opens nothing.
    pub expires_at: Option<Timestamp>,
}

/// An API key as it stands now.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyView {
    /// What the log tells of it.
    pub row: ApiKeyRow,
    /// When it was last shown, some seconds late.
    pub last_used_at: Option<Timestamp>,
}

/// An API key that was just made.
#[derive(Debug)]
pub struct Created {
    /// As it stands.
    pub key: KeyView,
    /// What opens the workspace, shown this once: none when the command is repeated, since only its
    /// hash is kept.
    pub secret: Option<api_key::ApiKey>,
}

/// Makes an API key of the selected workspace.
///
/// # Errors
/// When a value is not valid, the role is above the sender's own, or the workspace has as many keys
/// as one may have.
pub async fn create(
    state: &AppState,
    ctx: &RequestContext,
    new: NewKey,
    command_id: Option<&str>,
) -> Result<Created, ApiError> {
    let mut command = ctx.command(command_id, "createApiKey", &new)?;
    if let Some(first) = state.log.bus.recall::<ApiKey>(&command).await? {
        let key = settled(state, ctx, first).await?;
        return Ok(Created { key, secret: None });
    }
    let at = state.clock.now();
    let reads = state.log.database.reads();
    if api_keys::query::open_at(reads, ctx.workspace, at).await? >= KEYS {
        return Err(ApiError::new(
            ErrorCode::Conflict,
            format!(
                "the workspace has {KEYS} API keys, as many as one may have; revoke some first"
            ),
        ));
    }
    let id = ApiKeyId::from_uuid(ids::new_uuid());
    let secret = bootstrap::new_key()?;
    command.side = vec![SideRow::KeyHash {
        prefix: secret.prefix().to_owned(),
        key_id: id.to_string(),
        hash: state.auth.hash_key().hash(&secret).to_vec(),
        role: new.role.as_str(),
        operator: false,
        expires_at: new.expires_at,
    }];
    let create = Command::Create {
        id,
        workspace: ctx.workspace,
        name: new.name,
        prefix: secret.prefix().to_owned(),
        role: new.role,
        operator: false,
        created_by: ctx.actor.clone(),
        creator: ctx.caller,
        expires_at: new.expires_at,
        at,
    };
    let target = Target::New(id.to_string());
    let executed = state.log.bus.execute(target, create, &command).await?;
    // Another node was quicker with the same command: its secret counts.
    let is_ours = !executed.repeated;
    let key = settled(state, ctx, executed).await?;
    Ok(Created {
        key,
        secret: is_ours.then_some(secret),
    })
}

/// Has a key of the selected workspace open nothing any more.
///
/// # Errors
/// When there is no such key, or it runs the server and the sender does not.
pub async fn revoke(
    state: &AppState,
    ctx: &RequestContext,
    key: &str,
    command_id: Option<&str>,
) -> Result<KeyView, ApiError> {
    let unknown = |_| ApiError::refused(&Error::Unknown);
    let id: ApiKeyId = key.parse().map_err(unknown)?;
    let mut command = ctx.command(command_id, "revokeApiKey", &id)?;
    let at = state.clock.now();
    command.side = vec![SideRow::KeyRevoked {
        key_id: id.to_string(),
        at,
    }];
    let target = Target::<ApiKey>::Existing(id.to_string());
    let revoke = Command::Revoke {
        revoker: ctx.caller,
        at,
    };
    let executed = state.log.bus.execute(target, revoke, &command).await?;
    settled(state, ctx, executed).await
}

/// A key after a command, once its effect can be read.
async fn settled(
    state: &AppState,
    ctx: &RequestContext,
    executed: Executed<ApiKey>,
) -> Result<KeyView, ApiError> {
    let row = row(&executed.after.aggregate).ok_or_else(|| ApiError::refused(&Error::Unknown))?;
    state.auth.key_changed(&row.prefix).await;
    after_command(state, ctx, executed.global_seq, API_KEYS).await?;
    let uses = last_uses(state, ctx, &[row.id]).await?;
    Ok(view(row, &uses))
}

fn row(key: &ApiKey) -> Option<ApiKeyRow> {
    Some(ApiKeyRow {
        id: key.id()?,
        workspace: key.workspace()?,
        name: key.name()?.to_owned(),
        prefix: key.prefix()?.to_owned(),
        role: key.role()?,
        operator: key.is_operator(),
        created_by: key.created_by()?.to_string(),
        created_at: as_kept(key.created_at()?),
        expires_at: key.expires_at().map(as_kept),
        revoked_at: key.revoked_at().map(as_kept),
    })
}

type Uses = HashMap<String, Timestamp>;

fn view(row: ApiKeyRow, uses: &Uses) -> KeyView {
    KeyView {
        last_used_at: uses.get(&row.id.to_string()).copied(),
        row,
    }
}

/// When keys were last shown. That is no event: it would be one a request.
async fn last_uses(
    state: &AppState,
    ctx: &RequestContext,
    ids: &[ApiKeyId],
) -> Result<Uses, ApiError> {
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    let mut scoped = state.log.database.reads().acquire(ctx.workspace).await?;
    let rows = sqlx::query(
        "select key_id, last_used_at from key_hashes
         where workspace_id = $1 and key_id = any($2) and last_used_at is not null",
    )
    .bind(ctx.workspace.to_string())
    .bind(ids)
    .fetch_all(scoped.connection())
    .await?;
    scoped.give_back();
    let each = rows.iter().map(|row| {
        let at: SqlTimestamp = row.try_get("last_used_at")?;
        Ok::<_, sqlx::Error>((row.try_get("key_id")?, at.to_jiff()))
    });
    Ok(each.collect::<Result<_, _>>()?)
}

/// The keys of the selected workspace, revoked and expired ones too, the newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    state: &AppState,
    ctx: &RequestContext,
    page: &PageRequest<ApiKeyOrder>,
) -> Result<Page<KeyView>, ApiError> {
    before_read(state, ctx, API_KEYS).await?;
    let page = api_keys::query::list(state.log.database.reads(), ctx.workspace, page).await?;
    let ids: Vec<_> = page.rows.iter().map(|row| row.id).collect();
    let uses = last_uses(state, ctx, &ids).await?;
    Ok(Page {
        rows: page.rows.into_iter().map(|row| view(row, &uses)).collect(),
        has_next: page.has_next,
        has_previous: page.has_previous,
        total_count: page.total_count,
    })
}
