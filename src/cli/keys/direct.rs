//! `toolroom keys create --direct`: a key made on the database itself, by whoever has it.

use std::sync::Arc;

use anyhow::bail;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use toolroom_api::auth::{
    AuthOptions, Authenticator,
    bootstrap::{self, OperatorKey},
};
use toolroom_domain::{Clock, Role, WorkspaceId};
use toolroom_eventlog::{Database, EventLog, SystemClock, log::Options};

use super::{ApiKey, Create, CreatedApiKey};
use crate::{
    config::Config,
    database::{Access, Missing},
    master_key,
};

/// Makes a key of the workspace `default`, beside a running server or without one.
///
/// # Errors
/// When the database or the master key cannot be had, or that workspace was deleted.
pub(super) async fn make(
    config: &Config,
    create: &Create,
    expires_at: Option<Timestamp>,
) -> anyhow::Result<CreatedApiKey> {
    let access = Access::open(config, Missing::Refuse).await?;
    let made = on(config, &access, create, expires_at).await;
    access.close().await?;
    made
}

async fn on(
    config: &Config,
    access: &Access,
    create: &Create,
    expires_at: Option<Timestamp>,
) -> anyhow::Result<CreatedApiKey> {
    let owner = access.pool().await?;
    toolroom_eventlog::migrate(&owner).await?;
    let master = master_key::find_or_make(config, &owner).await?;
    owner.close().await;
    let shutdown = CancellationToken::new();
    let alone = Options {
        sequence: false,
        other_nodes: false,
    };
    let database = Database::connect_lazy(access.options().clone());
    let (log, tasks) = EventLog::start(database, master, alone, &shutdown).await?;
    let made = append(&log, create, expires_at).await;
    shutdown.cancel();
    tasks.finish().await;
    log.database.close().await;
    made
}

async fn append(
    log: &EventLog,
    create: &Create,
    expires_at: Option<Timestamp>,
) -> anyhow::Result<CreatedApiKey> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let auth = Authenticator::init(log, AuthOptions::default(), Arc::clone(&clock)).await?;
    bootstrap::default_workspace(log, clock.as_ref()).await?;
    let workspace = WorkspaceId::DEFAULT;
    // With it gone, no key of it opens anything.
    if auth.workspace(workspace).await?.is_none() {
        bail!(
            "the workspace `default` ({workspace}) was deleted, and keys are made directly for it alone"
        );
    }
    let wanted = OperatorKey {
        name: &create.name,
        role: create.role,
        operator: create.operator,
        expires_at,
    };
    let created_at = clock.now();
    let (id, key) = bootstrap::direct_key(log, auth.hash_key(), clock.as_ref(), wanted).await?;
    Ok(CreatedApiKey {
        secret: Some(key.reveal().to_owned()),
        api_key: ApiKey {
            id,
            name: create.name.clone(),
            prefix: key.prefix().to_owned(),
            role: Role::as_str(create.role).to_owned(),
            operator: create.operator,
            created_by: bootstrap::direct_actor().to_string(),
            created_at,
            expires_at,
            last_used_at: None,
            revoked_at: None,
        },
    })
}
