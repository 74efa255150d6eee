//! The rows of sessions.

use std::sync::Arc;

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlxTimestamp, ToSqlx};
use sqlx::{PgPool, Row as _, postgres::PgRow};
use toolroom_domain::{Actor, SessionId, UserId};

use super::{Holder, MAX_SESSIONS, Session};

/// For how long sessions that are over are kept, for whoever wonders where they went.
const KEPT_DAYS: i32 = 7;

/// Rows that are over and go with one new session.
const PURGED_AT_ONCE: i64 = 100;

/// Writes a session. The holder's excess sessions go, or rows would be as many as anybody likes to
/// make; so do some that are long over.
pub(super) async fn insert(
    pool: &PgPool,
    session: &Session,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let prefix = match &session.holder {
        Holder::Key { prefix, .. } => Some(prefix),
        Holder::User(_) => None,
    };
    sqlx::query(
        "with purged as (
             delete from sessions where id in (
                 select id from sessions
                 where expires_at < $11 - make_interval(days => $12)
                 limit $13)
         ), excess as (
             delete from sessions where id in (
                 select id from sessions
                 where actor = $4 and ended_at is null
                 order by last_used_at desc, id
                 -- the new one is not there yet
                 offset $14 - 1)
         )
         insert into sessions (id, workspace_id, hash, actor, key_prefix, email, ip, user_agent,
                               created_at, last_used_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10)",
    )
    .bind(session.id.uuid())
    .bind(session.workspace.to_string())
    .bind(&session.hash)
    .bind(session.holder.actor().as_str())
    .bind(prefix)
    .bind(&session.email)
    .bind(&session.ip)
    .bind(&session.user_agent)
    .bind(session.created_at.to_sqlx())
    .bind(session.expires_at.to_sqlx())
    .bind(now.to_sqlx())
    .bind(KEPT_DAYS)
    .bind(PURGED_AT_ONCE)
    .bind(MAX_SESSIONS)
    .execute(pool)
    .await?;
    Ok(())
}

pub(super) async fn read(
    pool: &PgPool,
    id: SessionId,
) -> Result<Option<Arc<Session>>, sqlx::Error> {
    let row = sqlx::query(
        "select id, workspace_id, hash, actor, key_prefix, email, ip, user_agent,
                created_at, last_used_at, expires_at, ended_at is not null as has_ended
         from sessions where id = $1",
    )
    .bind(id.uuid())
    .fetch_optional(pool)
    .await?;
    row.map(|row| parse(&row).map(Arc::new)).transpose()
}

/// The sessions of a holder that nobody ended, the one used last first.
pub(super) async fn of(pool: &PgPool, holder: &Actor) -> Result<Vec<Session>, sqlx::Error> {
    let rows = sqlx::query(
        "select id, workspace_id, hash, actor, key_prefix, email, ip, user_agent,
                created_at, last_used_at, expires_at, false as has_ended
         from sessions where actor = $1 and ended_at is null
         order by last_used_at desc, id
         limit $2",
    )
    .bind(holder.as_str())
    .bind(MAX_SESSIONS)
    .fetch_all(pool)
    .await?;
    rows.iter().map(parse).collect()
}

pub(super) async fn touch(pool: &PgPool, id: SessionId, now: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query("update sessions set last_used_at = $2 where id = $1 and last_used_at < $2")
        .bind(id.uuid())
        .bind(now.to_sqlx())
        .execute(pool)
        .await?;
    Ok(())
}

pub(super) async fn end(
    pool: &PgPool,
    holder: &Actor,
    id: SessionId,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let found = sqlx::query(
        "update sessions set ended_at = coalesce(ended_at, $3) where id = $1 and actor = $2",
    )
    .bind(id.uuid())
    .bind(holder.as_str())
    .bind(now.to_sqlx())
    .execute(pool)
    .await?;
    Ok(found.rows_affected() > 0)
}

fn parse(row: &PgRow) -> Result<Session, sqlx::Error> {
    let garbled = |column: &str| sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: "is not what was written".into(),
    };
    let at = |column| -> Result<Timestamp, sqlx::Error> {
        row.try_get::<SqlxTimestamp, _>(column)
            .map(SqlxTimestamp::to_jiff)
    };
    let actor: String = row.try_get("actor")?;
    let prefix: Option<String> = row.try_get("key_prefix")?;
    let holder = match (actor.split_once(':'), prefix) {
        (Some(("key", id)), Some(prefix)) => Holder::Key {
            id: id.parse().map_err(|_| garbled("actor"))?,
            prefix,
        },
        (Some(("user", id)), None) => {
            Holder::User(UserId::try_new(id).map_err(|_| garbled("actor"))?)
        }
        _ => return Err(garbled("actor")),
    };
    let workspace: String = row.try_get("workspace_id")?;
    Ok(Session {
        id: SessionId::from_uuid(row.try_get("id")?),
        workspace: workspace.parse().map_err(|_| garbled("workspace_id"))?,
        holder,
        email: row.try_get("email")?,
        ip: row.try_get("ip")?,
        user_agent: row.try_get("user_agent")?,
        created_at: at("created_at")?,
        last_used_at: at("last_used_at")?,
        expires_at: at("expires_at")?,
        hash: row.try_get("hash")?,
        has_ended: row.try_get("has_ended")?,
    })
}
