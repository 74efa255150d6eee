//! How the table of members is made and kept.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use jiff_sqlx::ToSqlx;
use sqlx::{PgConnection, Row};
use toolroom_domain::{InvitationId, WorkspaceId, workspace::Event};
use toolroom_eventlog::{RecordedEvent, database::AUTHENTICATOR};

use super::{
    fold::{Fold, Place, touched},
    row::{MemberRow, Status},
};
use crate::projection::{ApplyError, Projection, Tables, aggregate_id, decode};

/// The table `members`: a row for each user who joined, and for each invitation until it is
/// accepted.
#[derive(Clone, Copy, Debug)]
pub struct Members;

#[async_trait]
impl Projection for Members {
    fn name(&self) -> &'static str {
        "members"
    }

    fn version(&self) -> i32 {
        2
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &["workspace"]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["members"]
    }

    fn create(&self, tables: &Tables) -> Vec<String> {
        let members = tables.table("members");
        let (newest, user) = (tables.index("members_newest"), tables.index("members_user"));
        vec![
            format!(
                "create table {members} (
                     workspace_id  uuid not null,
                     -- a user's id, or an invitation's until it is accepted
                     member_id     text not null,
                     -- none until they joined
                     user_id       text,
                     invitation_id uuid,
                     email         text,
                     role          text not null,
                     status        text not null,
                     added_at      timestamptz not null,
                     joined_at     timestamptz,
                     last_event    bigint not null,
                     primary key (workspace_id, member_id)
                 )"
            ),
            format!(
                "create index {newest} on {members} (workspace_id, added_at desc, member_id desc)"
            ),
            // A user's workspaces are looked up before one is selected.
            format!("create index {user} on {members} (user_id) where user_id is not null"),
            format!("grant select on {members} to {AUTHENTICATOR}"),
        ]
    }

    async fn apply(
        &self,
        tx: &mut PgConnection,
        tables: &Tables,
        events: &[Arc<RecordedEvent>],
    ) -> Result<(), ApplyError> {
        let mut changes = Vec::with_capacity(events.len());
        let mut to_load = BTreeSet::new();
        for event in events {
            let workspace: WorkspaceId = aggregate_id(event)?;
            let change: Event = decode(event)?;
            to_load.extend(touched(workspace, &change));
            changes.push((workspace, event, change));
        }
        let mut fold = Fold::default();
        load(tx, tables, &to_load, &mut fold).await?;
        for (workspace, event, change) in changes {
            fold.apply(workspace, event, change)?;
        }
        delete(tx, tables, &fold.gone).await?;
        write(tx, tables, &fold).await
    }
}

fn columns(places: &BTreeSet<Place>) -> (Vec<uuid::Uuid>, Vec<&str>) {
    let each = places.iter();
    each.map(|(workspace, id)| (workspace.uuid(), id.as_str()))
        .unzip()
}

async fn load(
    tx: &mut PgConnection,
    tables: &Tables,
    places: &BTreeSet<Place>,
    fold: &mut Fold,
) -> Result<(), sqlx::Error> {
    if places.is_empty() {
        return Ok(());
    }
    let (workspaces, ids) = columns(places);
    let sql = format!(
        "select m.workspace_id, m.member_id, m.invitation_id, m.email, m.role, m.status,
                m.added_at, m.joined_at, m.last_event
         from {} m
         join unnest($1::uuid[], $2::text[]) as u (workspace_id, member_id)
              using (workspace_id, member_id)",
        tables.table("members")
    );
    let query = sqlx::query(&sql).bind(workspaces).bind(ids);
    for row in query.fetch_all(tx).await? {
        let member = MemberRow::read(&row)?;
        let place = (member.workspace, member.id.clone());
        let last_event = row.try_get("last_event")?;
        fold.entries.insert(place, (member, last_event));
    }
    Ok(())
}

async fn delete(
    tx: &mut PgConnection,
    tables: &Tables,
    places: &BTreeSet<Place>,
) -> Result<(), ApplyError> {
    if places.is_empty() {
        return Ok(());
    }
    let (workspaces, ids) = columns(places);
    let sql = format!(
        "delete from {} m
         using unnest($1::uuid[], $2::text[]) as u (workspace_id, member_id)
         where m.workspace_id = u.workspace_id and m.member_id = u.member_id",
        tables.table("members")
    );
    let query = sqlx::query(&sql).bind(workspaces).bind(ids);
    query.execute(tx).await?;
    Ok(())
}

async fn write(tx: &mut PgConnection, tables: &Tables, fold: &Fold) -> Result<(), ApplyError> {
    if fold.entries.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        ($row:ident, $last:ident => $value:expr) => {
            fold.entries
                .values()
                .map(|($row, $last)| $value)
                .collect::<Vec<_>>()
        };
    }
    // Before they joined there is no user.
    let user = |row: &MemberRow| {
        let is_user = row.joined_at.is_some();
        is_user.then(|| row.id.clone())
    };
    let sql = format!(
        "insert into {} as m
             (workspace_id, member_id, user_id, invitation_id, email, role, status, added_at,
              joined_at, last_event)
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[],
                              $6::text[], $7::text[], $8::timestamptz[], $9::timestamptz[],
                              $10::bigint[])
         on conflict (workspace_id, member_id) do update
         set invitation_id = excluded.invitation_id, email = excluded.email,
             role = excluded.role, status = excluded.status, added_at = excluded.added_at,
             joined_at = excluded.joined_at, last_event = excluded.last_event",
        tables.table("members")
    );
    sqlx::query(&sql)
        .bind(column!(row, _l => row.workspace.uuid()))
        .bind(column!(row, _l => row.id.as_str()))
        .bind(column!(row, _l => user(row)))
        .bind(column!(row, _l => row.invitation.map(InvitationId::uuid)))
        .bind(column!(row, _l => row.email.as_deref()))
        .bind(column!(row, _l => row.role.as_str()))
        .bind(column!(row, _l => Status::as_str(row.status)))
        .bind(column!(row, _l => row.added_at.to_sqlx()))
        .bind(column!(row, _l => row.joined_at.map(ToSqlx::to_sqlx)))
        .bind(column!(_r, last => *last))
        .execute(tx)
        .await?;
    Ok(())
}
