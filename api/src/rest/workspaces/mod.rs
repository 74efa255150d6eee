//! Workspaces, their members, and invitations: GraphQL's fields in snake_case.

mod accept_invitation;
mod create_workspace;
mod delete_workspace;
mod get_workspace;
mod invite_member;
mod list_members;
mod list_workspaces;
mod member;
mod remove_member;
mod set_member_role;
mod update_workspace;
mod workspace;

use toolroom_domain::access::Operation as O;

use super::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    const ALL: &str = "/api/v1/workspaces";
    const ONE: &str = "/api/v1/workspaces/{workspace_id}";
    const MEMBERS: &str = "/api/v1/workspaces/{workspace_id}/members";
    const MEMBER: &str = "/api/v1/workspaces/{workspace_id}/members/{user_id}";
    const ACCEPT: &str = "/api/v1/invitations/accept";
    routes
        .get(ALL, O::Workspaces, list_workspaces::handle)
        .post(ALL, O::CreateWorkspace, create_workspace::handle)
        .get(ONE, O::Workspaces, get_workspace::handle)
        .patch(ONE, O::UpdateWorkspace, update_workspace::handle)
        .delete(ONE, O::DeleteWorkspace, delete_workspace::handle)
        .get(MEMBERS, O::Members, list_members::handle)
        .post(MEMBERS, O::InviteMember, invite_member::handle)
        .patch(MEMBER, O::SetMemberRole, set_member_role::handle)
        .delete(MEMBER, O::RemoveMember, remove_member::handle)
        .post(ACCEPT, O::AcceptInvitation, accept_invitation::handle)
}
