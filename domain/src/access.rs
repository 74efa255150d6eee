//! Who may do what: the one table that every edge asks.
//!
//! An edge knows its caller and the operation, and asks [`permits`]; no edge has rules of its own.
//! A new operation does not compile until the table says who may do it.

use crate::role::Role;

/// Where an operation is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// GraphQL's queries, and whatever reads the same elsewhere.
    Query,
    /// GraphQL's mutations, and whatever sends the same command elsewhere.
    Mutation,
    /// GraphQL's subscriptions.
    Subscription,
    /// `/session`: outside GraphQL, since a session is a cookie.
    Session,
    /// `/metrics`: outside GraphQL, since Prometheus asks.
    Probe,
}

macro_rules! operations {
    ($($place:ident { $($variant:ident = $name:literal),+ $(,)? })+) => {
        /// Everything that can be asked of Toolroom. REST routes are one of these each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Operation {
            $($(#[doc = concat!("`", $name, "`")] $variant,)+)+
        }

        impl Operation {
            /// All of them.
            pub const ALL: &[Self] = &[$($(Self::$variant,)+)+];

            /// Where it is found.
            pub fn place(self) -> Place {
                match self {
                    $($(Self::$variant)|+ => Place::$place,)+
                }
            }

            /// Its name there, such as `registerTool`.
            pub fn name(self) -> &'static str {
                match self {
                    $($(Self::$variant => $name,)+)+
                }
            }
        }
    };
}

operations! {
    Query {
        Health = "health",
        Viewer = "viewer",
        Tool = "tool",
        Tools = "tools",
        Job = "job",
        Jobs = "jobs",
        JobLogs = "jobLogs",
        Connectors = "connectors",
        Stats = "stats",
        AuditLog = "auditLog",
        AuditEvent = "auditEvent",
        LogHead = "logHead",
        Workspaces = "workspaces",
        Members = "members",
        ApiKeys = "apiKeys",
        Secrets = "secrets",
        Projections = "projections",
        DeadLetters = "deadLetters",
    }
    Mutation {
        RegisterTool = "registerTool",
        UpdateTool = "updateTool",
        SetToolActive = "setToolActive",
        DeleteTool = "deleteTool",
        RestoreToolVersion = "restoreToolVersion",
        TestConnection = "testConnection",
        ExecuteTool = "executeTool",
        SubmitJob = "submitJob",
        SubmitJobs = "submitJobs",
        CancelJob = "cancelJob",
        RetryJob = "retryJob",
        RerunJob = "rerunJob",
        CreateWorkspace = "createWorkspace",
        UpdateWorkspace = "updateWorkspace",
        DeleteWorkspace = "deleteWorkspace",
        SetPlan = "setPlan",
        AcceptInvitation = "acceptInvitation",
        InviteMember = "inviteMember",
        SetMemberRole = "setMemberRole",
        RemoveMember = "removeMember",
        CreateApiKey = "createApiKey",
        RevokeApiKey = "revokeApiKey",
        CreateSecret = "createSecret",
        ReplaceSecret = "replaceSecret",
        DeleteSecret = "deleteSecret",
        RotateMasterKey = "rotateMasterKey",
        RetryDeadLetter = "retryDeadLetter",
        RebuildProjection = "rebuildProjection",
    }
    Subscription {
        JobProgress = "jobProgress",
        JobLogAdded = "jobLogAdded",
        JobChanged = "jobChanged",
        AuditEvents = "auditEvents",
        AuditReplay = "auditReplay",
    }
    Session {
        CreateSession = "createSession",
        Sessions = "sessions",
        EndSession = "endSession",
        RevokeSession = "revokeSession",
    }
    Probe {
        Metrics = "metrics",
    }
}

impl Operation {
    /// The operation of this name; none when the table does not know it, and then nobody may.
    pub fn find(place: Place, name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|operation| operation.place() == place && operation.name() == name)
    }
}

/// Who asks, as far as it matters for what they may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// Nobody known.
    Anonymous,
    /// A person, with their role in the selected workspace if they have one there.
    User(Option<Role>),
    /// A program with a key of the selected workspace, with the key's role.
    Key(Role),
    /// Whoever runs the server: the local owner, or whoever the configuration names.
    Operator,
}

impl Caller {
    /// Whether they may give this role to a member or a key: it must be no higher than their own.
    pub fn may_give(self, role: Role) -> bool {
        match self {
            Self::Operator => true,
            Self::User(Some(own)) | Self::Key(own) => role.is_no_higher_than(own),
            Self::User(None) | Self::Anonymous => false,
        }
    }

    fn role(self) -> Option<Role> {
        match self {
            Self::User(role) => role,
            Self::Key(role) => Some(role),
            Self::Anonymous | Self::Operator => None,
        }
    }
}

/// To whom an operation is open. The operator may do everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    /// Whoever asks.
    Everybody,
    /// Whoever is known, with a role or without: it concerns only what is their own.
    Known,
    /// Persons, with a role or without: it makes somebody a member, which a key cannot be.
    Persons,
    /// Who has one of these roles in the selected workspace.
    Roles(&'static [Role]),
    /// Nobody else: it concerns all workspaces.
    Operators,
}

const READERS: Audience = Audience::Roles(&Role::ALL);
const AUDITORS: Audience = Audience::Roles(&[Role::Owner, Role::Admin, Role::Auditor]);
const MEMBERS: Audience = Audience::Roles(&[Role::Owner, Role::Admin, Role::Member]);
const MEMBERS_AND_AUDITORS: Audience =
    Audience::Roles(&[Role::Owner, Role::Admin, Role::Member, Role::Auditor]);
const ADMINS: Audience = Audience::Roles(&[Role::Owner, Role::Admin]);
const OWNERS: Audience = Audience::Roles(&[Role::Owner]);

/// The table. A group is one reason, not one topic.
fn audience(operation: Operation) -> Audience {
    use Operation as O;
    match operation {
        O::Health => Audience::Everybody,

        O::Workspaces | O::CreateSession | O::Sessions | O::EndSession | O::RevokeSession => {
            Audience::Known
        }

        O::CreateWorkspace | O::AcceptInvitation => Audience::Persons,

        O::Viewer
        | O::Tool
        | O::Tools
        | O::Job
        | O::Jobs
        | O::JobLogs
        | O::Connectors
        | O::Stats
        | O::JobProgress
        | O::JobLogAdded
        | O::JobChanged => READERS,

        // The audit tells addresses, programs and who was refused what: more than the work needs.
        O::AuditLog | O::AuditEvent | O::LogHead | O::AuditEvents | O::AuditReplay | O::Metrics => {
            AUDITORS
        }

        O::RegisterTool
        | O::UpdateTool
        | O::SetToolActive
        | O::DeleteTool
        | O::RestoreToolVersion
        | O::TestConnection
        | O::ExecuteTool
        | O::SubmitJob
        | O::SubmitJobs
        | O::CancelJob
        | O::RetryJob
        | O::RerunJob
        | O::Members => MEMBERS,

        // Whoever writes definitions must know which names there are; whoever audits, which are
        // used. No role reads a value.
        O::Secrets => MEMBERS_AND_AUDITORS,

        // A key outlives its maker's membership, so keys are made by those who look after members.
        O::UpdateWorkspace
        | O::InviteMember
        | O::SetMemberRole
        | O::RemoveMember
        | O::ApiKeys
        | O::CreateApiKey
        | O::RevokeApiKey
        // A secret belongs to the workspace: whoever replaces it decides for all who use it.
        | O::CreateSecret
        | O::ReplaceSecret
        | O::DeleteSecret => ADMINS,

        O::DeleteWorkspace => OWNERS,

        // Errors of projections may name what belongs to any workspace.
        O::SetPlan
        | O::Projections
        | O::DeadLetters
        | O::RetryDeadLetter
        | O::RebuildProjection
        | O::RotateMasterKey => Audience::Operators,
    }
}

/// Whether this caller may do this.
pub fn permits(caller: Caller, operation: Operation) -> bool {
    if caller == Caller::Operator {
        return true;
    }
    match audience(operation) {
        Audience::Everybody => true,
        Audience::Known => caller != Caller::Anonymous,
        Audience::Persons => matches!(caller, Caller::User(_)),
        Audience::Roles(roles) => caller.role().is_some_and(|role| roles.contains(&role)),
        Audience::Operators => false,
    }
}

/// Who may do this, for whoever may not: to end in "… may".
pub fn who_may(operation: Operation) -> String {
    match audience(operation) {
        Audience::Everybody => "everybody".to_owned(),
        Audience::Known => "whoever shows a credential".to_owned(),
        Audience::Persons => "a person, who shows a token and no API key,".to_owned(),
        Audience::Roles(roles) => {
            let roles: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
            format!("members and keys of role {}", roles.join(", "))
        }
        Audience::Operators => "only whoever runs the server".to_owned(),
    }
}

/// Whether a member of this role may do this in their workspace.
pub fn allows(role: Role, operation: Operation) -> bool {
    permits(Caller::User(Some(role)), operation)
}

#[cfg(test)]
mod tests;
