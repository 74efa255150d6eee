//! To whom an aggregate belongs.

use crate::{
    api_key::ApiKey, denial::Denials, id::WorkspaceId, job::Job, secret::Secret, tool::Tool,
    workspace::Workspace,
};

/// An aggregate of a workspace. A command that comes from another one finds nothing.
pub trait Owned {
    /// The workspace, once the aggregate exists.
    fn owner(&self) -> Option<WorkspaceId>;
}

impl Owned for Tool {
    fn owner(&self) -> Option<WorkspaceId> {
        self.workspace()
    }
}

impl Owned for Job {
    fn owner(&self) -> Option<WorkspaceId> {
        self.workspace()
    }
}

impl Owned for ApiKey {
    fn owner(&self) -> Option<WorkspaceId> {
        self.workspace()
    }
}

impl Owned for Secret {
    fn owner(&self) -> Option<WorkspaceId> {
        self.workspace()
    }
}

impl Owned for Denials {
    fn owner(&self) -> Option<WorkspaceId> {
        self.workspace()
    }
}

/// A workspace belongs to itself: its commands are sent from within it, its creation too.
impl Owned for Workspace {
    fn owner(&self) -> Option<WorkspaceId> {
        self.id()
    }
}
