//! How somebody comes into a workspace.

use cqrs_es::event_sink::EventSink;
use jiff::{SignedDuration, Timestamp};

use super::{
    check::{self, is_same_mailbox},
    command::Sender,
    error::Error,
    event::{Event, MemberRef, TokenHash},
    state::{Invitation, Member, Workspace},
};
use crate::{
    access::{Caller, Operation},
    id::InvitationId,
    limits,
    role::Role,
    user::UserId,
    violation::Violation,
};

/// Whom a sender wants to invite.
pub(super) struct Invitee {
    pub(super) invitation: InvitationId,
    pub(super) email: String,
    pub(super) role: Role,
    pub(super) token_hash: TokenHash,
    pub(super) expires_at: Timestamp,
}

fn check(invitee: &Invitee, at: Timestamp) -> Result<(), Error> {
    let mut found: Vec<Violation> = Vec::new();
    found.extend(check::email(&invitee.email).err());
    let open_for = invitee.expires_at.duration_since(at);
    let longest = SignedDuration::from_hours(limits::INVITATION_HOURS);
    if open_for <= SignedDuration::ZERO || open_for > longest {
        let problem = "must lie in the future, within 30 days";
        found.push(Violation::new("expiresAt", problem));
    }
    if found.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid(found))
    }
}

impl Workspace {
    pub(super) async fn invite(
        &mut self,
        sender: Sender,
        invitee: Invitee,
        at: Timestamp,
        sink: &EventSink<Self>,
    ) -> Result<(), Error> {
        let caller = self.must_permit(&sender, Operation::InviteMember)?;
        check(&invitee, at)?;
        may_touch(caller, invitee.role)?;
        let invited_by = match sender {
            Sender::User(user) => Some(user),
            Sender::Key(_) | Sender::Operator => None,
        };
        let wanted = Invitation {
            email: invitee.email,
            role: invitee.role,
            invited_by,
            expires_at: invitee.expires_at,
            token_hash: invitee.token_hash,
        };
        if self.invitations.get(&invitee.invitation) == Some(&wanted) {
            return Ok(());
        }
        if self.knows_invitation(invitee.invitation) {
            return Err(Error::AlreadyInvited);
        }
        let is_wanted = |email: &str| is_same_mailbox(email, &wanted.email);
        let has_wanted = |member: &Member| member.addresses().any(is_wanted);
        if self.active().any(|(_, member)| has_wanted(member)) {
            return Err(Error::AlreadyMember);
        }
        let earlier: Vec<(InvitationId, Role)> = self
            .invitations
            .iter()
            .filter(|(_, open)| is_wanted(&open.email))
            .map(|(id, open)| (*id, open.role))
            .collect();
        for (_, role) in &earlier {
            may_touch(caller, *role)?;
        }
        self.must_have_room(earlier.len(), at)?;
        for (id, _) in earlier {
            self.withdraw(id, at, sink).await;
        }
        let event = Event::MemberInvited {
            invitation: invitee.invitation,
            email: wanted.email,
            role: wanted.role,
            token_hash: wanted.token_hash,
            invited_by: wanted.invited_by,
            expires_at: wanted.expires_at,
            at,
        };
        sink.write(event, self).await;
        Ok(())
    }

    /// Nobody invited waits in vain: what is open has its place already.
    fn must_have_room(&self, withdrawn: usize, at: Timestamp) -> Result<(), Error> {
        let open = self.invitations.values().filter(|i| i.expires_at > at);
        let taken = self.active().count() + open.count();
        if taken.saturating_sub(withdrawn) >= limits::WORKSPACE_MEMBERS {
            return Err(Error::TooManyMembers {
                limit: limits::WORKSPACE_MEMBERS,
            });
        }
        Ok(())
    }

    pub(super) async fn accept(
        &mut self,
        token_hash: TokenHash,
        (user, account_email): (UserId, Option<String>),
        at: Timestamp,
        sink: &EventSink<Self>,
    ) -> Result<(), Error> {
        self.must_be_present()?;
        let used_by = self.members.iter().find(|(_, member)| {
            let accepted = member.accepted.as_ref();
            accepted.is_some_and(|a| a.token_hash == token_hash)
        });
        match used_by {
            Some((earlier, member)) if *earlier == user && !member.removed => return Ok(()),
            Some(_) => return Err(Error::InvitationUsed),
            None => {}
        }
        let mut open = self.invitations.iter();
        let Some((id, invitation)) = open.find(|(_, i)| i.token_hash == token_hash) else {
            return Err(Error::NoSuchInvitation);
        };
        if invitation.expires_at <= at {
            return Err(Error::InvitationExpired {
                expires_at: invitation.expires_at,
            });
        }
        // A role changes by `SetRole` alone, or an owner could lose theirs by following a link.
        if self.role_of(&user).is_some() {
            return Err(Error::AlreadyMember);
        }
        if let Some(email) = &account_email {
            check::email(email)?;
        }
        let event = Event::MemberJoined {
            invitation: *id,
            user,
            email: invitation.email.clone(),
            account_email,
            role: invitation.role,
            at,
        };
        sink.write(event, self).await;
        Ok(())
    }

    pub(super) async fn withdraw(
        &mut self,
        id: InvitationId,
        at: Timestamp,
        sink: &EventSink<Self>,
    ) {
        let member = MemberRef::Invitation(id);
        sink.write(Event::MemberRemoved { member, at }, self).await;
    }

    /// Ends what somebody who fell has left open: they may hold the token, and come back by it as
    /// what they are no more.
    pub(super) async fn withdraw_all_of(
        &mut self,
        user: &UserId,
        at: Timestamp,
        sink: &EventSink<Self>,
    ) {
        let theirs: Vec<InvitationId> = self
            .invitations
            .iter()
            .filter(|(_, open)| open.invited_by.as_ref() == Some(user))
            .map(|(id, _)| *id)
            .collect();
        for id in theirs {
            self.withdraw(id, at, sink).await;
        }
    }
}

/// Refuses to give a role, or to take it, that is above the caller's own.
pub(super) fn may_touch(caller: Caller, role: Role) -> Result<(), Error> {
    if caller.may_give(role) {
        Ok(())
    } else {
        Err(Error::AboveOwnRole { role })
    }
}
