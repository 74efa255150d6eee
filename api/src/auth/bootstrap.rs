//! The first workspace and the first key: without them nobody could make any.

use aws_lc_rs::rand as secure_random;
use jiff::Timestamp;
use toolroom_domain::{
    Actor, ApiKeyId, Clock, Role, UserId, WorkspaceId,
    access::Caller,
    api_key,
    workspace::{Command, Error, Plan, Workspace},
};
use toolroom_eventlog::{
    CommandContext, CommandError, EventLog, append::SideRow, command::Target, ids,
};
use uuid::Uuid;

use super::api_key::{ApiKey, HashKey};
use crate::error::ApiError;

/// The part of Toolroom that does this at a first start, as events name it.
const PART: &str = "bootstrap";

/// The part that makes keys for whoever has the database: another one, so that the log tells such a
/// key from the first.
const DIRECT: &str = "direct";

/// The name of the workspace that is there from the first start.
const DEFAULT_NAME: &str = "default";

/// The id of the first key: one for each database, so that of two nodes that start at once only one
/// makes it.
const FIRST_KEY: ApiKeyId = ApiKeyId::from_uuid(Uuid::from_u128(1));

fn context(id: WorkspaceId, part: &str) -> CommandContext {
    CommandContext::system(id, part, ids::new_uuid().simple().to_string())
}

/// Makes the workspace `default` if there is none yet.
///
/// # Errors
/// When the database does not answer.
pub async fn default_workspace(log: &EventLog, clock: &dyn Clock) -> Result<(), ApiError> {
    let id = WorkspaceId::DEFAULT;
    let create = Command::Create {
        id,
        name: DEFAULT_NAME.to_owned(),
        owner: UserId::local(),
        owner_email: None,
        time_zone: "UTC".to_owned(),
        plan: Plan::Enterprise,
        at: clock.now(),
    };
    // Loaded first: a workspace that is there costs no attempt to make it.
    let target = Target::<Workspace>::Existing(id.to_string());
    match log.bus.execute(target, create, &context(id, PART)).await {
        Ok(_) | Err(CommandError::Refused(Error::AlreadyCreated | Error::Deleted)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A key that is to be made by whoever has the database.
#[derive(Clone, Debug)]
pub struct OperatorKey<'a> {
    /// What people call it.
    pub name: &'a str,
    /// What it may do in the workspace `default`.
    pub role: Role,
    /// Whether its holder runs the server.
    pub operator: bool,
    /// From when on it opens nothing.
    pub expires_at: Option<Timestamp>,
}

/// Whether a database has had its first key, be it revoked since.
///
/// # Errors
/// When the database does not answer.
pub async fn has_first_key(log: &EventLog) -> Result<bool, ApiError> {
    let id = FIRST_KEY.to_string();
    let found = log.bus.load::<api_key::ApiKey>(WorkspaceId::DEFAULT, &id);
    match found.await {
        Ok(_) => Ok(true),
        Err(CommandError::NotFound) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Makes the first key of a database, and says whether it did: a database that ever had a first key
/// gets no other, and one whose workspace `default` was erased gets none.
///
/// # Errors
/// When the database does not answer.
pub async fn first_key(
    log: &EventLog,
    hash_key: &HashKey,
    clock: &dyn Clock,
    key: &ApiKey,
) -> Result<bool, ApiError> {
    let wanted = OperatorKey {
        name: PART,
        role: Role::Owner,
        operator: true,
        expires_at: None,
    };
    match make(log, hash_key, clock, PART, (FIRST_KEY, key), wanted).await {
        Ok(()) => Ok(true),
        Err(CommandError::Refused(api_key::Error::AlreadyCreated) | CommandError::Erased) => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes a key of the workspace `default` without asking anybody: for whoever has the database and
/// the master key, and lost all keys.
///
/// # Errors
/// When the name or the expiry is not valid, or the database does not answer.
pub async fn direct_key(
    log: &EventLog,
    hash_key: &HashKey,
    clock: &dyn Clock,
    wanted: OperatorKey<'_>,
) -> Result<(ApiKeyId, ApiKey), ApiError> {
    let id = ApiKeyId::from_uuid(ids::new_uuid());
    let key = new_key()?;
    make(log, hash_key, clock, DIRECT, (id, &key), wanted).await?;
    Ok((id, key))
}

/// Who makes keys by [`direct_key`], as the log names them.
pub fn direct_actor() -> Actor {
    Actor::system(DIRECT)
}

/// A key that nobody has yet.
///
/// # Errors
/// When the system gives no randomness.
pub fn new_key() -> Result<ApiKey, ApiError> {
    ApiKey::issue(secure_random::fill).map_err(ApiError::internal)
}

async fn make(
    log: &EventLog,
    hash_key: &HashKey,
    clock: &dyn Clock,
    part: &str,
    (id, key): (ApiKeyId, &ApiKey),
    wanted: OperatorKey<'_>,
) -> Result<(), CommandError<api_key::Error>> {
    let workspace = WorkspaceId::DEFAULT;
    let create = api_key::Command::Create {
        id,
        workspace,
        name: wanted.name.to_owned(),
        prefix: key.prefix().to_owned(),
        role: wanted.role,
        operator: wanted.operator,
        created_by: Actor::system(part),
        creator: Caller::Operator,
        expires_at: wanted.expires_at,
        at: clock.now(),
    };
    let context = CommandContext {
        side: vec![SideRow::KeyHash {
            prefix: key.prefix().to_owned(),
            key_id: id.to_string(),
            hash: hash_key.hash(key).to_vec(),
            role: wanted.role.as_str(),
            operator: wanted.operator,
            expires_at: wanted.expires_at,
        }],
        ..context(workspace, part)
    };
    let target = Target::<api_key::ApiKey>::Existing(id.to_string());
    log.bus.execute(target, create, &context).await?;
    Ok(())
}
