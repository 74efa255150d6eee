//! Secrets: created, replaced, deleted, listed. Values go in and never come out.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use toolroom_domain::{
    SecretId, limits,
    secret::{Command, Error, Secret, check_value},
};
use toolroom_eventlog::{
    CommandError, Executed, Loaded, append::SideRow, command::Target, vault::SECRET,
};
use toolroom_projections::{
    Page, PageRequest,
    audit::AuditRow,
    secrets::{self, SecretRow},
};
use zeroize::Zeroizing;

use super::settle::{SECRETS, after_command, as_kept, before_read};
use crate::{
    error::ApiError,
    state::{AppState, RequestContext},
};

/// Tries of a value whose secret others set at the same time; the last to come counts.
const OVERTAKEN_TRIES: usize = 8;

/// A name and a value for it. Never printed.
pub struct NewValue {
    /// The secret's name.
    pub name: String,
    /// The value; erased from memory once it is sealed.
    pub value: Zeroizing<String>,
}

impl NewValue {
    /// By what a repetition of the request is known: not by the value itself, which stays in as few
    /// places as can be. Of this, too, only an HMAC is kept.
    fn request(&self) -> Value {
        let digest = digest(&SHA256, self.value.as_bytes());
        json!({ "name": self.name, "value": digest.as_ref() })
    }

    fn check(&self) -> Result<(), ApiError> {
        let violation = check_value(&self.value).err();
        violation.map_or(Ok(()), |violation| {
            Err(ApiError::refused(&Error::Invalid(vec![violation])))
        })
    }
}

/// Creates a secret of the selected workspace.
///
/// # Errors
/// When name or value are not valid, there is a secret of this name, or the workspace has as many as
/// one may have.
pub async fn create(
    state: &AppState,
    ctx: &RequestContext,
    new: NewValue,
    command_id: Option<&str>,
) -> Result<SecretRow, ApiError> {
    set(state, ctx, "createSecret", new, command_id, Setting::Create).await
}

/// Gives a secret of the selected workspace another value. The one before is erased.
///
/// # Errors
/// When there is no such secret, or the value is not valid.
pub async fn replace(
    state: &AppState,
    ctx: &RequestContext,
    new: NewValue,
    command_id: Option<&str>,
) -> Result<SecretRow, ApiError> {
    set(
        state,
        ctx,
        "replaceSecret",
        new,
        command_id,
        Setting::Replace,
    )
    .await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Setting {
    Create,
    Replace,
}

async fn set(
    state: &AppState,
    ctx: &RequestContext,
    operation: &str,
    new: NewValue,
    command_id: Option<&str>,
    setting: Setting,
) -> Result<SecretRow, ApiError> {
    new.check()?;
    let mut context = ctx.command(command_id, operation, &new.request())?;
    if let Some(first) = state.log.bus.recall::<Secret>(&context).await? {
        return settled(state, ctx, first).await;
    }
    if setting == Setting::Create {
        let reads = state.log.database.reads();
        if secrets::query::number(reads, ctx.workspace).await? >= limits::SECRETS {
            return Err(ApiError::refused(&Error::TooMany));
        }
    }
    let id = SecretId::of(ctx.workspace, &new.name).to_string();
    for _ in 0..OVERTAKEN_TRIES {
        let held = held(state, ctx, &id).await?;
        let (version, at) = (held.aggregate.next_version(), state.clock.now());
        let command = match setting {
            Setting::Replace => Command::Replace { version, at },
            Setting::Create => Command::Create {
                workspace: ctx.workspace,
                name: new.name.clone(),
                version,
                at,
            },
        };
        let value = new.value.as_bytes();
        let sealed = state
            .log
            .vault
            .seal_row(ctx.workspace, SECRET, &new.name, version, value)?;
        context.side = vec![sealed];
        let target = Target::Held(id.clone(), held);
        match state.log.bus.execute(target, command, &context).await {
            Err(CommandError::Refused(Error::Overtaken)) => {}
            outcome => return settled(state, ctx, outcome?).await,
        }
    }
    Err(ApiError::refused(&Error::Overtaken))
}

/// The secret as it is now: its next version is what a value is sealed for.
async fn held(
    state: &AppState,
    ctx: &RequestContext,
    id: &str,
) -> Result<Loaded<Secret>, ApiError> {
    match state.log.bus.load::<Secret>(ctx.workspace, id).await {
        Err(CommandError::NotFound) => Ok(Loaded {
            aggregate: Secret::default(),
            sequence: 0,
        }),
        loaded => Ok(loaded?),
    }
}

/// Deletes a secret of the selected workspace: its value is erased for good. Tells it as it was.
///
/// # Errors
/// When there never was such a secret.
pub async fn delete(
    state: &AppState,
    ctx: &RequestContext,
    name: &str,
    command_id: Option<&str>,
) -> Result<SecretRow, ApiError> {
    let mut context = ctx.command(command_id, "deleteSecret", &name)?;
    context.side = vec![SideRow::VaultErase {
        kind: SECRET,
        name: name.to_owned(),
    }];
    let target = Target::<Secret>::Existing(SecretId::of(ctx.workspace, name).to_string());
    let at = state.clock.now();
    let executed = state
        .log
        .bus
        .execute(target, Command::Delete { at }, &context)
        .await?;
    settled(state, ctx, executed).await
}

/// A secret after a command, once its effect can be read and nobody here uses an older value.
async fn settled(
    state: &AppState,
    ctx: &RequestContext,
    executed: Executed<Secret>,
) -> Result<SecretRow, ApiError> {
    state.log.vault.forget_rows_of(ctx.workspace);
    let secret = executed.after.aggregate;
    let (Some(name), Some(created_at), Some(updated_at)) =
        (secret.name(), secret.created_at(), secret.updated_at())
    else {
        return Err(ApiError::refused(&Error::Unknown));
    };
    after_command(state, ctx, executed.global_seq, SECRETS).await?;
    let reads = state.log.database.reads();
    Ok(SecretRow {
        name: name.to_owned(),
        version: secret.version(),
        created_at: as_kept(created_at),
        updated_at: as_kept(updated_at),
        last_used_at: secrets::query::last_use(reads, ctx.workspace, name).await?,
    })
}

/// The secrets of the selected workspace, by name.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    state: &AppState,
    ctx: &RequestContext,
    page: &PageRequest<String>,
) -> Result<Page<SecretRow>, ApiError> {
    before_read(state, ctx, SECRETS).await?;
    Ok(secrets::query::list(state.log.database.reads(), ctx.workspace, page).await?)
}

/// One secret of the selected workspace.
///
/// # Errors
/// When there is none of this name.
pub async fn get(
    state: &AppState,
    ctx: &RequestContext,
    name: &str,
) -> Result<SecretRow, ApiError> {
    before_read(state, ctx, SECRETS).await?;
    let row = secrets::query::find(state.log.database.reads(), ctx.workspace, name).await?;
    row.ok_or_else(|| ApiError::refused(&Error::Unknown))
}

/// The events that tell which jobs were given a secret, the newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn usages(
    state: &AppState,
    ctx: &RequestContext,
    name: &str,
    page: &PageRequest<i64>,
) -> Result<Page<AuditRow>, ApiError> {
    before_read(state, ctx, SECRETS).await?;
    let reads = state.log.database.reads();
    Ok(secrets::query::usages(reads, ctx.workspace, name, page).await?)
}
