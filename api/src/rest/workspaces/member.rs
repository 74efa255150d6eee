//! A member as this contract shows it.

use serde::Serialize;
use toolroom_domain::Role;
use toolroom_projections::members::{MemberRow, Status};

use crate::service::members::Invited;

/// A member as this contract shows it.
#[derive(Serialize)]
pub(super) struct Member {
    user_id: String,
    email: String,
    role: Role,
    status: Status,
    invite_url: Option<String>,
}

impl From<MemberRow> for Member {
    fn from(row: MemberRow) -> Self {
        Self {
            user_id: row.id,
            email: row.email.unwrap_or_default(),
            role: row.role,
            status: row.status,
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
