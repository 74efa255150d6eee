//! What a workspace is, as its events tell it, and how it is read.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::{MemberRef, Plan, TokenHash};
use crate::{
    id::{InvitationId, WorkspaceId},
    role::Role,
    user::UserId,
};

/// A workspace, as its events tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// Empty until it is created.
    pub(super) identity: Option<Identity>,
    pub(super) name: String,
    pub(super) time_zone: String,
    pub(super) plan: Plan,
    pub(super) deleted: bool,
    #[serde(default)]
    pub(super) erased: bool,
    /// Who joined, including who was removed since.
    pub(super) members: BTreeMap<UserId, Member>,
    /// Who has not joined yet.
    pub(super) invitations: BTreeMap<InvitationId, Invitation>,
    /// What nobody can accept any more, so that withdrawing twice is known as such.
    pub(super) withdrawn: BTreeSet<InvitationId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) id: WorkspaceId,
    pub(super) created_at: Timestamp,
}

/// Somebody who joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The address at which they were invited, or that they had when they made the workspace.
    pub email: Option<String>,
    /// The address of the account by which they joined, if it was told.
    pub account_email: Option<String>,
    /// What they are, or were when they were removed.
    pub role: Role,
    /// Whether they are a member no more.
    pub removed: bool,
    pub(super) accepted: Option<Accepted>,
}

impl Member {
    /// The addresses by which they are known here.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &str> {
        [&self.email, &self.account_email]
            .into_iter()
            .filter_map(|email| email.as_deref())
    }
}

/// By what somebody joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Accepted {
    pub(super) invitation: InvitationId,
    pub(super) token_hash: TokenHash,
}

/// Somebody who may join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// Their address.
    pub email: String,
    /// What they will be.
    pub role: Role,
    /// The member who invited; none if it was a key or the operator.
    pub invited_by: Option<UserId>,
    /// From this moment on it is not accepted.
    pub expires_at: Timestamp,
    pub(super) token_hash: TokenHash,
}

/// Where a member that a command names stands.
pub(super) enum Standing {
    /// They are a member, or will be: who they are by now, and their role.
    Present(MemberRef, Role),
    /// They were.
    Gone,
}

#[allow(missing_docs, reason = "each reads the fact that its name says")]
impl Workspace {
    pub fn exists(&self) -> bool {
        self.identity.is_some()
    }

    pub fn id(&self) -> Option<WorkspaceId> {
        self.identity.map(|identity| identity.id)
    }

    pub fn created_at(&self) -> Option<Timestamp> {
        self.identity.map(|identity| identity.created_at)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn time_zone(&self) -> &str {
        &self.time_zone
    }

    pub fn plan(&self) -> Plan {
        self.plan
    }

    pub fn is_deleted(&self) -> bool {
        self.deleted
    }

    pub fn is_erased(&self) -> bool {
        self.erased
    }

    /// Who joined, removed members included.
    pub fn member(&self, user: &UserId) -> Option<&Member> {
        self.members.get(user)
    }

    /// What somebody is here now; none if they are no member, or there is no workspace any more, or
    /// nothing in it.
    pub fn role_of(&self, user: &UserId) -> Option<Role> {
        let member = self.members.get(user).filter(|m| !m.removed)?;
        (!self.deleted && !self.erased).then_some(member.role)
    }

    /// An invitation that was neither accepted nor withdrawn; it may have expired.
    pub fn invitation(&self, id: InvitationId) -> Option<&Invitation> {
        self.invitations.get(&id)
    }

    pub(super) fn active(&self) -> impl Iterator<Item = (&UserId, &Member)> {
        self.members.iter().filter(|(_, member)| !member.removed)
    }

    pub(super) fn owners(&self) -> usize {
        let is_owner = |member: &&Member| member.role == Role::Owner;
        self.active().map(|(_, m)| m).filter(is_owner).count()
    }

    fn joined_by(&self, invitation: InvitationId) -> Option<(&UserId, &Member)> {
        self.members.iter().find(|(_, member)| {
            let accepted = member.accepted.as_ref();
            accepted.is_some_and(|a| a.invitation == invitation)
        })
    }

    /// Whether an invitation of this id was ever sent.
    pub(super) fn knows_invitation(&self, id: InvitationId) -> bool {
        self.invitations.contains_key(&id)
            || self.withdrawn.contains(&id)
            || self.joined_by(id).is_some()
    }

    /// Finds whom a command means. An invitation that was accepted means whoever accepted it, so
    /// that a list that was read before still serves.
    pub(super) fn find(&self, member: &MemberRef) -> Option<Standing> {
        let joined = match member {
            MemberRef::User(user) => self.members.get_key_value(user),
            MemberRef::Invitation(id) => {
                if let Some(invitation) = self.invitations.get(id) {
                    return Some(Standing::Present(member.clone(), invitation.role));
                }
                if self.withdrawn.contains(id) {
                    return Some(Standing::Gone);
                }
                self.joined_by(*id)
            }
        };
        joined.map(|(user, member)| {
            if member.removed {
                Standing::Gone
            } else {
                Standing::Present(MemberRef::User(user.clone()), member.role)
            }
        })
    }
}
