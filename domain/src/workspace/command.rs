//! What can be asked of a workspace.

use jiff::Timestamp;

use super::event::{MemberRef, Plan, TokenHash};
use crate::{
    id::{InvitationId, WorkspaceId},
    role::Role,
    user::UserId,
};

/// Who sends a command to a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A person; what they may do, the workspace knows.
    User(UserId),
    /// A program with one of the workspace's keys, which has this role.
    Key(Role),
    /// The local owner, or whoever runs the server.
    Operator,
}

/// What can be asked of a workspace.
#[derive(Clone, Debug)]
pub enum Command {
    /// Brings it into being.
    Create {
        /// The workspace's id.
        id: WorkspaceId,
        /// What people call it.
        name: String,
        /// Its first owner.
        owner: UserId,
        /// Their address, if it is known.
        owner_email: Option<String>,
        /// An IANA name.
        time_zone: String,
        /// What it is granted.
        plan: Plan,
        /// When.
        at: Timestamp,
    },
    /// Changes what is named, and leaves the rest.
    Update {
        /// Who asks.
        sender: Sender,
        /// A new name.
        name: Option<String>,
        /// A new time zone.
        time_zone: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// Ends it.
    Delete {
        /// Who asks.
        sender: Sender,
        /// When.
        at: Timestamp,
    },
    /// Destroys what it kept, for good: its key, and with it all inputs and outputs.
    Erase {
        /// Who asks.
        sender: Sender,
        /// When.
        at: Timestamp,
    },
    /// Grants more, or less.
    ChangePlan {
        /// Who asks.
        sender: Sender,
        /// What it shall have.
        plan: Plan,
        /// When.
        at: Timestamp,
    },
    /// Lets somebody join. An open invitation of the same address is withdrawn.
    Invite {
        /// Who asks.
        sender: Sender,
        /// The invitation's id.
        invitation: InvitationId,
        /// The address of whoever is invited.
        email: String,
        /// What they shall be.
        role: Role,
        /// The hash of a token that was drawn beforehand and is not told.
        token_hash: TokenHash,
        /// From this moment on it is not accepted.
        expires_at: Timestamp,
        /// When.
        at: Timestamp,
    },
    /// Joins, by showing a token.
    AcceptInvitation {
        /// The hash of the token that was shown.
        token_hash: TokenHash,
        /// Who shows it.
        user: UserId,
        /// The address that their identity provider vouches for, if it tells one.
        account_email: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// Gives a member, or somebody invited, another role.
    SetRole {
        /// Who asks.
        sender: Sender,
        /// Who shall get it.
        member: MemberRef,
        /// What they shall be.
        role: Role,
        /// When.
        at: Timestamp,
    },
    /// Ends a membership, or withdraws an invitation.
    Remove {
        /// Who asks.
        sender: Sender,
        /// Whose.
        member: MemberRef,
        /// When.
        at: Timestamp,
    },
}
