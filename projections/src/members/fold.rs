//! How events change who belongs to a workspace, without a database.

use std::collections::{BTreeMap, BTreeSet};

use toolroom_domain::{
    InvitationId, Role, UserId, WorkspaceId,
    workspace::{Event, MemberRef},
};
use toolroom_eventlog::RecordedEvent;

use super::row::{MemberRow, Status};
use crate::projection::ApplyError;

/// A member's place: the workspace, and the user's or the invitation's id.
pub(super) type Place = (WorkspaceId, String);

/// Members that events have touched.
#[derive(Default)]
pub(super) struct Fold {
    /// Each with the position of its last event.
    pub entries: BTreeMap<Place, (MemberRow, i64)>,
    /// What is no more: invitations that were accepted go on as their users.
    pub gone: BTreeSet<Place>,
}

/// Which row an event goes on from.
pub(super) fn touched(workspace: WorkspaceId, change: &Event) -> Option<Place> {
    match change {
        Event::MemberJoined { invitation, .. } => Some((workspace, invitation.to_string())),
        Event::MemberRoleChanged { member, .. } | Event::MemberRemoved { member, .. } => {
            Some(place(workspace, member))
        }
        Event::Created { .. }
        | Event::MemberInvited { .. }
        | Event::Updated { .. }
        | Event::Deleted { .. }
        | Event::Erased { .. }
        | Event::PlanChanged { .. } => None,
    }
}

fn place(workspace: WorkspaceId, member: &MemberRef) -> Place {
    let id = match member {
        MemberRef::User(user) => user.to_string(),
        MemberRef::Invitation(id) => id.to_string(),
    };
    (workspace, id)
}

impl Fold {
    /// Takes in an event of a workspace that was decoded to `change`.
    pub fn apply(
        &mut self,
        workspace: WorkspaceId,
        event: &RecordedEvent,
        change: Event,
    ) -> Result<(), ApplyError> {
        match change {
            Event::Created {
                owner,
                owner_email,
                at,
                ..
            } => {
                let row = MemberRow {
                    workspace,
                    id: owner.to_string(),
                    invitation: None,
                    email: owner_email,
                    role: Role::Owner,
                    status: Status::Active,
                    added_at: at,
                    joined_at: Some(at),
                };
                self.put(row, event);
            }
            Event::MemberInvited {
                invitation,
                email,
                role,
                at,
                ..
            } => {
                let row = MemberRow {
                    workspace,
                    id: invitation.to_string(),
                    invitation: Some(invitation),
                    email: Some(email),
                    role,
                    status: Status::Invited,
                    added_at: at,
                    joined_at: None,
                };
                self.put(row, event);
            }
            Event::MemberJoined {
                invitation,
                user,
                email,
                account_email,
                role,
                at,
            } => {
                // Who they are counts, not whom the link was sent to.
                let email = account_email.unwrap_or(email);
                self.join(workspace, event, (invitation, user), (email, role), at)?;
            }
            Event::MemberRoleChanged { member, role, .. } => {
                self.known(place(workspace, &member), event)?.role = role;
            }
            Event::MemberRemoved { member, .. } => {
                self.known(place(workspace, &member), event)?.status = Status::Removed;
            }
            // At an erasure the rows go, whichever projection it is.
            Event::Updated { .. }
            | Event::Deleted { .. }
            | Event::Erased { .. }
            | Event::PlanChanged { .. } => {}
        }
        Ok(())
    }

    fn join(
        &mut self,
        workspace: WorkspaceId,
        event: &RecordedEvent,
        (invitation, user): (InvitationId, UserId),
        (email, role): (String, Role),
        at: jiff::Timestamp,
    ) -> Result<(), ApplyError> {
        let invited = (workspace, invitation.to_string());
        let Some((open, _)) = self.entries.remove(&invited) else {
            return Err(ApplyError::event(event, "the invitation was never sent"));
        };
        self.gone.insert(invited);
        let row = MemberRow {
            id: user.to_string(),
            email: Some(email),
            role,
            status: Status::Active,
            joined_at: Some(at),
            ..open
        };
        self.put(row, event);
        Ok(())
    }

    fn put(&mut self, row: MemberRow, event: &RecordedEvent) {
        let place = (row.workspace, row.id.clone());
        self.entries.insert(place, (row, event.position));
    }

    fn known(&mut self, place: Place, event: &RecordedEvent) -> Result<&mut MemberRow, ApplyError> {
        let Some((row, last_event)) = self.entries.get_mut(&place) else {
            return Err(ApplyError::event(event, "nobody joined under this id"));
        };
        *last_event = event.position;
        Ok(row)
    }
}
