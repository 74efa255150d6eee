//! What has happened to a workspace. Serialised names are frozen.

use std::fmt::Write;

use cqrs_es::DomainEvent;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    claim::EventClaims,
    id::{InvitationId, WorkspaceId},
    role::Role,
    user::UserId,
};

/// What a workspace has been granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Plan {
    /// What costs nothing.
    #[default]
    Free,
    /// More.
    Pro,
    /// The most.
    Enterprise,
}

/// The SHA-256 of an invitation's token. The token has 256 random bits, so its hash gives nothing
/// away and needs no salt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct TokenHash(String);

impl TokenHash {
    /// The hash with these bytes.
    pub fn from_sha256(digest: [u8; 32]) -> Self {
        let hex = digest.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a `String` cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Self(hex)
    }

    /// The written form: 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which member: before they joined there is no user, only the invitation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemberRef {
    /// Somebody who joined.
    User(UserId),
    /// Somebody who was invited.
    Invitation(InvitationId),
}

/// What has happened to a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum Event {
    /// It came into being, with one member.
    #[serde(rename = "WorkspaceCreated")]
    Created {
        /// The workspace's id.
        id: WorkspaceId,
        /// What people call it.
        name: String,
        /// Its first owner.
        owner: UserId,
        /// Their address, if it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner_email: Option<String>,
        /// In which times are read that name no other zone: an IANA name.
        time_zone: String,
        /// What it has been granted.
        plan: Plan,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// Name or time zone changed; both as they are from now on.
    #[serde(rename = "WorkspaceUpdated")]
    Updated {
        /// What people call it.
        name: String,
        /// An IANA name.
        time_zone: String,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// It is gone, and with it what belongs to it.
    #[serde(rename = "WorkspaceDeleted")]
    Deleted {
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// Its key was destroyed: what it kept cannot be read any more, and what is derived of it goes.
    #[serde(rename = "WorkspaceErased")]
    Erased {
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// It was granted more, or less.
    #[serde(rename = "WorkspacePlanChanged")]
    PlanChanged {
        /// What it has from now on.
        plan: Plan,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// Somebody may join.
    #[serde(rename = "WorkspaceMemberInvited")]
    MemberInvited {
        /// The invitation's id.
        invitation: InvitationId,
        /// The address of whoever is invited.
        email: String,
        /// What they will be.
        role: Role,
        /// By which the invitation is found when it is accepted.
        token_hash: TokenHash,
        /// The member who invited; none if it was a key or the operator.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        invited_by: Option<UserId>,
        /// From this moment on it is not accepted.
        #[schemars(with = "String")]
        expires_at: Timestamp,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// Somebody accepted an invitation, and is a member.
    #[serde(rename = "WorkspaceMemberJoined")]
    MemberJoined {
        /// The invitation, which nobody else can accept.
        invitation: InvitationId,
        /// Who they are.
        user: UserId,
        /// The address at which they were invited.
        email: String,
        /// The address that their identity provider vouched for, if it told one: whoever has the
        /// link may join, and need not be whom it was sent to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account_email: Option<String>,
        /// What they are.
        role: Role,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// A member, or somebody invited, got another role.
    #[serde(rename = "WorkspaceMemberRoleChanged")]
    MemberRoleChanged {
        /// Who.
        member: MemberRef,
        /// What they were.
        previous_role: Role,
        /// What they are from now on.
        role: Role,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// A member is none any more, or an invitation was withdrawn.
    #[serde(rename = "WorkspaceMemberRemoved")]
    MemberRemoved {
        /// Who.
        member: MemberRef,
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
}

/// The name of the event after which nothing that is derived holds anything of its workspace.
pub const ERASED: &str = "WorkspaceErased";

impl DomainEvent for Event {
    fn event_type(&self) -> String {
        match self {
            Self::Created { .. } => "WorkspaceCreated",
            Self::Updated { .. } => "WorkspaceUpdated",
            Self::Deleted { .. } => "WorkspaceDeleted",
            Self::Erased { .. } => ERASED,
            Self::PlanChanged { .. } => "WorkspacePlanChanged",
            Self::MemberInvited { .. } => "WorkspaceMemberInvited",
            Self::MemberJoined { .. } => "WorkspaceMemberJoined",
            Self::MemberRoleChanged { .. } => "WorkspaceMemberRoleChanged",
            Self::MemberRemoved { .. } => "WorkspaceMemberRemoved",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

/// Workspaces may share a name: clients address them by id, and a taken name would tell a stranger
/// what others have.
impl EventClaims for Event {}
