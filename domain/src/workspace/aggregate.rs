//! The workspace's rules (`handle`) and its memory (`apply`).

use cqrs_es::{Aggregate, event_sink::EventSink};
use jiff::Timestamp;

use super::{
    check,
    command::{Command, Sender},
    error::Error,
    event::{Event, MemberRef},
    invite::{Invitee, may_touch},
    state::{Accepted, Identity, Invitation, Member, Standing, Workspace},
};
use crate::{
    access::{Caller, Operation, permits},
    role::Role,
};

impl Workspace {
    pub(super) fn must_be_present(&self) -> Result<(), Error> {
        if !self.exists() {
            return Err(Error::Unknown);
        }
        if self.erased {
            return Err(Error::Erased);
        }
        if self.deleted {
            return Err(Error::Deleted);
        }
        Ok(())
    }

    /// Asks the table with the role that the sender has now. Who is no member is answered as if
    /// there were no workspace.
    pub(super) fn must_permit(
        &self,
        sender: &Sender,
        operation: Operation,
    ) -> Result<Caller, Error> {
        let caller = self.permitted(sender, operation)?;
        self.must_be_present()?;
        Ok(caller)
    }

    /// As [`Self::must_permit`], of a workspace that may be deleted.
    fn permitted(&self, sender: &Sender, operation: Operation) -> Result<Caller, Error> {
        let caller = match sender {
            Sender::User(user) => {
                let member = self.members.get(user).filter(|m| !m.removed);
                Caller::User(Some(member.ok_or(Error::Unknown)?.role))
            }
            Sender::Key(role) => Caller::Key(*role),
            Sender::Operator => Caller::Operator,
        };
        if !self.exists() {
            return Err(Error::Unknown);
        }
        if !permits(caller, operation) {
            return Err(Error::NotPermitted {
                operation: operation.name(),
            });
        }
        Ok(caller)
    }

    fn must_not_be_last_owner(&self, member: &MemberRef, role: Role) -> Result<(), Error> {
        let is_owner = matches!(member, MemberRef::User(_)) && role == Role::Owner;
        if is_owner && self.owners() == 1 {
            return Err(Error::LastOwner);
        }
        Ok(())
    }

    async fn set_role(
        &mut self,
        sender: &Sender,
        member: &MemberRef,
        role: Role,
        at: Timestamp,
        sink: &EventSink<Self>,
    ) -> Result<(), Error> {
        let caller = self.must_permit(sender, Operation::SetMemberRole)?;
        let Some(Standing::Present(member, previous_role)) = self.find(member) else {
            return Err(Error::NoSuchMember);
        };
        may_touch(caller, previous_role)?;
        may_touch(caller, role)?;
        if role == previous_role {
            return Ok(());
        }
        self.must_not_be_last_owner(&member, previous_role)?;
        let event = Event::MemberRoleChanged {
            member: member.clone(),
            previous_role,
            role,
            at,
        };
        sink.write(event, self).await;
        if let MemberRef::User(user) = member
            && !previous_role.is_no_higher_than(role)
        {
            self.withdraw_all_of(&user, at, sink).await;
        }
        Ok(())
    }

    async fn remove(
        &mut self,
        sender: &Sender,
        member: &MemberRef,
        at: Timestamp,
        sink: &EventSink<Self>,
    ) -> Result<(), Error> {
        let caller = self.must_permit(sender, Operation::RemoveMember)?;
        let (member, role) = match self.find(member) {
            Some(Standing::Present(member, role)) => (member, role),
            // Removing twice is fine: the sender's wish is fulfilled.
            Some(Standing::Gone) => return Ok(()),
            None => return Err(Error::NoSuchMember),
        };
        may_touch(caller, role)?;
        self.must_not_be_last_owner(&member, role)?;
        let event = Event::MemberRemoved {
            member: member.clone(),
            at,
        };
        sink.write(event, self).await;
        if let MemberRef::User(user) = member {
            self.withdraw_all_of(&user, at, sink).await;
        }
        Ok(())
    }
}

impl Aggregate for Workspace {
    const TYPE: &'static str = "workspace";
    type Command = Command;
    type Event = Event;
    type Error = Error;
    type Services = ();

    async fn handle(
        &mut self,
        command: Command,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Error> {
        match command {
            Command::Create {
                id,
                name,
                owner,
                owner_email,
                time_zone,
                plan,
                at,
            } => {
                if self.exists() {
                    return Err(Error::AlreadyCreated);
                }
                check::details(&name, &time_zone).map_err(Error::Invalid)?;
                if let Some(email) = &owner_email {
                    check::email(email)?;
                }
                let event = Event::Created {
                    id,
                    name,
                    owner,
                    owner_email,
                    time_zone,
                    plan,
                    at,
                };
                sink.write(event, self).await;
                Ok(())
            }
            Command::Update {
                sender,
                name,
                time_zone,
                at,
            } => {
                self.must_permit(&sender, Operation::UpdateWorkspace)?;
                let name = name.unwrap_or_else(|| self.name.clone());
                let time_zone = time_zone.unwrap_or_else(|| self.time_zone.clone());
                check::details(&name, &time_zone).map_err(Error::Invalid)?;
                if name != self.name || time_zone != self.time_zone {
                    let event = Event::Updated {
                        name,
                        time_zone,
                        at,
                    };
                    sink.write(event, self).await;
                }
                Ok(())
            }
            Command::Delete { sender, at } => {
                self.permitted(&sender, Operation::DeleteWorkspace)?;
                // Deleting twice is fine: the sender's wish is fulfilled.
                if !self.deleted {
                    sink.write(Event::Deleted { at }, self).await;
                }
                Ok(())
            }
            Command::Erase { sender, at } => {
                if !self.exists() || sender != Sender::Operator {
                    return Err(Error::Unknown);
                }
                // Erasing twice is fine, and what was deleted can be erased.
                if !self.erased {
                    sink.write(Event::Erased { at }, self).await;
                }
                Ok(())
            }
            Command::ChangePlan { sender, plan, at } => {
                self.must_permit(&sender, Operation::SetPlan)?;
                if plan != self.plan {
                    sink.write(Event::PlanChanged { plan, at }, self).await;
                }
                Ok(())
            }
            Command::Invite {
                sender,
                invitation,
                email,
                role,
                token_hash,
                expires_at,
                at,
            } => {
                let invitee = Invitee {
                    invitation,
                    email,
                    role,
                    token_hash,
                    expires_at,
                };
                self.invite(sender, invitee, at, sink).await
            }
            Command::AcceptInvitation {
                token_hash,
                user,
                account_email,
                at,
            } => {
                self.accept(token_hash, (user, account_email), at, sink)
                    .await
            }
            Command::SetRole {
                sender,
                member,
                role,
                at,
            } => self.set_role(&sender, &member, role, at, sink).await,
            Command::Remove { sender, member, at } => self.remove(&sender, &member, at, sink).await,
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Created {
                id,
                name,
                owner,
                owner_email,
                time_zone,
                plan,
                at,
            } => {
                self.identity = Some(Identity { id, created_at: at });
                self.name = name;
                self.time_zone = time_zone;
                self.plan = plan;
                let member = Member {
                    email: owner_email,
                    account_email: None,
                    role: Role::Owner,
                    removed: false,
                    accepted: None,
                };
                self.members.insert(owner, member);
            }
            Event::Updated {
                name, time_zone, ..
            } => {
                self.name = name;
                self.time_zone = time_zone;
            }
            Event::Deleted { .. } => self.deleted = true,
            Event::Erased { .. } => self.erased = true,
            Event::PlanChanged { plan, .. } => self.plan = plan,
            Event::MemberInvited {
                invitation,
                email,
                role,
                token_hash,
                invited_by,
                expires_at,
                at: _,
            } => {
                let open = Invitation {
                    email,
                    role,
                    invited_by,
                    expires_at,
                    token_hash,
                };
                self.invitations.insert(invitation, open);
            }
            Event::MemberJoined {
                invitation,
                user,
                email,
                account_email,
                role,
                at: _,
            } => {
                let accepted = self.invitations.remove(&invitation).map(|open| Accepted {
                    invitation,
                    token_hash: open.token_hash,
                });
                let member = Member {
                    email: Some(email),
                    account_email,
                    role,
                    removed: false,
                    accepted,
                };
                let earlier = self.members.insert(user, member);
                // Who comes back leaves behind the invitation by which they first came.
                let spent = earlier.and_then(|member| member.accepted);
                self.withdrawn.extend(spent.map(|by| by.invitation));
            }
            Event::MemberRoleChanged { member, role, .. } => match member {
                MemberRef::User(user) => {
                    if let Some(member) = self.members.get_mut(&user) {
                        member.role = role;
                    }
                }
                MemberRef::Invitation(id) => {
                    if let Some(open) = self.invitations.get_mut(&id) {
                        open.role = role;
                    }
                }
            },
            Event::MemberRemoved { member, .. } => match member {
                MemberRef::User(user) => {
                    if let Some(member) = self.members.get_mut(&user) {
                        member.removed = true;
                    }
                }
                MemberRef::Invitation(id) => {
                    self.invitations.remove(&id);
                    self.withdrawn.insert(id);
                }
            },
        }
    }
}
