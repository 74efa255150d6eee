//! Workspaces: made, changed, ended, listed.

use toolroom_domain::{
    ErrorCode, UserId, WorkspaceId,
    access::Caller,
    workspace::{Command, Error, Plan, Workspace, is_email},
};
use toolroom_eventlog::{CommandContext, Executed, command::Target};
use toolroom_projections::{
    Page, PageRequest,
    workspaces::{self, Whose, WorkspaceKey, WorkspaceRow},
};

use super::{
    sender::{self, selected},
    settle::{MEMBERS, WORKSPACES, after_command, as_kept, before_read},
};
use crate::{
    error::ApiError,
    state::{AppState, RequestContext},
};

/// Workspaces of which one person may be a member and still make another: what is free to make must
/// not be without end.
const WORKSPACES_EACH: i64 = 100;

/// In which times are read that name no other zone, until somebody says.
const TIME_ZONE: &str = "UTC";

/// Makes a workspace, whose owner is whoever asks. Repeated under its command id, whichever
/// workspace is selected then, it makes no other.
///
/// # Errors
/// When the name is not valid, or its sender has as many workspaces as one may have.
pub async fn create(
    state: &AppState,
    ctx: &RequestContext,
    name: String,
    command_id: Option<&str>,
) -> Result<WorkspaceRow, ApiError> {
    let mut command = ctx.command(command_id, "createWorkspace", &name)?;
    let id = WorkspaceId::from_uuid(sender::id_of_made(&command, "workspace"));
    command.workspace = id;
    if let Some(first) = state.log.bus.recall::<Workspace>(&command).await? {
        return settled(state, ctx, first, &[WORKSPACES, MEMBERS]).await;
    }
    let (owner, plan) = match (sender::person(ctx), ctx.caller) {
        // Whoever runs the server sets its bounds, and is not held to those of others.
        (Some(person), Caller::Operator) => (person, Plan::Enterprise),
        // A key that runs the server is nobody's own: it hands the workspace on by an invitation.
        (None, Caller::Operator) => (UserId::local(), Plan::Enterprise),
        (Some(person), _) => {
            must_have_room(state, &person).await?;
            (person, Plan::Free)
        }
        (None, _) => {
            return Err(ApiError::new(
                ErrorCode::Forbidden,
                "a workspace is made by a person, who becomes its owner: send a token, not an API key",
            ));
        }
    };
    let create = Command::Create {
        id,
        name,
        owner,
        // What an issuer takes for an address need not be one.
        owner_email: ctx.email.clone().filter(|email| is_email(email)),
        time_zone: TIME_ZONE.to_owned(),
        plan,
        at: state.clock.now(),
    };
    act(state, ctx, id, create, &command, &[WORKSPACES, MEMBERS]).await
}

async fn must_have_room(state: &AppState, person: &UserId) -> Result<(), ApiError> {
    let whose = Whose::User(person.clone());
    let page = PageRequest {
        first: 0,
        after: None,
        with_total: true,
    };
    let page =
        workspaces::query::across(state.log.database.authenticator_pool(), &whose, &page).await?;
    if page.total_count.unwrap_or_default() < WORKSPACES_EACH {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::Conflict,
        format!(
            "you are a member of {WORKSPACES_EACH} workspaces, as many as one may have and make another; leave or delete some first"
        ),
    ))
}

/// Changes what is named of the selected workspace, and leaves the rest.
///
/// # Errors
/// When it is another workspace, or a value is not valid.
pub async fn update(
    state: &AppState,
    ctx: &RequestContext,
    workspace: &str,
    (name, time_zone): (Option<String>, Option<String>),
    command_id: Option<&str>,
) -> Result<WorkspaceRow, ApiError> {
    let id = selected(ctx, workspace)?;
    let command = ctx.command(command_id, "updateWorkspace", &(id, &name, &time_zone))?;
    let update = Command::Update {
        sender: sender::of_workspace(ctx)?,
        name,
        time_zone,
        at: state.clock.now(),
    };
    act(state, ctx, id, update, &command, &[WORKSPACES]).await
}

/// Ends the selected workspace.
///
/// # Errors
/// When it is another workspace, or the one that the server cannot be without.
pub async fn delete(
    state: &AppState,
    ctx: &RequestContext,
    workspace: &str,
    command_id: Option<&str>,
) -> Result<WorkspaceRow, ApiError> {
    let id = selected(ctx, workspace)?;
    if id == WorkspaceId::DEFAULT {
        return Err(ApiError::new(
            ErrorCode::Conflict,
            "the workspace that the server began with cannot be deleted; delete what is in it",
        ));
    }
    let command = ctx.command(command_id, "deleteWorkspace", &id)?;
    let delete = Command::Delete {
        sender: sender::of_workspace(ctx)?,
        at: state.clock.now(),
    };
    act(state, ctx, id, delete, &command, &[WORKSPACES]).await
}

/// Grants the selected workspace more, or less.
///
/// # Errors
/// When it is another workspace, or the sender does not run the server.
pub async fn set_plan(
    state: &AppState,
    ctx: &RequestContext,
    workspace: &str,
    plan: Plan,
    command_id: Option<&str>,
) -> Result<WorkspaceRow, ApiError> {
    let id = selected(ctx, workspace)?;
    let command = ctx.command(command_id, "setPlan", &(id, plan))?;
    let change = Command::ChangePlan {
        sender: sender::of_workspace(ctx)?,
        plan,
        at: state.clock.now(),
    };
    act(state, ctx, id, change, &command, &[WORKSPACES]).await
}

async fn act(
    state: &AppState,
    ctx: &RequestContext,
    id: WorkspaceId,
    command: Command,
    sender: &CommandContext,
    followers: &[&str],
) -> Result<WorkspaceRow, ApiError> {
    let target = Target::Existing(id.to_string());
    let executed = state.log.bus.execute(target, command, sender).await?;
    settled(state, ctx, executed, followers).await
}

/// The workspace after a command, once its effect can be read.
async fn settled(
    state: &AppState,
    ctx: &RequestContext,
    executed: Executed<Workspace>,
    followers: &[&str],
) -> Result<WorkspaceRow, ApiError> {
    let row = row(&executed.after.aggregate)?;
    state.auth.workspace_changed(row.id).await;
    for follower in followers {
        after_command(state, ctx, executed.global_seq, follower).await?;
    }
    Ok(row)
}

fn row(workspace: &Workspace) -> Result<WorkspaceRow, ApiError> {
    match (workspace.id(), workspace.created_at()) {
        (Some(id), Some(created_at)) => Ok(WorkspaceRow {
            id,
            name: workspace.name().to_owned(),
            plan: workspace.plan(),
            time_zone: workspace.time_zone().to_owned(),
            is_deleted: workspace.is_deleted(),
            created_at: as_kept(created_at),
        }),
        _ => Err(ApiError::refused(&Error::Unknown)),
    }
}

/// The selected workspace, if that is the one that is named.
///
/// # Errors
/// When it is another.
pub async fn get(
    state: &AppState,
    ctx: &RequestContext,
    workspace: &str,
) -> Result<WorkspaceRow, ApiError> {
    selected(ctx, workspace)?;
    current(state, ctx).await
}

/// The selected workspace.
///
/// # Errors
/// When the sender has none.
pub async fn current(state: &AppState, ctx: &RequestContext) -> Result<WorkspaceRow, ApiError> {
    before_read(state, ctx, WORKSPACES).await?;
    let reads = state.log.database.reads();
    if let Some(row) = workspaces::query::by_id(reads, ctx.workspace).await? {
        return Ok(row);
    }
    // A read model that holds it back does not show it.
    let id = ctx.workspace.to_string();
    let loaded = state.log.bus.load::<Workspace>(ctx.workspace, &id).await?;
    row(&loaded.aggregate)
}

/// The workspaces that the sender may select, the newest first: a person's own, a key's one, all of
/// them for whoever runs the server.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    state: &AppState,
    ctx: &RequestContext,
    page: &PageRequest<WorkspaceKey>,
) -> Result<Page<WorkspaceRow>, ApiError> {
    before_read(state, ctx, WORKSPACES).await?;
    before_read(state, ctx, MEMBERS).await?;
    let whose = match (ctx.caller, sender::person(ctx)) {
        (Caller::Operator, _) => Whose::Everybody,
        (_, Some(person)) => Whose::User(person),
        (_, None) => {
            let row = current(state, ctx).await?;
            return Ok(only(row, page));
        }
    };
    Ok(workspaces::query::across(state.log.database.authenticator_pool(), &whose, page).await?)
}

/// The list of one workspace.
fn only(row: WorkspaceRow, page: &PageRequest<WorkspaceKey>) -> Page<WorkspaceRow> {
    let key = row.key();
    let follows = page
        .after
        .is_none_or(|after| (key.created_at, key.id) < (after.created_at, after.id));
    Page {
        rows: Vec::from_iter(follows.then_some(row)),
        has_next: false,
        has_previous: page.after.is_some(),
        total_count: page.with_total.then_some(1),
    }
}
