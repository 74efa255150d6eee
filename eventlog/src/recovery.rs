//! Taking up a log that was dumped from one cluster and restored into another.
//!
//! Transaction ids start over in a new cluster, so the sequencer's cursor means nothing there. The
//! restored events keep the order of their `global_seq` from where the sequencer was; all of them
//! get their places at once, and the cursor is set to the new cluster's present.

use sqlx::{Connection, PgPool, Row};

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is the cluster that the cursor belongs to.
    SameCluster,
    /// It is another one: so many events that were not sequenced before got their places.
    Resumed {
        /// How many.
        sequenced: i64,
    },
}

/// Looks whether the database was moved to another cluster, and if so makes the log go on there.
/// To be called as the owner, before anything appends or sequences.
///
/// # Errors
/// When the database does not answer; nothing was changed then.
pub async fn resume(owner: &PgPool) -> Result<Outcome, sqlx::Error> {
    let mut connection = owner.acquire().await?;
    let moved = is_moved(&mut connection).await?;
    if !moved {
        return Ok(Outcome::SameCluster);
    }
    let mut tx = connection.begin().await?;
    sqlx::query("lock table events in exclusive mode")
        .execute(&mut *tx)
        .await?;
    // Another node may have been first.
    if !is_moved(&mut tx).await? {
        return Ok(Outcome::SameCluster);
    }
    let row = sqlx::query(
        "with state as materialized (
             select * from sequencer_state for update
         ), batch as materialized (
             select e.*, event_digest(e) as digest
             from events e
             where not exists (select from event_log l where l.global_seq = e.global_seq)
         ), linked as materialized (
             select b.*,
                    s.position + row_number() over chain as position,
                    greatest(s.time, max(b.recorded_at) over chain) as time
             from batch b, state s
             window chain as (order by b.global_seq rows unbounded preceding)
         ), chained as materialized (
             select l.*, chain_hash(s.hash, l.position, l.digest)
                         over (order by l.position rows unbounded preceding) as hash
             from linked l, state s
         ), logged as (
             insert into event_log
                 (position, global_seq, workspace_id, aggregate_type, aggregate_id, sequence, time, hash)
             select position, global_seq, workspace_id, aggregate_type, aggregate_id, sequence, time, hash
             from chained
         ), moved as (
             update sequencer_state st
             set system_identifier = (select system_identifier from pg_control_system()),
                 log_epoch = st.log_epoch + 1,
                 cursor_tx = pg_current_xact_id(),
                 cursor_seq = (select coalesce(max(global_seq), 0) from events),
                 floor_seq = (select coalesce(max(global_seq), 0) from events),
                 position = coalesce(c.position, st.position),
                 time = coalesce(c.time, st.time),
                 hash = coalesce(c.hash, st.hash)
             from state left join
                  (select * from chained order by position desc limit 1) c on true
             where st.id
         )
         select count(*) as sequenced from chained",
    )
    .fetch_one(&mut *tx)
    .await?;
    // A restored dump sets the identity to the last value it gave; a copy by other means may not.
    sqlx::query(
        "select setval(pg_get_serial_sequence('events', 'global_seq'),
                       greatest((select max(global_seq) from events), 1),
                       (select count(*) > 0 from events))",
    )
    .execute(&mut *tx)
    .await?;
    // Holders of the old cluster's leases are not here.
    sqlx::query("update checkpoints set holder = null, lease_until = null")
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Outcome::Resumed {
        sequenced: row.get("sequenced"),
    })
}

async fn is_moved(connection: &mut sqlx::PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select s.system_identifier <> c.system_identifier
         from sequencer_state s, pg_control_system() c",
    )
    .fetch_one(connection)
    .await
}
