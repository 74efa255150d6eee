//! Events that a projection cannot apply, and those of the same aggregate that wait behind them.

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection, PgPool, Row, postgres::PgRow};
use toolroom_domain::WorkspaceId;
use toolroom_eventlog::{Feed, Reads, RecordedEvent, checkpoint::Lease, command::Receipt};

use crate::{
    generation,
    page::{Page, PageRequest},
    projection::{ApplyError, Projection, Tables},
    read::{self, Statement},
};

/// Characters of an error that are kept.
const ERROR_CHARS: usize = 2_000;

/// Events that one transaction of a retry applies: each is applied on its own, some in a
/// millisecond, and meanwhile the projection stands still.
const RETRY_EVENTS: i64 = 50;

/// What is told of an event before which a retry has stopped, or is at this moment.
const INTERRUPTED: &str = "a retry has come up to this event; if none is at work, retry it";

const COLUMNS: &str =
    "select id, follower, position, error, attempts, aggregate_type, aggregate_id, at";

/// A poisonous event, and what it holds back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// By which it is retried.
    pub id: i64,
    /// Which projection cannot apply it.
    pub projection: String,
    /// Where it is.
    pub position: i64,
    /// Why it cannot be applied.
    pub error: String,
    /// How often it was tried.
    pub attempts: i32,
    /// The kind of the aggregate that is held back.
    pub aggregate_type: String,
    /// The aggregate that is held back.
    pub aggregate_id: String,
    /// When it was set aside.
    pub at: Timestamp,
}

impl DeadLetter {
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            projection: row.try_get("follower")?,
            position: row.try_get("position")?,
            error: row.try_get("error")?,
            attempts: row.try_get("attempts")?,
            aggregate_type: row.try_get("aggregate_type")?,
            aggregate_id: row.try_get("aggregate_id")?,
            at: row.try_get::<SqlTimestamp, _>("at")?.to_jiff(),
        })
    }
}

/// Why a retry changed nothing, or not all.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// There is none of this id.
    #[error("there is no such dead letter; list them with the query `deadLetters`")]
    NotFound,
    /// Its projection is not this binary's, or of another version.
    #[error(
        "this server does not run the version of `{0}` that the tables are of; wait for its rebuild"
    )]
    OtherVersion(String),
    /// It, or one behind it, cannot be applied still.
    #[error("event {position} cannot be applied still: {reason}")]
    StillPoisonous {
        /// Which one.
        position: i64,
        /// Why.
        reason: String,
    },
    /// The database did not answer.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// The aggregates that a follower holds back.
pub(crate) async fn held(
    pool: &PgPool,
    follower: &str,
) -> Result<HashSet<(String, String)>, sqlx::Error> {
    let rows = sqlx::query(
        "select distinct aggregate_type, aggregate_id from dead_letters where follower = $1",
    )
    .bind(follower)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

/// Sets a poisonous event aside.
pub(crate) async fn bury_in_tx(
    tx: &mut PgConnection,
    follower: &str,
    event: &RecordedEvent,
    error: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into dead_letters
             (follower, position, aggregate_type, aggregate_id, workspace_id, error, attempts)
         values ($1, $2, $3, $4, $5, $6, 1)",
    )
    .bind(follower)
    .bind(event.position)
    .bind(&event.aggregate_type)
    .bind(&event.aggregate_id)
    .bind(&event.workspace_id)
    .bind(cut(error))
    .execute(tx)
    .await?;
    Ok(())
}

/// Keeps events of aggregates that are held back, by reference.
pub(crate) async fn hold_in_tx(
    tx: &mut PgConnection,
    follower: &str,
    events: &[Arc<RecordedEvent>],
) -> Result<(), sqlx::Error> {
    if events.is_empty() {
        return Ok(());
    }
    let positions: Vec<i64> = events.iter().map(|event| event.position).collect();
    sqlx::query(
        "insert into dead_letters (follower, position, aggregate_type, aggregate_id, workspace_id)
         select $1, position, aggregate_type, aggregate_id, workspace_id
         from event_log where position = any($2)
         order by position",
    )
    .bind(follower)
    .bind(positions)
    .execute(tx)
    .await?;
    Ok(())
}

/// Forgets what a follower holds back of a workspace that was erased.
pub(crate) async fn forget_workspace_in_tx(
    tx: &mut PgConnection,
    follower: &str,
    workspace: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("delete from dead_letters where follower = $1 and workspace_id = $2")
        .bind(follower)
        .bind(workspace)
        .execute(tx)
        .await?;
    Ok(())
}

/// The poisonous events of a workspace, the one that was set aside last first.
pub(crate) async fn list(
    reads: &Reads,
    workspace: WorkspaceId,
    projections: &[&str],
    page: &PageRequest<i64>,
) -> Result<Page<DeadLetter>, sqlx::Error> {
    let names: Vec<String> = projections.iter().map(|name| (*name).to_owned()).collect();
    let filter = |sql: &mut Statement| {
        sql.push(" from dead_letters where error is not null and workspace_id = ");
        sql.push_bind(workspace.to_string());
        sql.push(" and follower = any(")
            .push_bind(names.clone())
            .push(")");
    };
    let rows = || {
        let mut sql = Statement::new(COLUMNS);
        filter(&mut sql);
        if let Some(after) = page.after {
            sql.push(" and id < ").push_bind(after);
        }
        sql.push(" order by id desc limit ")
            .push_bind(page.limit() + 1);
        sql
    };
    let count = || {
        let mut sql = Statement::new("select count(*)");
        filter(&mut sql);
        sql
    };
    read::page(reads, workspace, page, DeadLetter::read, rows, count).await
}

/// A workspace's dead letter.
pub(crate) async fn find(
    reads: &Reads,
    workspace: WorkspaceId,
    id: i64,
) -> Result<Option<DeadLetter>, sqlx::Error> {
    read::first(reads, workspace, DeadLetter::read, || {
        let mut sql = Statement::new(COLUMNS);
        sql.push(" from dead_letters where error is not null and id = ")
            .push_bind(id);
        sql.push(" and workspace_id = ")
            .push_bind(workspace.to_string());
        sql
    })
    .await
}

/// Applies what an aggregate has set aside, in order, until nothing is left or one still does not
/// fit. The projection may run meanwhile: each transaction fences its follower off, which then
/// learns anew what is held back.
///
/// The letter stands for the first event that is not applied yet, whichever that has come to be:
/// so what waits can be seen and retried still when one of them does not fit, or the process dies.
pub(crate) async fn retry(
    pool: &PgPool,
    feed: &Feed,
    projection: &dyn Projection,
    letter: &DeadLetter,
    receipt: Option<Receipt>,
) -> Result<(), RetryError> {
    loop {
        let mut connection = pool.acquire().await?;
        let mut tx = connection.begin().await?;
        Lease::fence_in_tx(&mut tx, projection.name()).await?;
        let installed = generation::find_in_tx(&mut tx, projection).await?;
        let installed = installed
            .filter(|installed| installed.version == projection.version())
            .ok_or_else(|| RetryError::OtherVersion(projection.name().to_owned()))?;
        let waiting: Vec<(i64, i64)> = sqlx::query_as(
            "select id, position from dead_letters
             where follower = $1 and aggregate_type = $2 and aggregate_id = $3
             order by position limit $4",
        )
        .bind(projection.name())
        .bind(&letter.aggregate_type)
        .bind(&letter.aggregate_id)
        .bind(RETRY_EVENTS + 1)
        .fetch_all(&mut *tx)
        .await?;
        // Another retry, or a rebuild, may have been quicker.
        if waiting.first().is_none_or(|(id, _)| *id != letter.id) {
            return Err(RetryError::NotFound);
        }
        let tables = Tables::serving(installed.generation);
        let mut applied = 0;
        let mut poison = None;
        for (_, position) in waiting.iter().take(RETRY_EVENTS as usize) {
            let one = apply_one(&mut tx, feed, projection, &tables, *position).await;
            if let Err(error) = one {
                poison = Some(error.into_poison()?);
                break;
            }
            applied += 1;
        }
        let Some(&(next, position)) = waiting.get(applied) else {
            forget(&mut tx, &waiting).await?;
            if let Some(receipt) = receipt {
                receipt.keep_in_tx(&mut tx, letter).await?;
            }
            tx.commit().await?;
            return Ok(());
        };
        if next != letter.id {
            forget(&mut tx, &waiting[1..=applied]).await?;
        }
        sqlx::query(
            "update dead_letters
             set position = $2, error = $3,
                 attempts = case when position = $2 then attempts else 0 end + $4
             where id = $1",
        )
        .bind(letter.id)
        .bind(position)
        .bind(poison.as_deref().map_or(INTERRUPTED.to_owned(), cut))
        .bind(i32::from(poison.is_some()))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        if let Some(reason) = poison {
            return Err(RetryError::StillPoisonous { position, reason });
        }
    }
}

async fn forget(tx: &mut PgConnection, letters: &[(i64, i64)]) -> Result<(), sqlx::Error> {
    let ids: Vec<i64> = letters.iter().map(|(id, _)| *id).collect();
    sqlx::query("delete from dead_letters where id = any($1)")
        .bind(ids)
        .execute(tx)
        .await?;
    Ok(())
}

/// Applies one event in a savepoint, so that its failure leaves the transaction whole.
async fn apply_one(
    tx: &mut PgConnection,
    feed: &Feed,
    projection: &dyn Projection,
    tables: &Tables,
    position: i64,
) -> Result<(), ApplyError> {
    let mut events = feed.read_in_tx(tx, position - 1, 1).await?;
    let event = events.pop().ok_or(sqlx::Error::RowNotFound)?;
    let mut savepoint = tx.begin().await?;
    projection.apply(&mut savepoint, tables, &[event]).await?;
    savepoint.commit().await?;
    Ok(())
}

fn cut(error: &str) -> String {
    error
        .chars()
        .filter(|c| *c != '\0')
        .take(ERROR_CHARS)
        .collect()
}
