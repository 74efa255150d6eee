//! What of a workspace goes when it is erased, beside its read models.
//!
//! The event `WorkspaceErased` and the end of the data key are one transaction: from then on nothing
//! that was sealed opens, whatever of it still lies about. What may be too much for one transaction
//! goes after it, piece by piece; cut short, it goes on wherever it is begun again.

use sqlx::{PgConnection, PgPool, Row};
use toolroom_domain::WorkspaceId;

/// Rows that one transaction deletes: some milliseconds.
const DELETED_AT_ONCE: i64 = 500;

/// Positions that one statement looks through: some ten milliseconds.
const LOOKED_THROUGH_AT_ONCE: i64 = 20_000;

/// What there is of a workspace, outside its read models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Its events, which stay.
    pub events: i64,
    /// Its jobs.
    pub jobs: i64,
    /// Those of them that have not ended.
    pub unfinished: i64,
    /// Its large values.
    pub blobs: i64,
    /// Bytes of them as they are kept.
    pub blob_bytes: i64,
    /// Its secrets and credentials.
    pub secrets: i64,
    /// Its API keys.
    pub keys: i64,
    /// Its named commands that are remembered.
    pub commands: i64,
}

/// What goes of a workspace as a whole: a few rows of each table.
const FEW: [&str; 9] = [
    "delete from vault where workspace_id = $1 and kind <> 'data-key'",
    "delete from key_hashes where workspace_id = $1",
    "delete from invitation_tokens where workspace_id = $1",
    "delete from sessions where workspace_id = $1",
    "delete from claims where workspace_id = $1",
    "delete from numbers where workspace_id = $1",
    "delete from operational.buckets where workspace_id = $1",
    "delete from operational.quotas where workspace_id = $1",
    "delete from operational.gates where workspace_id = $1",
];

/// Whether the workspace was erased; if not, it cannot be before this transaction ends. A lock on the
/// data key's row would not do: a workspace may have none yet.
pub(crate) async fn is_erased_in_tx(
    tx: &mut PgConnection,
    workspace: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query(
        "select pg_advisory_xact_lock_shared(hashtextextended('toolroom erase ' || $1, 0))",
    )
    .bind(workspace)
    .execute(&mut *tx)
    .await?;
    // A statement of its own: it sees what was committed while this waited for the lock.
    sqlx::query_scalar(IS_ERASED)
        .bind(workspace)
        .fetch_one(tx)
        .await
}

const IS_ERASED: &str = "select exists (
     select from vault where workspace_id = $1 and kind = 'data-key' and erased_at is not null)";

/// Destroys the workspace's data key, and deletes what is little. Said twice it changes nothing more.
pub(crate) async fn in_tx(tx: &mut PgConnection, workspace: &str) -> Result<(), sqlx::Error> {
    // Waits for whoever is writing what this deletes, and has those who come later see that it is
    // erased.
    let lock = "select pg_advisory_xact_lock(hashtextextended('toolroom erase ' || $1, 0))";
    // Of a workspace that never kept anything too: the row is how all nodes know.
    let destroy = "insert into vault (workspace_id, kind, name, master_key_id, erased_at)
         values ($1, 'data-key', 'current', '', clock_timestamp())
         on conflict (workspace_id, kind, name) do update
         set wrapped_key = null, erased_at = coalesce(vault.erased_at, excluded.erased_at)";
    for statement in [lock, destroy].into_iter().chain(FEW) {
        sqlx::query(statement)
            .bind(workspace)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// Deletes the large values and the remembered commands of an erased workspace, in pieces, and what
/// its erasure should have left nothing of; calls `progress` with the rows that went so far. Of one
/// that is not erased nothing goes.
///
/// # Errors
/// When the database does not answer; begun again, it goes on.
pub async fn purge(
    pool: &PgPool,
    workspace: WorkspaceId,
    mut progress: impl FnMut(u64),
) -> Result<u64, sqlx::Error> {
    let workspace = workspace.to_string();
    let erased = sqlx::query_scalar(IS_ERASED).bind(&workspace);
    let erased: bool = erased.fetch_one(pool).await?;
    let mut gone = 0;
    if !erased {
        return Ok(gone);
    }
    let in_pieces = [
        ("blobs", "workspace_id, sha256"),
        ("command_log", "workspace_id, actor, command_id"),
    ];
    let in_pieces = in_pieces.map(|(table, key)| {
        format!(
            "delete from {table} where ({key}) in (
                 select {key} from {table} where workspace_id = $1 limit {DELETED_AT_ONCE})"
        )
    });
    for sql in in_pieces.iter().map(String::as_str).chain(FEW) {
        loop {
            let deleted = sqlx::query(sql).bind(&workspace).execute(pool).await?;
            let deleted = deleted.rows_affected();
            gone += deleted;
            if deleted == 0 {
                break;
            }
            progress(gone);
        }
    }
    Ok(gone)
}

/// Counts what there is of a workspace.
///
/// # Errors
/// When the database does not answer.
pub async fn survey(pool: &PgPool, workspace: WorkspaceId) -> Result<Survey, sqlx::Error> {
    let row = sqlx::query(
        "select (select count(*) from blobs where workspace_id = $1) as blobs,
                (select coalesce(sum(octet_length(data)), 0)::bigint
                 from blobs where workspace_id = $1) as blob_bytes,
                (select count(*) from vault where workspace_id = $1 and kind <> 'data-key') as secrets,
                (select count(*) from key_hashes where workspace_id = $1) as keys,
                (select count(*) from command_log where workspace_id = $1) as commands",
    )
    .bind(workspace.to_string())
    .fetch_one(pool)
    .await?;
    let mut survey = Survey {
        blobs: row.get("blobs"),
        blob_bytes: row.get("blob_bytes"),
        secrets: row.get("secrets"),
        keys: row.get("keys"),
        commands: row.get("commands"),
        ..Survey::default()
    };
    let mut after = 0;
    while let Some(stretch) = stretch(pool, workspace, after).await? {
        survey.events += stretch.events;
        survey.jobs += stretch.jobs;
        survey.unfinished += i64::try_from(stretch.unfinished.len()).unwrap_or(i64::MAX);
        after = stretch.to;
    }
    Ok(survey)
}

/// What a stretch of the log holds of a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its last position.
    pub to: i64,
    /// Events of the workspace.
    pub events: i64,
    /// Jobs that were requested in it.
    pub jobs: i64,
    /// Those of them that have not ended by now, in whichever stretch they would.
    pub unfinished: Vec<String>,
}

/// The stretch of the log that begins after a position; none after its end. From the log itself: a
/// read model may be behind, or hold a job back.
///
/// # Errors
/// When the database does not answer.
pub async fn stretch(
    pool: &PgPool,
    workspace: WorkspaceId,
    after: i64,
) -> Result<Option<Stretch>, sqlx::Error> {
    let row = sqlx::query(
        "with head as (
             select least($1 + $3, coalesce((select max(position) from event_log), 0)) as position
         ), own as (
             select l.aggregate_type, l.aggregate_id, l.sequence
             from event_log l, head
             where l.position > $1 and l.position <= head.position and l.workspace_id = $2
         ), requested as (
             select aggregate_id from own where aggregate_type = 'job' and sequence = 1
         )
         select (select position from head) as reached,
                (select count(*) from own) as events,
                (select count(*) from requested) as jobs,
                array(
                    select r.aggregate_id from requested r
                    cross join lateral (
                        select event_type from events e
                        where e.aggregate_type = 'job' and e.aggregate_id = r.aggregate_id
                        order by e.sequence desc limit 1
                    ) last
                    where last.event_type not in ('JobSucceeded', 'JobFailed', 'JobCancelled')
                ) as unfinished",
    )
    .bind(after)
    .bind(workspace.to_string())
    .bind(LOOKED_THROUGH_AT_ONCE)
    .fetch_one(pool)
    .await?;
    let to: i64 = row.get("reached");
    Ok((to > after).then(|| Stretch {
        to,
        events: row.get("events"),
        jobs: row.get("jobs"),
        unfinished: row.get("unfinished"),
    }))
}
