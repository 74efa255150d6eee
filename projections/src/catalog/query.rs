//! Reads of the catalogue. Each is one statement, and sees one workspace.

use sqlx::Row;
use toolroom_domain::{ToolId, WorkspaceId, tool::Kind};
use toolroom_eventlog::Reads;

use super::row::{ToolRow, VersionRow};
use crate::{
    page::{Page, PageRequest},
    read::{self, Statement},
};

/// Which tools to list. What is left out does not restrict.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolFilter {
    /// How they are run.
    pub kind: Option<Kind>,
    /// Their type: the kind's name, such as `REST`, or the connector's type, such as `SLACK`.
    pub tool_type: Option<String>,
    /// Their category.
    pub category: Option<String>,
    /// A label that they carry.
    pub tag: Option<String>,
    /// Whether they may run.
    pub is_active: Option<bool>,
    /// A text within name, title, description, category or a tag, whatever its case.
    pub search: Option<String>,
}

/// A list of tools by their number. Deleted ones are never listed.
#[derive(Clone, Debug, PartialEq)]
pub struct ListTools {
    /// Which tools.
    pub filter: ToolFilter,
    /// Which part, by number.
    pub page: PageRequest<i32>,
}

fn tools() -> Statement {
    Statement::new(
        "select t.id, t.number, t.workspace_id, t.name, t.title, t.description, t.category,
                t.tags::text as tags, t.kind, t.is_active, t.is_deleted, t.version, t.created_by,
                t.created_at, t.updated_at, t.circuit_open_until, t.last_event,
                v.definition::text as definition
         from projections.tools t
         -- The limit keeps this a look-up by the whole key. The policies restrict both tables to
         -- the workspace, from which the planner would conclude that hardly any rows meet.
         cross join lateral (
             select definition from projections.tool_versions
             where tool_id = t.id and version = t.version
             limit 1
         ) v
         where t.workspace_id = ",
    )
}

/// A tool by its id, deleted or not.
///
/// # Errors
/// When the database does not answer.
pub async fn by_id(
    reads: &Reads,
    workspace: WorkspaceId,
    id: ToolId,
) -> Result<Option<ToolRow>, sqlx::Error> {
    read::first(reads, workspace, ToolRow::read, || {
        let mut sql = tools();
        sql.push_bind(workspace.uuid());
        sql.push(" and t.id = ").push_bind(id.uuid());
        sql
    })
    .await
}

/// Tools by their ids, deleted or not, in no particular order; unknown ids are left out.
///
/// # Errors
/// When the database does not answer.
pub async fn by_ids(
    reads: &Reads,
    workspace: WorkspaceId,
    ids: &[ToolId],
) -> Result<Vec<ToolRow>, sqlx::Error> {
    let ids: Vec<_> = ids.iter().map(|id| id.uuid()).collect();
    read::all(reads, workspace, ToolRow::read, || {
        let mut sql = tools();
        sql.push_bind(workspace.uuid());
        sql.push(" and t.id = any(")
            .push_bind(ids.clone())
            .push(")");
        sql
    })
    .await
}

/// A tool by its name; a deleted one has none.
///
/// # Errors
/// When the database does not answer.
pub async fn by_name(
    reads: &Reads,
    workspace: WorkspaceId,
    name: &str,
) -> Result<Option<ToolRow>, sqlx::Error> {
    read::first(reads, workspace, ToolRow::read, || {
        let mut sql = tools();
        sql.push_bind(workspace.uuid());
        sql.push(" and not t.is_deleted and t.name = ");
        sql.push_bind(name.to_owned());
        // While an aggregate is held back its old name may still stand beside the new holder.
        sql.push(" order by t.last_event desc limit 1");
        sql
    })
    .await
}

/// A tool by its integer id, deleted or not.
///
/// # Errors
/// When the database does not answer.
pub async fn by_number(
    reads: &Reads,
    workspace: WorkspaceId,
    number: i32,
) -> Result<Option<ToolRow>, sqlx::Error> {
    read::first(reads, workspace, ToolRow::read, || {
        let mut sql = tools();
        sql.push_bind(workspace.uuid());
        sql.push(" and t.number = ").push_bind(number);
        sql
    })
    .await
}

fn push_filter(sql: &mut Statement, filter: &ToolFilter) {
    sql.push(" and not t.is_deleted");
    if let Some(kind) = filter.kind {
        sql.push(" and t.kind = ").push_bind(kind.as_str());
    }
    if let Some(tool_type) = &filter.tool_type {
        sql.push(" and t.tool_type = ").push_bind(tool_type.clone());
    }
    if let Some(category) = &filter.category {
        sql.push(" and t.category = ").push_bind(category.clone());
    }
    if let Some(tag) = &filter.tag {
        sql.push(" and t.tags ? ").push_bind(tag.clone());
    }
    if let Some(is_active) = filter.is_active {
        sql.push(" and t.is_active = ").push_bind(is_active);
    }
    if let Some(search) = filter.search.as_deref().filter(|s| !s.is_empty()) {
        sql.push(
            " and concat_ws(e'\\n', t.name, t.title, t.description, t.category, t.tags) ilike ",
        )
        .push_bind(read::contains_pattern(search));
    }
}

/// The tools of a workspace by number.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    reads: &Reads,
    workspace: WorkspaceId,
    list: &ListTools,
) -> Result<Page<ToolRow>, sqlx::Error> {
    let rows = || {
        let mut sql = tools();
        sql.push_bind(workspace.uuid());
        push_filter(&mut sql, &list.filter);
        if let Some(after) = list.page.after {
            sql.push(" and t.number > ").push_bind(after);
        }
        sql.push(" order by t.number limit ");
        sql.push_bind(list.page.limit() + 1);
        sql
    };
    let count = || {
        let mut sql =
            Statement::new("select count(*) from projections.tools t where t.workspace_id = ");
        sql.push_bind(workspace.uuid());
        push_filter(&mut sql, &list.filter);
        sql
    };
    read::page(reads, workspace, &list.page, ToolRow::read, rows, count).await
}

/// The names of the tools that are not deleted, by number: the first `limit`.
///
/// # Errors
/// When the database does not answer.
pub async fn names(
    reads: &Reads,
    workspace: WorkspaceId,
    limit: i64,
) -> Result<Vec<String>, sqlx::Error> {
    read::all(
        reads,
        workspace,
        |row| row.try_get("name"),
        || {
            let mut sql =
                Statement::new("select t.name from projections.tools t where t.workspace_id = ");
            sql.push_bind(workspace.uuid());
            sql.push(" and not t.is_deleted order by t.number limit ");
            sql.push_bind(limit);
            sql
        },
    )
    .await
}

fn tool_versions() -> Statement {
    Statement::new(
        "select tool_id, workspace_id, version, definition::text as definition, changed_at, changed_by,
                restored_from, last_event
         from projections.tool_versions
         where workspace_id = ",
    )
}

/// The versions of a tool, oldest first.
///
/// # Errors
/// When the database does not answer.
pub async fn versions(
    reads: &Reads,
    workspace: WorkspaceId,
    tool: ToolId,
    page: &PageRequest<u32>,
) -> Result<Page<VersionRow>, sqlx::Error> {
    let rows = || {
        let mut sql = tool_versions();
        sql.push_bind(workspace.uuid());
        sql.push(" and tool_id = ").push_bind(tool.uuid());
        if let Some(after) = page.after {
            sql.push(" and version > ").push_bind(i64::from(after));
        }
        sql.push(" order by version limit ");
        sql.push_bind(page.limit() + 1);
        sql
    };
    let count = || {
        let mut sql =
            Statement::new("select count(*) from projections.tool_versions where workspace_id = ");
        sql.push_bind(workspace.uuid());
        sql.push(" and tool_id = ").push_bind(tool.uuid());
        sql
    };
    read::page(reads, workspace, page, VersionRow::read, rows, count).await
}

/// One version of a tool.
///
/// # Errors
/// When the database does not answer.
pub async fn version(
    reads: &Reads,
    workspace: WorkspaceId,
    tool: ToolId,
    version: u32,
) -> Result<Option<VersionRow>, sqlx::Error> {
    read::first(reads, workspace, VersionRow::read, || {
        let mut sql = tool_versions();
        sql.push_bind(workspace.uuid());
        sql.push(" and tool_id = ").push_bind(tool.uuid());
        sql.push(" and version = ").push_bind(i64::from(version));
        sql
    })
    .await
}
