//! Reads of API keys. Each is one statement, and sees one workspace.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::Row as _;
use toolroom_domain::{ApiKeyId, WorkspaceId};
use toolroom_eventlog::Reads;

use super::row::ApiKeyRow;
use crate::{
    page::{Page, PageRequest},
    read::{self, Statement},
};

/// What the list of keys is ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiKeyOrder {
    /// When it was made.
    pub created_at: Timestamp,
    /// The key's id, among those of one moment.
    pub id: ApiKeyId,
}

/// The keys of a workspace, revoked and expired ones too, the newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    reads: &Reads,
    workspace: WorkspaceId,
    page: &PageRequest<ApiKeyOrder>,
) -> Result<Page<ApiKeyRow>, sqlx::Error> {
    let rows = || {
        let mut sql = Statement::new(
            "select id, workspace_id, name, prefix, role, operator, created_by, created_at,
                    expires_at, revoked_at
             from projections.api_keys where workspace_id = ",
        );
        sql.push_bind(workspace.uuid());
        if let Some(after) = &page.after {
            sql.push(" and (created_at, id) < (");
            sql.push_bind(after.created_at.to_sqlx());
            sql.push(", ").push_bind(after.id.uuid()).push(")");
        }
        sql.push(" order by created_at desc, id desc limit ");
        sql.push_bind(page.limit() + 1);
        sql
    };
    let count = || {
        let mut sql =
            Statement::new("select count(*) from projections.api_keys where workspace_id = ");
        sql.push_bind(workspace.uuid());
        sql
    };
    read::page(reads, workspace, page, ApiKeyRow::read, rows, count).await
}

/// How many keys of a workspace open it at a moment.
///
/// # Errors
/// When the database does not answer.
pub async fn open_at(
    reads: &Reads,
    workspace: WorkspaceId,
    at: Timestamp,
) -> Result<i64, sqlx::Error> {
    let count = || {
        let mut sql = Statement::new(
            "select count(*) from projections.api_keys
             where revoked_at is null and workspace_id = ",
        );
        sql.push_bind(workspace.uuid());
        sql.push(" and (expires_at is null or expires_at > ");
        sql.push_bind(at.to_sqlx()).push(")");
        sql
    };
    let counted = read::first(reads, workspace, |row| row.try_get(0), count).await?;
    Ok(counted.unwrap_or_default())
}
