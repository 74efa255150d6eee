//! Which tables serve, and which are being filled beside them.
//!
//! Each filling of a projection's tables is a *generation*. What serves bears the plain names; a
//! rebuild fills tables of its own generation, which then take those names in one transaction.

use sqlx::{Connection, PgConnection, PgPool, Row};
use toolroom_eventlog::{checkpoint::Lease, database::READER};

use crate::projection::{Projection, Tables};

/// Lets one node at a time lay out tables.
const LAYOUT_LOCK: i64 = 0x746f_6f6c_726f_6f6d;

/// How long a swap waits for readers to leave: as long, new ones queue up behind it.
const SWAP_LOCK_TIMEOUT: &str = "set local lock_timeout = '150ms'";

/// How a projection stands in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Installed {
    /// The version that the serving tables were made by.
    pub version: i32,
    /// The generation that serves.
    pub generation: i64,
    /// The rebuild that is under way.
    pub next: Option<Next>,
}

/// A rebuild that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    /// The version that makes it.
    pub version: i32,
    /// Its generation.
    pub generation: i64,
}

/// The follower that fills the tables of a rebuild.
pub(crate) fn rebuild_follower(name: &str) -> String {
    format!("{name}/rebuild")
}

/// Lays out a projection's tables if they are not there, and asks for a rebuild if they were made
/// by an earlier version.
pub(crate) async fn install(
    pool: &PgPool,
    projection: &dyn Projection,
) -> Result<Installed, sqlx::Error> {
    if let Some(installed) = find(pool, projection).await? {
        return match installed.next {
            _ if installed.version >= projection.version() => Ok(installed),
            Some(next) if next.version >= projection.version() => Ok(installed),
            _ => {
                let mut connection = pool.acquire().await?;
                let mut tx = connection.begin().await?;
                let asked = request_in_tx(&mut tx, projection).await?;
                tx.commit().await?;
                Ok(asked)
            }
        };
    }
    let mut connection = pool.acquire().await?;
    let mut tx = connection.begin().await?;
    lock_layout(&mut tx).await?;
    // Another node may have been quicker.
    if find_in_tx(&mut tx, projection).await?.is_none() {
        let before = select(&mut tx, projection.name()).await?;
        if let Some(abandoned) = before.and_then(|installed| installed.next) {
            let beside = Tables::beside(abandoned.generation);
            drop_tables(&mut tx, projection, &beside).await?;
        }
        let generation: i64 = sqlx::query_scalar(
            "insert into read_models as i (name, version, generation) values ($1, $2, 1)
             on conflict (name) do update
             set version = $2, next_version = null, next_generation = null,
                 generation = greatest(i.generation, coalesce(i.next_generation, 0)) + 1
             returning generation",
        )
        .bind(projection.name())
        .bind(projection.version())
        .fetch_one(&mut *tx)
        .await?;
        let tables = Tables::serving(generation);
        create_tables(&mut tx, projection, &tables).await?;
        forget_follower(&mut tx, projection.name()).await?;
        forget_follower(&mut tx, &rebuild_follower(projection.name())).await?;
    }
    tx.commit().await?;
    // Given back first: whoever waits for a second connection while holding one can wait for ever.
    drop(connection);
    find(pool, projection)
        .await?
        .ok_or(sqlx::Error::RowNotFound)
}

/// Asks for a rebuild by this version. One that is under way by the same version is left to go on.
pub(crate) async fn request_in_tx(
    tx: &mut PgConnection,
    projection: &dyn Projection,
) -> Result<Installed, sqlx::Error> {
    lock_layout(tx).await?;
    let installed = select(tx, projection.name()).await?;
    let installed = installed.ok_or(sqlx::Error::RowNotFound)?;
    let next = Next {
        version: projection.version(),
        generation: match installed.next {
            Some(next) if next.version == projection.version() => return Ok(installed),
            Some(next) => next.generation + 1,
            None => installed.generation + 1,
        },
    };
    if let Some(abandoned) = installed.next {
        drop_tables(tx, projection, &Tables::beside(abandoned.generation)).await?;
    }
    let tables = Tables::beside(next.generation);
    create_tables(tx, projection, &tables).await?;
    forget_follower(tx, &rebuild_follower(projection.name())).await?;
    sqlx::query("update read_models set next_version = $2, next_generation = $3 where name = $1")
        .bind(projection.name())
        .bind(next.version)
        .bind(next.generation)
        .execute(&mut *tx)
        .await?;
    Ok(Installed {
        next: Some(next),
        ..installed
    })
}

/// How a projection stands; none when it, or one of its tables, is not there.
pub(crate) async fn find(
    pool: &PgPool,
    projection: &dyn Projection,
) -> Result<Option<Installed>, sqlx::Error> {
    find_in_tx(&mut *pool.acquire().await?, projection).await
}

/// As [`find`], within a transaction.
pub(crate) async fn find_in_tx(
    connection: &mut PgConnection,
    projection: &dyn Projection,
) -> Result<Option<Installed>, sqlx::Error> {
    if !tables_exist(connection, projection).await? {
        return Ok(None);
    }
    select(connection, projection.name()).await
}

/// Lets the rebuilt tables take the place of those that serve, in the caller's transaction, in
/// which `lease` (the rebuild's) has come at least as far as `position`.
///
/// To be called after [`begin_swap`].
pub(crate) async fn swap_in_tx(
    tx: &mut PgConnection,
    projection: &dyn Projection,
    next: Next,
    position: i64,
) -> Result<(), sqlx::Error> {
    let beside = Tables::beside(next.generation);
    for name in projection.tables() {
        let new = beside.table(name);
        for statement in [
            format!("drop table projections.{name}"),
            format!("alter table {new} rename to {name}"),
        ] {
            sqlx::query(&statement).execute(&mut *tx).await?;
        }
    }
    let rebuild = rebuild_follower(projection.name());
    sqlx::query(
        "insert into checkpoints (follower, position) values ($1, $2)
         on conflict (follower) do update set position = $2, updated_at = clock_timestamp()",
    )
    .bind(projection.name())
    .bind(position)
    .execute(&mut *tx)
    .await?;
    sqlx::query("delete from checkpoints where follower = $1")
        .bind(&rebuild)
        .execute(&mut *tx)
        .await?;
    sqlx::query("delete from dead_letters where follower = $1")
        .bind(projection.name())
        .execute(&mut *tx)
        .await?;
    sqlx::query("update dead_letters set follower = $1 where follower = $2")
        .bind(projection.name())
        .bind(&rebuild)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "update read_models
         set version = next_version, generation = next_generation,
             next_version = null, next_generation = null
         where name = $1",
    )
    .bind(projection.name())
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Keeps readers and the serving tables' follower out for the rest of the caller's transaction,
/// and gives the position that the serving tables have come to.
///
/// Tables before the checkpoint, as the follower takes them.
pub(crate) async fn begin_swap(
    tx: &mut PgConnection,
    projection: &dyn Projection,
) -> Result<i64, sqlx::Error> {
    sqlx::query(SWAP_LOCK_TIMEOUT).execute(&mut *tx).await?;
    let serving: Vec<_> = projection
        .tables()
        .iter()
        .map(|name| format!("projections.{name}"))
        .collect();
    let lock = format!("lock table {} in access exclusive mode", serving.join(", "));
    sqlx::query(&lock).execute(&mut *tx).await?;
    Ok(Lease::fence_in_tx(&mut *tx, projection.name())
        .await?
        .unwrap_or(0))
}

async fn select(
    connection: &mut PgConnection,
    name: &str,
) -> Result<Option<Installed>, sqlx::Error> {
    let row = sqlx::query(
        "select version, generation, next_version, next_generation
         from read_models where name = $1",
    )
    .bind(name)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let (version, generation): (Option<i32>, Option<i64>) = (
        row.try_get("next_version")?,
        row.try_get("next_generation")?,
    );
    Ok(Some(Installed {
        version: row.try_get("version")?,
        generation: row.try_get("generation")?,
        next: version.zip(generation).map(|(version, generation)| Next {
            version,
            generation,
        }),
    }))
}

async fn tables_exist(
    connection: &mut PgConnection,
    projection: &dyn Projection,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select count(*) = cardinality($1) from pg_tables
         where schemaname = 'projections' and tablename = any($1)",
    )
    .bind(projection.tables())
    .fetch_one(connection)
    .await
}

async fn lock_layout(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(LAYOUT_LOCK)
        .execute(tx)
        .await?;
    Ok(())
}

/// Creates the tables, empty. What they hold is each workspace's own from the first row on: policies
/// and grants belong to a table, not to its name, so an exchange keeps them.
async fn create_tables(
    tx: &mut PgConnection,
    projection: &dyn Projection,
    tables: &Tables,
) -> Result<(), sqlx::Error> {
    drop_tables(tx, projection, tables).await?;
    for statement in projection.create(tables) {
        sqlx::query(&statement).execute(&mut *tx).await?;
    }
    for name in projection.tables() {
        let table = tables.table(name);
        for statement in [
            format!("call isolate('{table}')"),
            format!("grant select on {table} to {READER}"),
        ] {
            sqlx::query(&statement).execute(&mut *tx).await?;
        }
    }
    Ok(())
}

async fn drop_tables(
    tx: &mut PgConnection,
    projection: &dyn Projection,
    tables: &Tables,
) -> Result<(), sqlx::Error> {
    for name in projection.tables() {
        let statement = format!("drop table if exists {}", tables.table(name));
        sqlx::query(&statement).execute(&mut *tx).await?;
    }
    Ok(())
}

async fn forget_follower(tx: &mut PgConnection, follower: &str) -> Result<(), sqlx::Error> {
    for statement in [
        "delete from checkpoints where follower = $1",
        "delete from dead_letters where follower = $1",
    ] {
        sqlx::query(statement)
            .bind(follower)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}
