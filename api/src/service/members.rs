//! Members: invited, joined, changed, removed, listed.

use aws_lc_rs::{digest, rand as secure_random};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::SignedDuration;
use sqlx::Row as _;
use toolroom_domain::{
    ErrorCode, InvitationId, Role, UserId, WorkspaceId,
    port::Mail,
    workspace::{Command, Error, MemberRef, TokenHash, Workspace, is_email},
};
use toolroom_eventlog::{CommandContext, Executed, append::SideRow, command::Target};
use toolroom_projections::{
    Page, PageRequest,
    members::{self, MemberKey, MemberRow},
};

use super::{
    sender::{self, selected},
    settle::{MEMBERS, after_command, before_read},
};
use crate::{
    error::ApiError,
    state::{AppState, RequestContext},
};

/// For how long an invitation is open: a week, so that a holiday does not end it.
const OPEN_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Random bytes of a token: nobody guesses 256 bits.
const TOKEN_BYTES: usize = 32;

/// Characters of a token, as base64 without padding.
const TOKEN_CHARS: usize = 43;

/// The path at which an invitation's link is looked at.
pub const ACCEPT_PATH: &str = "/invitations/accept";

/// Somebody invited.
#[derive(Debug)]
pub struct Invited {
    /// As they stand.
    pub member: MemberRow,
    /// The link by which they join, if the sender is to hand it on: none when it went by mail, and
    /// none when the command is repeated, since only the hash of its token is kept.
    pub link: Option<Link>,
}

/// The link of an invitation. Whoever has it may join, so nothing prints it.
pub struct Link(String);

impl Link {
    /// The link, for whoever invited.
    pub fn reveal(self) -> String {
        self.0
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Link(…)")
    }
}

/// Lets somebody join the selected workspace: by mail where a mail server is configured and takes
/// it, else by a link in the answer. Repeated under its command id, it sends nothing and has no
/// link.
///
/// # Errors
/// When it is another workspace, the address is not valid, the role is above the sender's own, or
/// the workspace has a member of this address or no room.
pub async fn invite(
    state: &AppState,
    ctx: &RequestContext,
    workspace: &str,
    (email, role): (String, Role),
    command_id: Option<&str>,
) -> Result<Invited, ApiError> {
    let id = selected(ctx, workspace)?;
    let mut command = ctx.command(command_id, "inviteMember", &(id, &email, role))?;
    let invitation = InvitationId::from_uuid(sender::id_of_made(&command, &("invitation", id)));
    let of = MemberRef::Invitation(invitation);
    if let Some(first) = state.log.bus.recall::<Workspace>(&command).await? {
        let member = settled(state, ctx, id, first, &of).await?;
        return Ok(Invited { member, link: None });
    }
    let token = new_token()?;
    let token_hash = hash(&token);
    let at = state.clock.now();
    let expires_at = at + OPEN_FOR;
    command.side = vec![SideRow::InvitationToken {
        token_hash: token_hash.as_str().to_owned(),
        invitation_id: invitation.to_string(),
        key_id: sender::key(ctx).map(|key| key.to_string()),
        expires_at,
    }];
    let invite = Command::Invite {
        sender: sender::of_workspace(ctx)?,
        invitation,
        email: email.clone(),
        role,
        token_hash,
        expires_at,
        at,
    };
    let executed = execute(state, id, invite, &command).await?;
    // Another node was quicker with the same command: its token counts.
    if executed.repeated {
        let member = settled(state, ctx, id, executed, &of).await?;
        return Ok(Invited { member, link: None });
    }
    let link = format!("{}{ACCEPT_PATH}?token={token}", state.options.public_url);
    let mail = Mail {
        to: email,
        // A name of the sender's choice could say anything above a link.
        subject: "You are invited to a workspace on Toolroom".to_owned(),
        text: letter(executed.after.aggregate.name(), role, &link),
    };
    let sent = send(state, ctx, mail);
    let (member, sent) = tokio::join!(settled(state, ctx, id, executed, &of), sent);
    Ok(Invited {
        member: member?,
        link: (!sent).then_some(Link(link)),
    })
}

fn letter(workspace: &str, role: Role, link: &str) -> String {
    let days = OPEN_FOR.as_hours() / 24;
    format!(
        "You are invited to join the workspace \"{workspace}\" on Toolroom, as {role}.\n\n\
         Open this link to see how to accept:\n\n{link}\n\n\
         It works once, within {days} days. Whoever has it can join in your place: do not pass it on.\n\
         If you did not expect this letter, you need do nothing.\n"
    )
}

/// Hands a letter to the mail server, if there is one; whether that took it. Goes on although the
/// sender hangs up: the invitation is there, and its link is nowhere else.
async fn send(state: &AppState, ctx: &RequestContext, mail: Mail) -> bool {
    let Some(mailer) = state.mailer.clone() else {
        return false;
    };
    let sending = tokio::spawn(async move { mailer.send(mail).await });
    let failure = match sending.await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    let request_id = &ctx.request_id;
    tracing::warn!(
        request_id,
        failure,
        "an invitation could not be mailed; its link is in the answer"
    );
    false
}

fn new_token() -> Result<String, ApiError> {
    let mut bytes = [0; TOKEN_BYTES];
    secure_random::fill(&mut bytes).map_err(ApiError::internal)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn hash(token: &str) -> TokenHash {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    TokenHash::from_sha256(sha256)
}

/// Joins the workspace of an invitation, by showing its token. Whoever accepted may do so again.
///
/// # Errors
/// When there is no such invitation, somebody else accepted it, it has expired, or the sender is no
/// person or a member already.
pub async fn accept(
    state: &AppState,
    ctx: &RequestContext,
    token: &str,
    command_id: Option<&str>,
) -> Result<MemberRow, ApiError> {
    let Some(user) = sender::person(ctx) else {
        return Err(ApiError::new(
            ErrorCode::Conflict,
            "an invitation is accepted by a person: send a token of your own, not an API key",
        ));
    };
    let unknown = || ApiError::refused(&Error::NoSuchInvitation);
    if token.len() != TOKEN_CHARS {
        return Err(unknown());
    }
    let token_hash = hash(token);
    let id = workspace_of(state, &token_hash).await?;
    let id = id.ok_or_else(unknown)?;
    let mut command = ctx.command(command_id, "acceptInvitation", &token_hash)?;
    command.workspace = id;
    let accept = Command::AcceptInvitation {
        token_hash,
        user: user.clone(),
        account_email: ctx.email.clone().filter(|email| is_email(email)),
        at: state.clock.now(),
    };
    let executed = execute(state, id, accept, &command).await?;
    settled(state, ctx, id, executed, &MemberRef::User(user)).await
}

/// To which workspace a token leads: not a read of one workspace, since none is known yet.
async fn workspace_of(
    state: &AppState,
    token_hash: &TokenHash,
) -> Result<Option<WorkspaceId>, ApiError> {
    // Whoever held a key that was revoked may hold links that it made.
    let statement = "select workspace_id from invitation_tokens t
         where token_hash = $1
           and not exists (select from key_hashes k
                           where k.key_id = t.key_id and k.revoked_at is not null)";
    let row = sqlx::query(statement)
        .bind(token_hash.as_str())
        .fetch_optional(state.log.database.authenticator_pool())
        .await?;
    let Some(row) = row else { return Ok(None) };
    let id: String = row.try_get("workspace_id")?;
    id.parse().map(Some).map_err(ApiError::internal)
}

/// Gives a member of the selected workspace, or somebody invited, another role.
///
/// # Errors
/// When it is another workspace, there is no such member, one of the roles is above the sender's
/// own, or no owner would be left.
pub async fn set_role(
    state: &AppState,
    ctx: &RequestContext,
    workspace: &str,
    (member, role): (&str, Role),
    command_id: Option<&str>,
) -> Result<MemberRow, ApiError> {
    let id = selected(ctx, workspace)?;
    let member = member_ref(member)?;
    let command = ctx.command(command_id, "setMemberRole", &(id, &member, role))?;
    let change = Command::SetRole {
        sender: sender::of_workspace(ctx)?,
        member: member.clone(),
        role,
        at: state.clock.now(),
    };
    let executed = execute(state, id, change, &command).await?;
    settled(state, ctx, id, executed, &member).await
}

/// Ends a membership of the selected workspace, or withdraws an invitation.
///
/// # Errors
/// When it is another workspace, there is no such member, their role is above the sender's own, or
/// no owner would be left.
pub async fn remove(
    state: &AppState,
    ctx: &RequestContext,
    workspace: &str,
    member: &str,
    command_id: Option<&str>,
) -> Result<MemberRow, ApiError> {
    let id = selected(ctx, workspace)?;
    let member = member_ref(member)?;
    let command = ctx.command(command_id, "removeMember", &(id, &member))?;
    let remove = Command::Remove {
        sender: sender::of_workspace(ctx)?,
        member: member.clone(),
        at: state.clock.now(),
    };
    let executed = execute(state, id, remove, &command).await?;
    settled(state, ctx, id, executed, &member).await
}

/// Whom an id means: a user, or somebody invited.
fn member_ref(text: &str) -> Result<MemberRef, ApiError> {
    if let Ok(invitation) = text.parse() {
        return Ok(MemberRef::Invitation(invitation));
    }
    let local = UserId::local();
    if text == local.as_str() {
        return Ok(MemberRef::User(local));
    }
    UserId::try_new(text)
        .map(MemberRef::User)
        .map_err(|_| ApiError::refused(&Error::NoSuchMember))
}

async fn execute(
    state: &AppState,
    id: WorkspaceId,
    command: Command,
    sender: &CommandContext,
) -> Result<Executed<Workspace>, ApiError> {
    let target = Target::Existing(id.to_string());
    Ok(state.log.bus.execute(target, command, sender).await?)
}

/// A member after a command, once its effect can be read.
async fn settled(
    state: &AppState,
    ctx: &RequestContext,
    id: WorkspaceId,
    executed: Executed<Workspace>,
    member: &MemberRef,
) -> Result<MemberRow, ApiError> {
    state.auth.workspace_changed(id).await;
    let there = after_command(state, ctx, executed.global_seq, MEMBERS).await?;
    let row = members::query::find(state.log.database.reads(), id, member).await?;
    match row {
        Some(row) if executed.global_seq.is_none() || there.is_some() => Ok(row),
        None if executed.global_seq.is_none() => Err(ApiError::refused(&Error::NoSuchMember)),
        _ => Err(ApiError::not_yet(
            "the command was carried out, but its effect cannot be read yet; read it again in a moment",
        )),
    }
}

/// Who belongs to the selected workspace, may join it or did belong to it, the newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    state: &AppState,
    ctx: &RequestContext,
    page: &PageRequest<MemberKey>,
) -> Result<Page<MemberRow>, ApiError> {
    before_read(state, ctx, MEMBERS).await?;
    Ok(members::query::list(state.log.database.reads(), ctx.workspace, page).await?)
}

/// As [`list`], of the workspace that is named.
///
/// # Errors
/// When it is not the selected one.
pub async fn list_of(
    state: &AppState,
    ctx: &RequestContext,
    workspace: &str,
    page: &PageRequest<MemberKey>,
) -> Result<Page<MemberRow>, ApiError> {
    selected(ctx, workspace)?;
    list(state, ctx, page).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_its_length_and_differs_each_time() {
        let (one, other) = (new_token().unwrap(), new_token().unwrap());
        assert_eq!((one.len(), other.len()), (TOKEN_CHARS, TOKEN_CHARS));
        assert_ne!(one, other);
        assert_ne!(hash(&one), hash(&other));
    }

    #[test]
    fn a_member_is_a_user_or_somebody_invited() {
        let of = |text| member_ref(text).ok();
        assert!(matches!(of("local"), Some(MemberRef::User(_))));
        assert!(matches!(of("auth0|7"), Some(MemberRef::User(_))));
        let invitation = "inv_00000000000000000000000000000007";
        assert!(matches!(of(invitation), Some(MemberRef::Invitation(_))));
        let key = "key_00000000000000000000000000000007";
        for nobody in ["", "a b", key] {
            assert_eq!(member_ref(nobody).unwrap_err().code, ErrorCode::NotFound);
        }
    }

    #[test]
    fn nothing_prints_a_link() {
        assert_eq!(format!("{:?}", Link("s3cret".to_owned())), "Link(…)");
    }
}
