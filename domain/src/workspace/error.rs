//! Why a workspace refuses a command.

use jiff::Timestamp;

use crate::{
    code::{ErrorCode, Refusal},
    role::Role,
    violation::{self, Violation},
};

/// Why a workspace refuses a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such workspace, or the sender is no member and shall not learn that there is.
    #[error("there is no such workspace; list yours with the query `workspaces`")]
    Unknown,
    /// The id is taken.
    #[error("this workspace was created already")]
    AlreadyCreated,
    /// It was deleted.
    #[error("the workspace was deleted")]
    Deleted,
    /// What it kept was destroyed.
    #[error("the workspace was erased; nothing can be kept or run in it any more")]
    Erased,
    /// The sender's role does not go so far.
    #[error("your role in this workspace does not permit `{operation}`; ask an admin or owner")]
    NotPermitted {
        /// What was asked for, by its name in the schema.
        operation: &'static str,
    },
    /// The role that is to be given or taken is above the sender's.
    #[error("the role {role} is above your own; ask somebody who has it")]
    AboveOwnRole {
        /// The role.
        role: Role,
    },
    /// The last owner would be none any more.
    #[error("this is the workspace's last owner; make another member owner first")]
    LastOwner,
    /// There is no such member.
    #[error("the workspace has no such member; list them with the query `members`")]
    NoSuchMember,
    /// Whoever is invited, or accepts, is a member.
    #[error("this is a member of the workspace already; change the role with `setMemberRole`")]
    AlreadyMember,
    /// The invitation's id is taken.
    #[error("an invitation of this id was sent already")]
    AlreadyInvited,
    /// No open invitation has this token.
    #[error("there is no such invitation; it may have been withdrawn, ask for a new one")]
    NoSuchInvitation,
    /// Somebody accepted it already.
    #[error("the invitation was accepted already; ask for one of your own")]
    InvitationUsed,
    /// It was not accepted in time.
    #[error("the invitation expired at {expires_at}; ask for a new one")]
    InvitationExpired {
        /// When.
        expires_at: Timestamp,
    },
    /// It has as many members and open invitations as a workspace may have.
    #[error(
        "the workspace has {limit} members and open invitations, as many as one may have; remove some first"
    )]
    TooManyMembers {
        /// The bound.
        limit: usize,
    },
    /// The input is wrong.
    #[error("the input is not valid: {}", violation::summary(.0))]
    Invalid(Vec<Violation>),
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::Invalid(vec![violation])
    }
}

impl Refusal for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown | Self::Deleted | Self::NoSuchMember | Self::NoSuchInvitation => {
                ErrorCode::NotFound
            }
            Self::NotPermitted { .. } | Self::AboveOwnRole { .. } => ErrorCode::Forbidden,
            Self::AlreadyCreated
            | Self::Erased
            | Self::LastOwner
            | Self::AlreadyMember
            | Self::AlreadyInvited
            | Self::InvitationUsed
            | Self::InvitationExpired { .. }
            | Self::TooManyMembers { .. } => ErrorCode::Conflict,
            Self::Invalid(_) => ErrorCode::ValidationFailed,
        }
    }

    fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Invalid(violations) => violations.clone(),
            _ => Vec::new(),
        }
    }
}
