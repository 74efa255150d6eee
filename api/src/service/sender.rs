//! Who sends a command, in the words of the people's aggregates.

use toolroom_domain::{
    ApiKeyId, ErrorCode, UserId, WorkspaceId,
    access::Caller,
    workspace::{Error, Sender},
};
use toolroom_eventlog::CommandContext;
use uuid::Uuid;

use crate::{
    auth::{Credential, Holder},
    error::ApiError,
    state::RequestContext,
};

/// The person who asks; none if it is a program.
pub(crate) fn person(ctx: &RequestContext) -> Option<UserId> {
    match &ctx.credential {
        Credential::Local => Some(UserId::local()),
        Credential::Token { user, .. }
        | Credential::Session {
            holder: Holder::User(user),
            ..
        } => Some(user.clone()),
        Credential::Key { .. } | Credential::Session { .. } | Credential::None => None,
    }
}

/// The key by which a program, or a session made from one, asks; none if it is a person.
pub(crate) fn key(ctx: &RequestContext) -> Option<ApiKeyId> {
    match &ctx.credential {
        Credential::Key { id, .. }
        | Credential::Session {
            holder: Holder::Key { id, .. },
            ..
        } => Some(*id),
        Credential::Local
        | Credential::None
        | Credential::Token { .. }
        | Credential::Session { .. } => None,
    }
}

/// Who asks something of a workspace.
///
/// # Errors
/// When nobody is known.
pub(super) fn of_workspace(ctx: &RequestContext) -> Result<Sender, ApiError> {
    match (ctx.caller, person(ctx)) {
        (Caller::Operator, _) => Ok(Sender::Operator),
        (Caller::Key(role), _) => Ok(Sender::Key(role)),
        (Caller::User(_), Some(user)) => Ok(Sender::User(user)),
        (Caller::User(_), None) | (Caller::Anonymous, _) => Err(ApiError::new(
            ErrorCode::Unauthenticated,
            "the request says nothing of its sender",
        )),
    }
}

/// The workspace that an argument names, which must be the selected one: any other is as if there
/// were none.
///
/// # Errors
/// When it is another.
pub(super) fn selected(ctx: &RequestContext, workspace: &str) -> Result<WorkspaceId, ApiError> {
    let named = workspace.parse().ok();
    named
        .filter(|id| *id == ctx.workspace && *id != WorkspaceId::NONE)
        .ok_or_else(|| ApiError::refused(&Error::Unknown))
}

/// The id of what a command makes, to be the same whenever its sender repeats it: a command that is
/// recorded by what it makes could else not be found again. A new one where none was named.
pub(super) fn id_of_made(
    command: &CommandContext,
    made: &(impl serde::Serialize + ?Sized),
) -> Uuid {
    let Some(named) = &command.named else {
        return toolroom_eventlog::ids::new_uuid();
    };
    let parts = serde_json::json!([made, command.actor, named.id]);
    Uuid::new_v5(&Uuid::NAMESPACE_OID, parts.to_string().as_bytes())
}
