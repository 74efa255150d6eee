//! How the tables of secrets and their uses are made and kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx};
use sqlx::{PgConnection, Row as _};
use toolroom_domain::{SecretId, WorkspaceId, job, secret::Event};
use toolroom_eventlog::RecordedEvent;
use uuid::Uuid;

use crate::projection::{ApplyError, Projection, Tables, aggregate_id, decode};

/// Uses of secrets are looked at by people, later: longer pauses save work.
const INTERVAL: Duration = Duration::from_millis(10);

/// The tables `secrets`, which holds those that there are, and `secret_uses`, which finds the events
/// that tell of each use of a name.
#[derive(Clone, Copy, Debug)]
pub struct Secrets;

/// A secret that is there.
#[derive(Clone, Debug, PartialEq)]
struct Kept {
    workspace: WorkspaceId,
    name: String,
    version: u32,
    created_at: Timestamp,
    updated_at: Timestamp,
    last_event: i64,
}

/// That a job was given a secret.
struct Use {
    workspace: Uuid,
    name: String,
    position: i64,
    at: Timestamp,
}

#[async_trait]
impl Projection for Secrets {
    fn name(&self) -> &'static str {
        "secrets"
    }

    fn version(&self) -> i32 {
        1
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &["secret", "job"]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["secrets", "secret_uses"]
    }

    fn interval(&self) -> Duration {
        INTERVAL
    }

    fn create(&self, tables: &Tables) -> Vec<String> {
        let (secrets, names) = (tables.table("secrets"), tables.index("secrets_name"));
        let uses = tables.table("secret_uses");
        vec![
            format!(
                "create table {secrets} (
                     id           uuid primary key,
                     workspace_id uuid not null,
                     name         text not null,
                     version      bigint not null,
                     created_at   timestamptz not null,
                     updated_at   timestamptz not null,
                     last_event   bigint not null
                 )"
            ),
            format!("create unique index {names} on {secrets} (workspace_id, name collate \"C\")"),
            format!(
                "create table {uses} (
                     workspace_id uuid not null,
                     name         text not null,
                     position     bigint not null,
                     used_at      timestamptz not null,
                     primary key (workspace_id, name, position)
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
        let mut changes = Vec::new();
        let mut uses = Vec::new();
        for event in events {
            match event.aggregate_type.as_str() {
                "secret" => changes.push((aggregate_id(event)?, event)),
                _ if event.event_type == "JobSecretsUsed" => uses_of(event, &mut uses)?,
                _ => {}
            }
        }
        if !changes.is_empty() {
            let ids: BTreeSet<SecretId> = changes.iter().map(|(id, _)| *id).collect();
            let mut secrets = load(tx, tables, &ids).await?;
            for (id, event) in changes {
                change(&mut secrets, id, event)?;
            }
            let gone: Vec<_> = ids.iter().filter(|id| !secrets.contains_key(id)).collect();
            remove(tx, tables, &gone).await?;
            write(tx, tables, &secrets).await?;
        }
        insert_uses(tx, tables, &uses).await
    }
}

fn change(
    secrets: &mut BTreeMap<SecretId, Kept>,
    id: SecretId,
    event: &RecordedEvent,
) -> Result<(), ApplyError> {
    let unknown = || ApplyError::event(event, "the secret is not there");
    match decode(event)? {
        Event::Created {
            workspace,
            name,
            version,
            at,
            ..
        } => {
            let kept = Kept {
                workspace,
                name,
                version,
                created_at: at,
                updated_at: at,
                last_event: event.position,
            };
            secrets.insert(id, kept);
        }
        Event::Replaced { version, at } => {
            let kept = secrets.get_mut(&id).ok_or_else(unknown)?;
            kept.version = version;
            kept.updated_at = at;
            kept.last_event = event.position;
        }
        Event::Deleted { .. } => {
            secrets.remove(&id).ok_or_else(unknown)?;
        }
    }
    Ok(())
}

/// One attempt may have been given two versions of a name: that is one use.
fn uses_of(event: &RecordedEvent, uses: &mut Vec<Use>) -> Result<(), ApplyError> {
    let job::Event::SecretsUsed { secrets, at, .. } = decode(event)? else {
        return Err(ApplyError::event(
            event,
            "it does not say which secrets were used",
        ));
    };
    let workspace: WorkspaceId = event
        .workspace_id
        .parse()
        .map_err(|error| ApplyError::event(event, error))?;
    let names: BTreeSet<String> = secrets.into_iter().map(|secret| secret.name).collect();
    uses.extend(names.into_iter().map(|name| Use {
        workspace: workspace.uuid(),
        name,
        position: event.position,
        at,
    }));
    Ok(())
}

async fn load(
    tx: &mut PgConnection,
    tables: &Tables,
    ids: &BTreeSet<SecretId>,
) -> Result<BTreeMap<SecretId, Kept>, ApplyError> {
    let sql = format!(
        "select id, workspace_id, name, version, created_at, updated_at, last_event
         from {} where id = any($1)",
        tables.table("secrets")
    );
    let ids: Vec<_> = ids.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query(&sql).bind(ids).fetch_all(tx).await?;
    let each = rows.iter().map(|row| {
        let time = |column: &str| {
            let time: SqlTimestamp = row.try_get(column)?;
            Ok::<_, sqlx::Error>(time.to_jiff())
        };
        let kept = Kept {
            workspace: WorkspaceId::from_uuid(row.try_get("workspace_id")?),
            name: row.try_get("name")?,
            version: u32::try_from(row.try_get::<i64, _>("version")?).unwrap_or(u32::MAX),
            created_at: time("created_at")?,
            updated_at: time("updated_at")?,
            last_event: row.try_get("last_event")?,
        };
        Ok((SecretId::from_uuid(row.try_get("id")?), kept))
    });
    each.collect()
}

async fn remove(
    tx: &mut PgConnection,
    tables: &Tables,
    gone: &[&SecretId],
) -> Result<(), ApplyError> {
    let sql = format!("delete from {} where id = any($1)", tables.table("secrets"));
    let gone: Vec<_> = gone.iter().map(|id| id.uuid()).collect();
    sqlx::query(&sql).bind(gone).execute(tx).await?;
    Ok(())
}

async fn write(
    tx: &mut PgConnection,
    tables: &Tables,
    secrets: &BTreeMap<SecretId, Kept>,
) -> Result<(), ApplyError> {
    macro_rules! column {
        ($kept:ident => $value:expr) => {
            secrets.values().map(|$kept| $value).collect::<Vec<_>>()
        };
    }
    let sql = format!(
        "insert into {}
             (id, workspace_id, name, version, created_at, updated_at, last_event)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[],
                              $5::timestamptz[], $6::timestamptz[], $7::bigint[])
         on conflict (id) do update
         set version = excluded.version, created_at = excluded.created_at,
             updated_at = excluded.updated_at, last_event = excluded.last_event",
        tables.table("secrets")
    );
    sqlx::query(&sql)
        .bind(secrets.keys().map(|id| id.uuid()).collect::<Vec<_>>())
        .bind(column!(kept => kept.workspace.uuid()))
        .bind(column!(kept => kept.name.as_str()))
        .bind(column!(kept => i64::from(kept.version)))
        .bind(column!(kept => kept.created_at.to_sqlx()))
        .bind(column!(kept => kept.updated_at.to_sqlx()))
        .bind(column!(kept => kept.last_event))
        .execute(tx)
        .await?;
    Ok(())
}

async fn insert_uses(
    tx: &mut PgConnection,
    tables: &Tables,
    uses: &[Use],
) -> Result<(), ApplyError> {
    if uses.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        ($each:ident => $value:expr) => {
            uses.iter().map(|$each| $value).collect::<Vec<_>>()
        };
    }
    let sql = format!(
        "insert into {} (workspace_id, name, position, used_at)
         select * from unnest($1::uuid[], $2::text[], $3::bigint[], $4::timestamptz[])",
        tables.table("secret_uses")
    );
    sqlx::query(&sql)
        .bind(column!(each => each.workspace))
        .bind(column!(each => each.name.as_str()))
        .bind(column!(each => each.position))
        .bind(column!(each => each.at.to_sqlx()))
        .execute(tx)
        .await?;
    Ok(())
}
