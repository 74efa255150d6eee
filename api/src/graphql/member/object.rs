//! A member.

use async_graphql::{Enum, ID, SimpleObject};
use toolroom_projections::members::{MemberRow, Status};

use crate::{graphql::workspace::Role, service::members::Invited};

/// Where somebody stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "Status")]
pub enum MemberStatus {
    /// They may join, while the invitation is open.
    Invited,
    /// They are a member.
    Active,
    /// They were, or their invitation was withdrawn.
    Removed,
}

/// Somebody who belongs to a workspace, may join it or did belong to it.
#[derive(SimpleObject)]
pub struct Member {
    /// Who they are to their identity provider; before they joined, the invitation's id.
    user_id: ID,
    /// Their address; empty where none is known.
    email: String,
    /// What they are, will be, or were.
    role: Role,
    /// Where they stand.
    status: MemberStatus,
    /// The link by which they join, to be handed on: told once, to whoever invited, when it did not
    /// go by mail; null when the command is repeated.
    invite_url: Option<String>,
}

impl From<MemberRow> for Member {
    fn from(row: MemberRow) -> Self {
        Self {
            user_id: row.id.into(),
            email: row.email.unwrap_or_default(),
            role: row.role.into(),
            status: row.status.into(),
            invite_url: None,
        }
    }
}

impl From<Invited> for Member {
    fn from(invited: Invited) -> Self {
        Self {
            invite_url: invited.link.map(|link| link.reveal()),
            ..invited.member.into()
        }
    }
}
