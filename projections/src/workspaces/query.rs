//! Reads of workspaces.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::{PgPool, Row as _, postgres::PgRow};
use toolroom_domain::{UserId, WorkspaceId};
use toolroom_eventlog::Reads;

use super::row::WorkspaceRow;
use crate::{
    page::{Page, PageRequest},
    read::{self, Statement},
};

/// What the list of workspaces is ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkspaceKey {
    /// When it came into being.
    pub created_at: Timestamp,
    /// The workspace's id, among those of one moment.
    pub id: WorkspaceId,
}

/// Whose workspaces to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those of which somebody is a member.
    User(UserId),
    /// All that there are: for whoever runs the server.
    Everybody,
}

/// A workspace, deleted or not.
///
/// # Errors
/// When the database does not answer.
pub async fn by_id(
    reads: &Reads,
    workspace: WorkspaceId,
) -> Result<Option<WorkspaceRow>, sqlx::Error> {
    read::first(reads, workspace, WorkspaceRow::read, || {
        let mut sql = Statement::new(
            "select workspace_id, name, plan, time_zone, is_deleted, created_at
             from projections.workspaces where workspace_id = ",
        );
        sql.push_bind(workspace.uuid());
        sql
    })
    .await
}

/// Workspaces that are not deleted, the newest first: not a read of one workspace, so that `pool` must
/// be of a role that sees all of them.
///
/// # Errors
/// When the database does not answer.
pub async fn across(
    pool: &PgPool,
    whose: &Whose,
    page: &PageRequest<WorkspaceKey>,
) -> Result<Page<WorkspaceRow>, sqlx::Error> {
    let rows = || {
        let mut sql = Statement::new(
            "select workspace_id, name, plan, time_zone, is_deleted, created_at
             from projections.workspaces w where not w.is_deleted",
        );
        push_whose(&mut sql, whose);
        if let Some(after) = &page.after {
            sql.push(" and (w.created_at, w.workspace_id) < (");
            sql.push_bind(after.created_at.to_sqlx());
            sql.push(", ").push_bind(after.id.uuid()).push(")");
        }
        sql.push(" order by w.created_at desc, w.workspace_id desc limit ");
        sql.push_bind(page.limit() + 1);
        sql
    };
    let count = || {
        let mut sql =
            Statement::new("select count(*) from projections.workspaces w where not w.is_deleted");
        push_whose(&mut sql, whose);
        sql
    };
    read::page_across(pool, page, WorkspaceRow::read, rows, count).await
}

fn push_whose(sql: &mut Statement, whose: &Whose) {
    if let Whose::User(user) = whose {
        sql.push(
            " and w.workspace_id in (
                 select m.workspace_id from projections.members m
                 where m.status = 'ACTIVE' and m.user_id = ",
        );
        sql.push_bind(user.as_str().to_owned()).push(")");
    }
}

/// The workspace that a user joined first, of those where they are a member now: for whoever does
/// not say which one they mean. As [`across`], it needs a role that sees all of them.
///
/// # Errors
/// When the database does not answer.
pub async fn first_of(pool: &PgPool, user: &UserId) -> Result<Option<WorkspaceId>, sqlx::Error> {
    let read = |row: &PgRow| Ok(WorkspaceId::from_uuid(row.try_get("workspace_id")?));
    let found = read::all_across(pool, read, || {
        let mut sql = Statement::new(
            "select m.workspace_id
             from projections.members m
             join projections.workspaces w using (workspace_id)
             where m.status = 'ACTIVE' and not w.is_deleted and m.user_id = ",
        );
        sql.push_bind(user.as_str().to_owned());
        sql.push(" order by m.joined_at, m.workspace_id limit 1");
        sql
    })
    .await?;
    Ok(found.into_iter().next())
}
