//! Reads of members. Each is one statement, and sees one workspace.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use toolroom_domain::{WorkspaceId, workspace::MemberRef};
use toolroom_eventlog::Reads;

use super::row::MemberRow;
use crate::{
    page::{Page, PageRequest},
    read::{self, Statement},
};

/// What the list of members is ordered by. It stays when somebody invited joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberKey {
    /// When they were invited, or made the workspace.
    pub added_at: Timestamp,
    /// The member's id, among those of one moment.
    pub id: String,
}

fn members() -> Statement {
    Statement::new(
        "select workspace_id, member_id, invitation_id, email, role, status, added_at, joined_at
         from projections.members where workspace_id = ",
    )
}

/// A member, present or not. An invitation that was accepted means whoever accepted it.
///
/// # Errors
/// When the database does not answer.
pub async fn find(
    reads: &Reads,
    workspace: WorkspaceId,
    member: &MemberRef,
) -> Result<Option<MemberRow>, sqlx::Error> {
    read::first(reads, workspace, MemberRow::read, || {
        let mut sql = members();
        sql.push_bind(workspace.uuid());
        match member {
            MemberRef::User(user) => {
                sql.push(" and member_id = ")
                    .push_bind(user.as_str().to_owned());
            }
            MemberRef::Invitation(id) => {
                sql.push(" and invitation_id = ").push_bind(id.uuid());
            }
        }
        sql
    })
    .await
}

/// Who belongs to a workspace, may join it or did belong to it, the newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    reads: &Reads,
    workspace: WorkspaceId,
    page: &PageRequest<MemberKey>,
) -> Result<Page<MemberRow>, sqlx::Error> {
    let rows = || {
        let mut sql = members();
        sql.push_bind(workspace.uuid());
        if let Some(after) = &page.after {
            sql.push(" and (added_at, member_id) < (");
            sql.push_bind(after.added_at.to_sqlx());
            sql.push(", ").push_bind(after.id.clone()).push(")");
        }
        sql.push(" order by added_at desc, member_id desc limit ");
        sql.push_bind(page.limit() + 1);
        sql
    };
    let count = || {
        let mut sql =
            Statement::new("select count(*) from projections.members where workspace_id = ");
        sql.push_bind(workspace.uuid());
        sql
    };
    read::page(reads, workspace, page, MemberRow::read, rows, count).await
}
