//! Reads of secrets. Each is one statement, and sees one workspace.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::Row as _;
use toolroom_domain::WorkspaceId;
use toolroom_eventlog::Reads;

use super::row::SecretRow;
use crate::{
    audit::query::{AuditRow, push_found},
    page::{Page, PageRequest},
    read::{self, Statement},
};

/// The secrets of a workspace, each with its last use, up to where the condition begins.
const SECRETS: &str = "
    select s.name, s.version, s.created_at, s.updated_at, u.used_at as last_used_at
    from projections.secrets s
    left join lateral (
        select used_at from projections.secret_uses u
        where u.workspace_id = s.workspace_id and u.name = s.name
        order by u.position desc limit 1
    ) u on true
    where s.workspace_id = ";

/// The secrets of a workspace by name.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    reads: &Reads,
    workspace: WorkspaceId,
    page: &PageRequest<String>,
) -> Result<Page<SecretRow>, sqlx::Error> {
    let rows = || {
        let mut sql = Statement::new(SECRETS);
        sql.push_bind(workspace.uuid());
        if let Some(after) = &page.after {
            sql.push(" and s.name collate \"C\" > ")
                .push_bind(after.clone());
        }
        sql.push(" order by s.name collate \"C\" limit ");
        sql.push_bind(page.limit() + 1);
        sql
    };
    let count = || count(workspace);
    read::page(reads, workspace, page, SecretRow::read, rows, count).await
}

fn count(workspace: WorkspaceId) -> Statement {
    let mut sql = Statement::new("select count(*) from projections.secrets where workspace_id = ");
    sql.push_bind(workspace.uuid());
    sql
}

/// How many secrets a workspace has.
///
/// # Errors
/// When the database does not answer.
pub async fn number(reads: &Reads, workspace: WorkspaceId) -> Result<i64, sqlx::Error> {
    let counted = read::first(reads, workspace, |row| row.try_get(0), || count(workspace));
    Ok(counted.await?.unwrap_or_default())
}

/// The secret of a name.
///
/// # Errors
/// When the database does not answer.
pub async fn find(
    reads: &Reads,
    workspace: WorkspaceId,
    name: &str,
) -> Result<Option<SecretRow>, sqlx::Error> {
    read::first(reads, workspace, SecretRow::read, || {
        let mut sql = Statement::new(SECRETS);
        sql.push_bind(workspace.uuid());
        sql.push(" and s.name collate \"C\" = ")
            .push_bind(name.to_owned());
        sql
    })
    .await
}

/// When a job was given the secret of a name last.
///
/// # Errors
/// When the database does not answer.
pub async fn last_use(
    reads: &Reads,
    workspace: WorkspaceId,
    name: &str,
) -> Result<Option<Timestamp>, sqlx::Error> {
    let used: Option<SqlTimestamp> = read::first(
        reads,
        workspace,
        |row| row.try_get(0),
        || {
            let mut sql =
                Statement::new("select used_at from projections.secret_uses where workspace_id = ");
            sql.push_bind(workspace.uuid());
            sql.push(" and name = ").push_bind(name.to_owned());
            sql.push(" order by position desc limit 1");
            sql
        },
    )
    .await?;
    Ok(used.map(SqlTimestamp::to_jiff))
}

/// The events that tell of a secret's uses, the newest first, by position.
///
/// # Errors
/// When the database does not answer.
pub async fn usages(
    reads: &Reads,
    workspace: WorkspaceId,
    name: &str,
    page: &PageRequest<i64>,
) -> Result<Page<AuditRow>, sqlx::Error> {
    let rows = || {
        let mut sql = Statement::new("with found as materialized (");
        sql.push("select position from projections.secret_uses where workspace_id = ");
        sql.push_bind(workspace.uuid());
        sql.push(" and name = ").push_bind(name.to_owned());
        if let Some(after) = page.after {
            sql.push(" and position < ").push_bind(after);
        }
        sql.push(" order by position desc limit ");
        sql.push_bind(page.limit() + 1).push(")");
        push_found(&mut sql, " desc");
        sql
    };
    let count = || {
        let mut sql =
            Statement::new("select count(*) from projections.secret_uses where workspace_id = ");
        sql.push_bind(workspace.uuid());
        sql.push(" and name = ").push_bind(name.to_owned());
        sql
    };
    read::page(reads, workspace, page, AuditRow::read, rows, count).await
}
