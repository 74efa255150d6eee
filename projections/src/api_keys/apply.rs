//! How the table of API keys is made and kept.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use toolroom_domain::{ApiKeyId, api_key::Event};
use toolroom_eventlog::RecordedEvent;

use super::row::ApiKeyRow;
use crate::projection::{ApplyError, Projection, Tables, aggregate_id, decode};

/// The table `api_keys`.
#[derive(Clone, Copy, Debug)]
pub struct ApiKeys;

#[async_trait]
impl Projection for ApiKeys {
    fn name(&self) -> &'static str {
        "api_keys"
    }

    fn version(&self) -> i32 {
        2
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &["api_key"]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["api_keys"]
    }

    fn create(&self, tables: &Tables) -> Vec<String> {
        let (keys, newest) = (tables.table("api_keys"), tables.index("api_keys_newest"));
        vec![
            format!(
                "create table {keys} (
                     id           uuid primary key,
                     workspace_id uuid not null,
                     name         text not null,
                     prefix       text not null,
                     role         text not null,
                     operator     boolean not null,
                     created_by   text not null,
                     created_at   timestamptz not null,
                     expires_at   timestamptz,
                     revoked_at   timestamptz,
                     last_event   bigint not null
                 )"
            ),
            format!("create index {newest} on {keys} (workspace_id, created_at desc, id desc)"),
        ]
    }

    async fn apply(
        &self,
        tx: &mut PgConnection,
        tables: &Tables,
        events: &[Arc<RecordedEvent>],
    ) -> Result<(), ApplyError> {
        let mut created = Vec::new();
        let mut revoked = Vec::new();
        for event in events {
            let id: ApiKeyId = aggregate_id(event)?;
            match decode(event)? {
                Event::Created {
                    id,
                    workspace,
                    name,
                    prefix,
                    role,
                    operator,
                    created_by,
                    expires_at,
                    at,
                } => {
                    let row = ApiKeyRow {
                        id,
                        workspace,
                        name,
                        prefix,
                        role,
                        operator,
                        created_by: created_by.to_string(),
                        created_at: at,
                        expires_at,
                        revoked_at: None,
                    };
                    created.push((row, event.position));
                }
                Event::Revoked { at } => revoked.push((id, event, at)),
            }
        }
        insert(tx, tables, &created).await?;
        revoke(tx, tables, &revoked).await
    }
}

async fn insert(
    tx: &mut PgConnection,
    tables: &Tables,
    keys: &[(ApiKeyRow, i64)],
) -> Result<(), ApplyError> {
    if keys.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        ($row:ident, $last:ident => $value:expr) => {
            keys.iter().map(|($row, $last)| $value).collect::<Vec<_>>()
        };
    }
    let sql = format!(
        "insert into {}
             (id, workspace_id, name, prefix, role, operator, created_by, created_at, expires_at,
              last_event)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[],
                              $6::boolean[], $7::text[], $8::timestamptz[], $9::timestamptz[],
                              $10::bigint[])",
        tables.table("api_keys")
    );
    sqlx::query(&sql)
        .bind(column!(row, _l => row.id.uuid()))
        .bind(column!(row, _l => row.workspace.uuid()))
        .bind(column!(row, _l => row.name.as_str()))
        .bind(column!(row, _l => row.prefix.as_str()))
        .bind(column!(row, _l => row.role.as_str()))
        .bind(column!(row, _l => row.operator))
        .bind(column!(row, _l => row.created_by.as_str()))
        .bind(column!(row, _l => row.created_at.to_sqlx()))
        .bind(column!(row, _l => row.expires_at.map(ToSqlx::to_sqlx)))
        .bind(column!(_r, last => *last))
        .execute(tx)
        .await?;
    Ok(())
}

async fn revoke(
    tx: &mut PgConnection,
    tables: &Tables,
    keys: &[(ApiKeyId, &Arc<RecordedEvent>, Timestamp)],
) -> Result<(), ApplyError> {
    if keys.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        ($id:ident, $event:ident, $at:ident => $value:expr) => {
            keys.iter()
                .map(|($id, $event, $at)| $value)
                .collect::<Vec<_>>()
        };
    }
    let sql = format!(
        "update {} k set revoked_at = u.revoked_at, last_event = u.last_event
         from unnest($1::uuid[], $2::timestamptz[], $3::bigint[]) as u (id, revoked_at, last_event)
         where k.id = u.id
         returning k.id",
        tables.table("api_keys")
    );
    let found: Vec<uuid::Uuid> = sqlx::query_scalar(&sql)
        .bind(column!(id, _e, _at => id.uuid()))
        .bind(column!(_id, _e, at => at.to_sqlx()))
        .bind(column!(_id, event, _at => event.position))
        .fetch_all(tx)
        .await?;
    // A key is revoked once.
    let unknown = keys.iter().find(|(id, ..)| !found.contains(&id.uuid()));
    match unknown {
        Some((_, event, _)) => Err(ApplyError::event(event, "the key was never created")),
        None => Ok(()),
    }
}
