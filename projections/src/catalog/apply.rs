//! How the catalogue's tables are made and kept.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx};
use sqlx::{PgConnection, Row, postgres::PgRow};
use toolroom_domain::{ToolId, WorkspaceId, tool::Event};
use toolroom_eventlog::RecordedEvent;

use super::{
    fold::{Entry, Fold},
    row::VersionRow,
};
use crate::{
    projection::{ApplyError, Projection, Tables, aggregate_id, decode},
    read,
};

/// The catalogue: `tools`, and `tool_versions` with what each version does.
#[derive(Clone, Copy, Debug)]
pub struct Catalog;

#[async_trait]
impl Projection for Catalog {
    fn name(&self) -> &'static str {
        "catalog"
    }

    fn version(&self) -> i32 {
        2
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &["tool"]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["tools", "tool_versions"]
    }

    fn create(&self, tables: &Tables) -> Vec<String> {
        let (tools, versions) = (tables.table("tools"), tables.table("tool_versions"));
        let (number, name) = (tables.index("tools_number"), tables.index("tools_name"));
        vec![
            format!(
                "create table {tools} (
                     id           uuid primary key,
                     workspace_id uuid not null,
                     number       integer not null,
                     name         text not null,
                     title        text,
                     description  text not null,
                     category     text,
                     tags         jsonb not null,
                     kind         text not null,
                     -- the kind, or the connector's type
                     tool_type    text not null,
                     is_active    boolean not null,
                     is_deleted   boolean not null,
                     version      bigint not null,
                     created_by   text not null,
                     created_at   timestamptz not null,
                     updated_at   timestamptz not null,
                     -- while its circuit is not closed: from when on a call may try it
                     circuit_open_until timestamptz,
                     last_event   bigint not null
                 ) with (fillfactor = 80)"
            ),
            format!("create index {number} on {tools} (workspace_id, number)"),
            // Not unique: while an aggregate is held back, its old name may stand beside the new
            // holder's.
            format!("create index {name} on {tools} (workspace_id, name)"),
            format!(
                "create table {versions} (
                     tool_id       uuid not null,
                     version       bigint not null,
                     workspace_id  uuid not null,
                     -- as text: a schema may hold \\u0000, which jsonb refuses
                     definition    json not null,
                     changed_at    timestamptz not null,
                     changed_by    text not null,
                     restored_from bigint,
                     last_event    bigint not null,
                     primary key (tool_id, version)
                 )"
            ),
        ]
    }

    async fn apply(
        &self,
        tx: &mut PgConnection,
        tables: &Tables,
        events: &[Arc<RecordedEvent>],
    ) -> Result<(), ApplyError> {
        let mut changes = Vec::with_capacity(events.len());
        let mut registered = BTreeSet::new();
        let mut to_load = BTreeSet::new();
        for event in events {
            let id: ToolId = aggregate_id(event)?;
            let change: Event = decode(event)?;
            if matches!(change, Event::Registered { .. }) {
                registered.insert(id);
            } else if !registered.contains(&id) {
                to_load.insert(id);
            }
            changes.push((event, change));
        }
        let mut fold = Fold::default();
        for entry in load(tx, tables, &to_load).await? {
            fold.entries.insert(entry.id, entry);
        }
        for (event, change) in changes {
            fold.apply(event, change)?;
        }
        write_entries(tx, tables, &fold).await?;
        write_versions(tx, tables, &fold.versions).await
    }
}

async fn load(
    tx: &mut PgConnection,
    tables: &Tables,
    ids: &BTreeSet<ToolId>,
) -> Result<Vec<Entry>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<_> = ids.iter().map(|id| id.uuid()).collect();
    let sql = format!(
        "select id, workspace_id, number, name, title, description, category, tags::text as tags,
                kind, tool_type, is_active, is_deleted, version, created_by, created_at, updated_at,
                circuit_open_until, last_event
         from {} where id = any($1)",
        tables.table("tools")
    );
    let rows = sqlx::query(&sql).bind(ids).fetch_all(tx).await?;
    rows.iter().map(entry).collect()
}

fn entry(row: &PgRow) -> Result<Entry, sqlx::Error> {
    Ok(Entry {
        id: ToolId::from_uuid(row.try_get("id")?),
        number: row.try_get("number")?,
        workspace: WorkspaceId::from_uuid(row.try_get("workspace_id")?),
        name: row.try_get("name")?,
        title: row.try_get("title")?,
        description: row.try_get("description")?,
        category: row.try_get("category")?,
        tags: read::json(row, "tags")?,
        kind: read::variant(row, "kind")?,
        tool_type: row.try_get("tool_type")?,
        is_active: row.try_get("is_active")?,
        is_deleted: row.try_get("is_deleted")?,
        version: read::unsigned(row, "version")?,
        created_by: row.try_get("created_by")?,
        created_at: row.try_get::<SqlTimestamp, _>("created_at")?.to_jiff(),
        updated_at: row.try_get::<SqlTimestamp, _>("updated_at")?.to_jiff(),
        circuit_open_until: row
            .try_get::<Option<SqlTimestamp>, _>("circuit_open_until")?
            .map(SqlTimestamp::to_jiff),
        last_event: row.try_get("last_event")?,
    })
}

async fn write_entries(
    tx: &mut PgConnection,
    tables: &Tables,
    fold: &Fold,
) -> Result<(), ApplyError> {
    let entries: Vec<&Entry> = fold.entries.values().collect();
    macro_rules! column {
        ($entry:ident => $value:expr) => {
            entries.iter().map(|$entry| $value).collect::<Vec<_>>()
        };
    }
    let sql = format!(
        "insert into {} as t
             (id, workspace_id, number, name, title, description, category, tags, kind, is_active,
              is_deleted, version, created_by, created_at, updated_at, last_event,
              circuit_open_until, tool_type)
         select u.id, u.workspace_id, u.number, u.name, u.title, u.description, u.category,
                u.tags::jsonb, u.kind, u.is_active, u.is_deleted, u.version, u.created_by,
                u.created_at, u.updated_at, u.last_event, u.circuit_open_until, u.tool_type
         from unnest($1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::text[], $6::text[],
                     $7::text[], $8::text[], $9::text[], $10::boolean[], $11::boolean[],
                     $12::bigint[], $13::text[], $14::timestamptz[], $15::timestamptz[],
                     $16::bigint[], $17::timestamptz[], $18::text[])
              as u (id, workspace_id, number, name, title, description, category, tags, kind,
                    is_active, is_deleted, version, created_by, created_at, updated_at, last_event,
                    circuit_open_until, tool_type)
         on conflict (id) do update
         set name = excluded.name, title = excluded.title, description = excluded.description,
             category = excluded.category, tags = excluded.tags, kind = excluded.kind,
             tool_type = excluded.tool_type, is_active = excluded.is_active, is_deleted = excluded.is_deleted,
             version = excluded.version, updated_at = excluded.updated_at,
             circuit_open_until = excluded.circuit_open_until,
             last_event = excluded.last_event",
        tables.table("tools")
    );
    sqlx::query(&sql)
        .bind(column!(e => e.id.uuid()))
        .bind(column!(e => e.workspace.uuid()))
        .bind(column!(e => e.number))
        .bind(column!(e => e.name.as_str()))
        .bind(column!(e => e.title.as_deref()))
        .bind(column!(e => e.description.as_str()))
        .bind(column!(e => e.category.as_deref()))
        .bind(column!(e => serde_json::Value::from(e.tags.as_slice()).to_string()))
        .bind(column!(e => e.kind.as_str()))
        .bind(column!(e => e.is_active))
        .bind(column!(e => e.is_deleted))
        .bind(column!(e => i64::from(e.version)))
        .bind(column!(e => e.created_by.as_str()))
        .bind(column!(e => e.created_at.to_sqlx()))
        .bind(column!(e => e.updated_at.to_sqlx()))
        .bind(column!(e => e.last_event))
        .bind(column!(e => e.circuit_open_until.map(ToSqlx::to_sqlx)))
        .bind(column!(e => e.tool_type.as_str()))
        .execute(tx)
        .await?;
    Ok(())
}

async fn write_versions(
    tx: &mut PgConnection,
    tables: &Tables,
    versions: &[VersionRow],
) -> Result<(), ApplyError> {
    if versions.is_empty() {
        return Ok(());
    }
    let definitions = versions
        .iter()
        .map(|version| {
            serde_json::to_string(&version.definition).map_err(|error| ApplyError::Event {
                position: version.last_event,
                reason: error.to_string(),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    macro_rules! column {
        ($version:ident => $value:expr) => {
            versions.iter().map(|$version| $value).collect::<Vec<_>>()
        };
    }
    let sql = format!(
        "insert into {}
             (tool_id, version, workspace_id, definition, changed_at, changed_by, restored_from,
              last_event)
         select u.tool_id, u.version, u.workspace_id, u.definition::json, u.changed_at,
                u.changed_by, u.restored_from, u.last_event
         from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::timestamptz[],
                     $6::text[], $7::bigint[], $8::bigint[])
              as u (tool_id, version, workspace_id, definition, changed_at, changed_by,
                    restored_from, last_event)",
        tables.table("tool_versions")
    );
    sqlx::query(&sql)
        .bind(column!(v => v.tool.uuid()))
        .bind(column!(v => i64::from(v.version)))
        .bind(column!(v => v.workspace.uuid()))
        .bind(definitions)
        .bind(column!(v => v.changed_at.to_sqlx()))
        .bind(column!(v => v.changed_by.as_str()))
        .bind(column!(v => v.restored_from.map(i64::from)))
        .bind(column!(v => v.last_event))
        .execute(tx)
        .await?;
    Ok(())
}
