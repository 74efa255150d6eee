//! How the table of workspaces is made and kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx};
use sqlx::{PgConnection, Row, postgres::PgRow};
use toolroom_domain::{
    WorkspaceId,
    workspace::{Event, Plan},
};
use toolroom_eventlog::{RecordedEvent, database::AUTHENTICATOR};

use crate::{
    projection::{ApplyError, Projection, Tables, aggregate_id, decode},
    read,
};

/// The table `workspaces`.
#[derive(Clone, Copy, Debug)]
pub struct Workspaces;

/// A workspace as its row has it.
struct Entry {
    name: String,
    plan: Plan,
    time_zone: String,
    is_deleted: bool,
    created_at: Timestamp,
    last_event: i64,
}

#[async_trait]
impl Projection for Workspaces {
    fn name(&self) -> &'static str {
        "workspaces"
    }

    fn version(&self) -> i32 {
        1
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &["workspace"]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["workspaces"]
    }

    fn create(&self, tables: &Tables) -> Vec<String> {
        let workspaces = tables.table("workspaces");
        let newest = tables.index("workspaces_newest");
        vec![
            format!(
                "create table {workspaces} (
                     workspace_id uuid primary key,
                     name         text not null,
                     plan         text not null,
                     time_zone    text not null,
                     is_deleted   boolean not null,
                     created_at   timestamptz not null,
                     last_event   bigint not null
                 )"
            ),
            format!("create index {newest} on {workspaces} (created_at desc, workspace_id desc)"),
            // Which a caller may select is found out before one is.
            format!("grant select on {workspaces} to {AUTHENTICATOR}"),
        ]
    }

    async fn apply(
        &self,
        tx: &mut PgConnection,
        tables: &Tables,
        events: &[Arc<RecordedEvent>],
    ) -> Result<(), ApplyError> {
        let mut changes = Vec::new();
        let mut created = BTreeSet::new();
        let mut to_load = BTreeSet::new();
        for event in events {
            let id: WorkspaceId = aggregate_id(event)?;
            let change: Event = decode(event)?;
            match change {
                Event::Created { .. } => {
                    created.insert(id);
                }
                // Members have a table of their own.
                Event::MemberInvited { .. }
                | Event::MemberJoined { .. }
                | Event::MemberRoleChanged { .. }
                | Event::MemberRemoved { .. } => continue,
                // The row goes then, as those of all projections do.
                Event::Erased { .. } => continue,
                Event::Updated { .. } | Event::Deleted { .. } | Event::PlanChanged { .. } => {
                    if !created.contains(&id) {
                        to_load.insert(id);
                    }
                }
            }
            changes.push((id, event, change));
        }
        let mut entries = load(tx, tables, &to_load).await?;
        for (id, event, change) in changes {
            change_entry(&mut entries, id, event, change)?;
        }
        write(tx, tables, &entries).await
    }
}

fn change_entry(
    entries: &mut BTreeMap<WorkspaceId, Entry>,
    id: WorkspaceId,
    event: &RecordedEvent,
    change: Event,
) -> Result<(), ApplyError> {
    if let Event::Created {
        name,
        time_zone,
        plan,
        at,
        ..
    } = change
    {
        let entry = Entry {
            name,
            plan,
            time_zone,
            is_deleted: false,
            created_at: at,
            last_event: event.position,
        };
        entries.insert(id, entry);
        return Ok(());
    }
    let Some(entry) = entries.get_mut(&id) else {
        return Err(ApplyError::event(event, "the workspace was never created"));
    };
    entry.last_event = event.position;
    match change {
        Event::Updated {
            name, time_zone, ..
        } => {
            entry.name = name;
            entry.time_zone = time_zone;
        }
        Event::Deleted { .. } => entry.is_deleted = true,
        Event::PlanChanged { plan, .. } => entry.plan = plan,
        Event::Created { .. }
        | Event::Erased { .. }
        | Event::MemberInvited { .. }
        | Event::MemberJoined { .. }
        | Event::MemberRoleChanged { .. }
        | Event::MemberRemoved { .. } => {}
    }
    Ok(())
}

fn plan_text(plan: Plan) -> &'static str {
    match plan {
        Plan::Free => "FREE",
        Plan::Pro => "PRO",
        Plan::Enterprise => "ENTERPRISE",
    }
}

async fn load(
    tx: &mut PgConnection,
    tables: &Tables,
    ids: &BTreeSet<WorkspaceId>,
) -> Result<BTreeMap<WorkspaceId, Entry>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<_> = ids.iter().map(|id| id.uuid()).collect();
    let sql = format!(
        "select workspace_id, name, plan, time_zone, is_deleted, created_at, last_event
         from {} where workspace_id = any($1)",
        tables.table("workspaces")
    );
    let rows = sqlx::query(&sql).bind(ids).fetch_all(tx).await?;
    rows.iter().map(entry).collect()
}

fn entry(row: &PgRow) -> Result<(WorkspaceId, Entry), sqlx::Error> {
    let id = WorkspaceId::from_uuid(row.try_get("workspace_id")?);
    let entry = Entry {
        name: row.try_get("name")?,
        plan: read::variant(row, "plan")?,
        time_zone: row.try_get("time_zone")?,
        is_deleted: row.try_get("is_deleted")?,
        created_at: row.try_get::<SqlTimestamp, _>("created_at")?.to_jiff(),
        last_event: row.try_get("last_event")?,
    };
    Ok((id, entry))
}

async fn write(
    tx: &mut PgConnection,
    tables: &Tables,
    entries: &BTreeMap<WorkspaceId, Entry>,
) -> Result<(), ApplyError> {
    if entries.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        ($id:ident, $entry:ident => $value:expr) => {
            entries
                .iter()
                .map(|($id, $entry)| $value)
                .collect::<Vec<_>>()
        };
    }
    let sql = format!(
        "insert into {} as w
             (workspace_id, name, plan, time_zone, is_deleted, created_at, last_event)
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::boolean[],
                              $6::timestamptz[], $7::bigint[])
         on conflict (workspace_id) do update
         set name = excluded.name, plan = excluded.plan, time_zone = excluded.time_zone,
             is_deleted = excluded.is_deleted, last_event = excluded.last_event",
        tables.table("workspaces")
    );
    sqlx::query(&sql)
        .bind(column!(id, _e => id.uuid()))
        .bind(column!(_id, e => e.name.as_str()))
        .bind(column!(_id, e => plan_text(e.plan)))
        .bind(column!(_id, e => e.time_zone.as_str()))
        .bind(column!(_id, e => e.is_deleted))
        .bind(column!(_id, e => e.created_at.to_sqlx()))
        .bind(column!(_id, e => e.last_event))
        .execute(tx)
        .await?;
    Ok(())
}
