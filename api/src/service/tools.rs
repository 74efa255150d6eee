//! Tools: registered, changed, found.

use serde::Serialize;
use toolroom_domain::{
    ToolId, Violation,
    tool::{self, Command, Details, DetailsPatch, PolicyOverrides, Tool, ToolConfig},
};
use toolroom_eventlog::{
    Aggregate as _, CommandContext, CommandError, Executed, append::SideRow, command::Target, ids,
};
use toolroom_projections::{
    Page, PageRequest,
    catalog::{self, ListTools, ToolRow, VersionRow},
};

use super::{
    directory::Entry,
    past,
    settle::{CATALOG, after_command, before_read},
};
use crate::{
    error::ApiError,
    state::{AppState, RequestContext},
};

pub(crate) mod actions;
mod behaviour;
mod connection;
mod credentials;
mod patch;
mod policy;

pub use behaviour::{Behaviour, config};
use behaviour::{Built, Making};
pub use connection::{ConnectionTest, test_connection};
pub use credentials::{ConnectorSettings, Credentials};
pub use patch::BehaviourPatch;
pub use policy::PolicyPatch;

/// Characters of a search text: more than any name, less than what is slow to look for.
pub const SEARCH_CHARS: usize = 500;

/// How often a change that names no version is made again, on a version that came between.
const REVISE_TRIES: u32 = 5;

/// A tool to register.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NewTool {
    /// How it presents itself.
    #[serde(flatten)]
    pub details: Details,
    /// Whether a person must agree to each call that a model asks for.
    pub requires_approval: bool,
    /// Where it departs from the default policy.
    pub policy: PolicyOverrides,
    /// What it does.
    pub behaviour: Behaviour,
}

/// A change of a tool; what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ToolChange {
    /// The version that the sender looked at.
    pub expected_version: Option<u32>,
    /// How it shall present itself.
    #[serde(flatten)]
    pub details: DetailsPatch,
    /// Whether it may run.
    pub is_active: Option<bool>,
    /// Whether a person must agree to each call that a model asks for.
    pub requires_approval: Option<bool>,
    /// How its runs shall be bounded and repeated.
    pub policy: Option<PolicyPatch>,
    /// What it shall do.
    pub behaviour: Option<Behaviour>,
    /// Parts of what it does that shall change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<BehaviourPatch>,
}

/// Registers a tool.
///
/// # Errors
/// When something of it is wrong, paths being relative to the input; when the name is taken.
pub async fn register(
    state: &AppState,
    ctx: &RequestContext,
    new: NewTool,
    command_id: Option<&str>,
) -> Result<ToolRow, ApiError> {
    let mut command = ctx.command(command_id, "registerTool", &new)?;
    if let Some(first) = state.log.bus.recall::<Tool>(&command).await? {
        return settled(state, ctx, first).await;
    }
    let id = ToolId::from_uuid(ids::new_uuid());
    let making = Making {
        checker: &*state.checker,
        tool: id,
        version: 1,
        kept: None,
    };
    let mut found = new.details.check().err().unwrap_or_default();
    let built = new
        .behaviour
        .build(&making, new.policy, new.requires_approval);
    let built = match built.and_then(|built| checked(state, built)) {
        Ok(built) if found.is_empty() => built,
        Ok(_) => return Err(ApiError::invalid(found)),
        Err(more) => {
            found.extend(more);
            return Err(ApiError::invalid(found));
        }
    };
    command.side = beside(state, ctx, &built)?;
    let register = Command::Register {
        id,
        workspace: ctx.workspace,
        number: next_number(state, ctx).await?,
        details: new.details,
        definition: Box::new(built.definition),
        at: state.clock.now(),
    };
    let executed = state
        .log
        .bus
        .execute(Target::New(id.to_string()), register, &command)
        .await?;
    settled(state, ctx, executed).await
}

fn checked(state: &AppState, built: Built) -> Result<Built, Vec<Violation>> {
    match state.checker.check(&built.definition) {
        Ok(()) => Ok(built),
        Err(found) => Err(found.into_iter().map(|v| built.as_sent(v)).collect()),
    }
}

/// What is written beside the event that tells of a definition.
fn beside(state: &AppState, ctx: &RequestContext, built: &Built) -> Result<Vec<SideRow>, ApiError> {
    let (ToolConfig::Connector(config), Some(secret)) =
        (&built.definition.config, &built.credentials)
    else {
        return Ok(Vec::new());
    };
    let row = credentials::sealed(state, ctx.workspace, &config.credentials, secret)?;
    Ok(vec![row])
}

/// Draws the next integer id. It commits at once: a number that is not used in the end is lost,
/// and none is used twice.
async fn next_number(state: &AppState, ctx: &RequestContext) -> Result<i32, ApiError> {
    // A count of an erased workspace would come back that way.
    state.must_not_be_erased(ctx.workspace).await?;
    let number = sqlx::query_scalar(
        "insert into numbers (workspace_id, kind, last) values ($1, 'tool', 1)
         on conflict (workspace_id, kind) do update set last = numbers.last + 1
         returning last",
    )
    .bind(ctx.workspace.to_string())
    .fetch_one(state.log.database.committer_pool())
    .await?;
    Ok(number)
}

/// Changes a tool; a change of what it does makes a version.
///
/// # Errors
/// When something of it is wrong, paths being relative to the input; when the tool is at another
/// version than expected, was deleted, or its new name is taken.
pub async fn update(
    state: &AppState,
    ctx: &RequestContext,
    tool: &str,
    change: ToolChange,
    command_id: Option<&str>,
) -> Result<ToolRow, ApiError> {
    let command = ctx.command(command_id, "updateTool", &(tool, &change))?;
    if let Some(first) = state.log.bus.recall::<Tool>(&command).await? {
        return settled(state, ctx, first).await;
    }
    let id = state.directory.find(ctx.workspace, tool).await?.id;
    let mut tries = 0;
    loop {
        tries += 1;
        match revise(state, ctx, id, &change, &command).await {
            // What the change does not name was taken from a version that is no longer the newest.
            Err(Unrevised::Command(CommandError::Refused(tool::Error::VersionConflict {
                ..
            }))) if change.expected_version.is_none() && tries < REVISE_TRIES => {}
            Ok(executed) => {
                state.log.vault.forget_rows_of(ctx.workspace);
                return settled(state, ctx, executed).await;
            }
            Err(Unrevised::Command(error)) => return Err(error.into()),
            Err(Unrevised::Other(error)) => return Err(error),
        }
    }
}

/// Why a revision was not made.
enum Unrevised {
    Command(CommandError<tool::Error>),
    Other(ApiError),
}

impl From<CommandError<tool::Error>> for Unrevised {
    fn from(error: CommandError<tool::Error>) -> Self {
        Self::Command(error)
    }
}

async fn revise(
    state: &AppState,
    ctx: &RequestContext,
    id: ToolId,
    change: &ToolChange,
    command: &CommandContext,
) -> Result<Executed<Tool>, Unrevised> {
    let loaded = state
        .log
        .bus
        .load::<Tool>(ctx.workspace, &id.to_string())
        .await?;
    let invalid = |found| CommandError::Refused(tool::Error::Invalid(found));
    let kept = match &change.behaviour {
        Some(Behaviour::Connector(settings)) => {
            let kept = credentials::kept(state, ctx.workspace, id, &settings.kind).await;
            kept.map_err(Unrevised::Other)?
        }
        _ => None,
    };
    let making = Making {
        checker: &*state.checker,
        tool: id,
        version: loaded.aggregate.version().saturating_add(1),
        kept,
    };
    let built = behaviour::revised(&making, &loaded.aggregate, change).map_err(invalid)?;
    let built = built.map(|built| checked(state, built).map_err(invalid));
    let mut command = command.clone();
    let definition = match built.transpose()? {
        None => None,
        Some(built) => {
            command.side = beside(state, ctx, &built).map_err(Unrevised::Other)?;
            Some(Box::new(built.definition))
        }
    };
    let expected_version = change
        .expected_version
        .or_else(|| definition.as_ref().map(|_| loaded.aggregate.version()));
    let revise = Command::Revise {
        expected_version,
        details: change.details.clone(),
        definition,
        active: change.is_active,
        at: state.clock.now(),
    };
    let target = Target::Held(id.to_string(), loaded);
    Ok(state.log.bus.execute(target, revise, &command).await?)
}

/// Lets a tool run, or keeps it from running.
///
/// # Errors
/// When there is no such tool, or it was deleted.
pub async fn set_active(
    state: &AppState,
    ctx: &RequestContext,
    tool: &str,
    active: bool,
    command_id: Option<&str>,
) -> Result<ToolRow, ApiError> {
    let sender = ctx.command(command_id, "setToolActive", &(tool, active))?;
    let at = state.clock.now();
    let command = if active {
        Command::Activate { at }
    } else {
        Command::Deactivate { at }
    };
    act(state, ctx, tool, command, &sender).await
}

/// Takes a tool out of the catalogue and frees its name.
///
/// # Errors
/// When there is no such tool.
pub async fn delete(
    state: &AppState,
    ctx: &RequestContext,
    tool: &str,
    command_id: Option<&str>,
) -> Result<ToolRow, ApiError> {
    let sender = ctx.command(command_id, "deleteTool", &tool)?;
    let at = state.clock.now();
    act(state, ctx, tool, Command::Delete { at }, &sender).await
}

/// Makes what an earlier version did the newest version, and brings a deleted tool back.
///
/// # Errors
/// When there is no such tool or version, or another tool has taken the name.
pub async fn restore_version(
    state: &AppState,
    ctx: &RequestContext,
    tool: &str,
    version: u32,
    command_id: Option<&str>,
) -> Result<ToolRow, ApiError> {
    let sender = ctx.command(command_id, "restoreToolVersion", &(tool, version))?;
    let at = state.clock.now();
    let command = Command::RestoreVersion { version, at };
    act(state, ctx, tool, command, &sender).await
}

async fn act(
    state: &AppState,
    ctx: &RequestContext,
    tool: &str,
    command: Command,
    sender: &CommandContext,
) -> Result<ToolRow, ApiError> {
    // Before the look-up: a name that a first sending freed is found no more.
    if let Some(first) = state.log.bus.recall::<Tool>(sender).await? {
        return settled(state, ctx, first).await;
    }
    let id = state.directory.find(ctx.workspace, tool).await?.id;
    let target = Target::Existing(id.to_string());
    let executed = state.log.bus.execute(target, command, sender).await?;
    settled(state, ctx, executed).await
}

/// The tool after a command, once its effect can be read.
async fn settled(
    state: &AppState,
    ctx: &RequestContext,
    executed: Executed<Tool>,
) -> Result<ToolRow, ApiError> {
    let id: ToolId = executed.aggregate_id.parse().map_err(ApiError::internal)?;
    state.directory.forget(id);
    let there = after_command(state, ctx, executed.global_seq, CATALOG).await?;
    let row = catalog::query::by_id(state.log.database.reads(), ctx.workspace, id).await?;
    // A read model that holds the tool back shows it as it was before.
    if let Some(row) = row.filter(|row| there.is_none_or(|position| row.last_event >= position)) {
        return Ok(row);
    }
    past::tool_at(state, ctx.workspace, id, i64::MAX)
        .await?
        .ok_or_else(|| {
            ApiError::not_yet(
                "the command was carried out, but its effect cannot be read yet; read it again in a moment",
            )
        })
}

/// The tool that a text means: by id, by number, or by name, in that order. Cached and never stale.
///
/// # Errors
/// When there is none, naming the nearest names.
pub async fn resolve(
    state: &AppState,
    ctx: &RequestContext,
    tool: &str,
) -> Result<std::sync::Arc<Entry>, ApiError> {
    state.directory.find(ctx.workspace, tool).await
}

/// The tool that a text means, whole. Deleted ones are found by id and number.
///
/// # Errors
/// When there is none, naming the nearest names.
pub async fn get(state: &AppState, ctx: &RequestContext, tool: &str) -> Result<ToolRow, ApiError> {
    before_read(state, ctx, CATALOG).await?;
    let entry = state.directory.find(ctx.workspace, tool).await?;
    by_id(state, ctx, entry.id)
        .await?
        .ok_or_else(|| ApiError::refused(&tool::Error::Unknown))
}

/// The tool that holds a name now.
///
/// # Errors
/// When there is none, naming the nearest names.
pub async fn get_by_name(
    state: &AppState,
    ctx: &RequestContext,
    name: &str,
) -> Result<ToolRow, ApiError> {
    before_read(state, ctx, CATALOG).await?;
    let entry = state.directory.by_name(ctx.workspace, name).await?;
    by_id(state, ctx, entry.id)
        .await?
        .ok_or_else(|| ApiError::refused(&tool::Error::Unknown))
}

/// A tool by its id, from the log itself where the catalogue does not show its newest version.
async fn by_id(
    state: &AppState,
    ctx: &RequestContext,
    id: ToolId,
) -> Result<Option<ToolRow>, ApiError> {
    let reads = state.log.database.reads();
    let text = id.to_string();
    let (row, is_held) = tokio::try_join!(
        catalog::query::by_id(reads, ctx.workspace, id),
        state
            .projections
            .holds_back(ctx.workspace, CATALOG, Tool::TYPE, &text),
    )?;
    if row.is_some() && !is_held {
        return Ok(row);
    }
    past::tool_at(state, ctx.workspace, id, i64::MAX).await
}

/// A tool as it stood at a time, found by its id, its number or the name that it had then.
///
/// # Errors
/// When the database does not answer.
pub async fn get_at(
    state: &AppState,
    ctx: &RequestContext,
    tool: &str,
    time: jiff::Timestamp,
) -> Result<Option<ToolRow>, ApiError> {
    let position = state.log.feed.position_at(time).await?;
    if let Ok(id) = tool.parse() {
        return past::tool_at(state, ctx.workspace, id, position).await;
    }
    let number: Option<i32> = tool.parse().ok();
    let tools = past::tools_at(state, ctx.workspace, position).await?;
    Ok(tools.into_iter().find(|row| match number {
        Some(number) => row.number == number,
        None => !row.is_deleted && row.name == tool,
    }))
}

/// The tools of the workspace by number, now or as they stood at a time.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    state: &AppState,
    ctx: &RequestContext,
    list: ListTools,
    as_of: Option<jiff::Timestamp>,
) -> Result<Page<ToolRow>, ApiError> {
    let Some(time) = as_of else {
        before_read(state, ctx, CATALOG).await?;
        let reads = state.log.database.reads();
        return Ok(catalog::query::list(reads, ctx.workspace, &list).await?);
    };
    let position = state.log.feed.position_at(time).await?;
    let mut rows = past::tools_at(state, ctx.workspace, position).await?;
    rows.retain(|row| past::passes(row, &list.filter));
    let total_count = i64::try_from(rows.len()).ok();
    if let Some(after) = list.page.after {
        rows.retain(|row| row.number > after);
    }
    let first = usize::try_from(list.page.first).unwrap_or(0);
    let has_next = rows.len() > first;
    rows.truncate(first);
    Ok(Page {
        rows,
        has_next,
        has_previous: list.page.after.is_some(),
        total_count,
    })
}

/// The versions of a tool, the oldest first.
///
/// # Errors
/// When the database does not answer.
pub async fn versions(
    state: &AppState,
    ctx: &RequestContext,
    tool: ToolId,
    page: &PageRequest<u32>,
) -> Result<Page<VersionRow>, ApiError> {
    let reads = state.log.database.reads();
    Ok(catalog::query::versions(reads, ctx.workspace, tool, page).await?)
}

/// One version of a tool; none if it never had it.
///
/// # Errors
/// When the database does not answer.
pub async fn version(
    state: &AppState,
    ctx: &RequestContext,
    tool: ToolId,
    version: u32,
) -> Result<Option<VersionRow>, ApiError> {
    let reads = state.log.database.reads();
    Ok(catalog::query::version(reads, ctx.workspace, tool, version).await?)
}
