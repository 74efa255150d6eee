//! Puts committed events into one order, dense and chained.
//!
//! Transactions commit out of order, so neither `global_seq` nor `tx_id` alone can be followed. An
//! event may be given its place once no transaction that could still commit has a smaller
//! transaction id: below the *horizon*, `pg_snapshot_xmin`. Any node may run this loop; the row
//! lock on `sequencer_state` lets one at a time do a step.

use std::time::Duration;

use sqlx::{PgExecutor, PgPool, Row};
use tokio_util::sync::CancellationToken;

use crate::{
    event::RecordedEvent,
    feed::{Feed, PAYLOAD_BYTES, READ_BYTES},
    kept::Kept,
    signal::Signals,
};

/// Events in one step, which ends before if they are large: bounds the step's transaction, which
/// itself holds the horizon.
const STEP_EVENTS: i64 = 2_000;

/// Between steps under load: events that come in meanwhile share a step, which saves more
/// processor time than the wait costs latency.
const STEP_INTERVAL: Duration = Duration::from_millis(2);

/// How soon to look again when events wait for the horizon, which nobody announces.
const HORIZON_INTERVAL: Duration = Duration::from_millis(1);

/// How long to sleep without a signal. The truth is polled; signals only make it quicker.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// How long to wait after a database error.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// What a step did.
#[derive(Debug, Default)]
pub struct Step {
    /// The events that got a place, in order.
    pub events: Vec<RecordedEvent>,
    /// Whether committed events remain, be it above the horizon or past the step's size.
    pub more: bool,
    /// Whether the step's size kept events below the horizon out of it.
    pub full: bool,
    /// Whether another node was at it.
    pub busy: bool,
    /// How many of the events do not follow on their aggregate's one before: a fault to be
    /// alarmed about.
    pub gaps: usize,
    /// Where the log ends, as far as this step saw: past what it sequenced, when another node was
    /// quicker.
    pub position: i64,
}

/// Sequences until `shutdown`.
pub async fn run(pool: PgPool, feed: Feed, signals: Signals, shutdown: CancellationToken) {
    let mut head = feed.watch();
    let mut answered = true;
    let mut connection = Kept::new(&pool);
    loop {
        let stepped = match connection.get().await {
            Ok(connection) => step(connection, STEP_EVENTS).await,
            Err(error) => Err(error),
        };
        let pause = match connection.checked(stepped) {
            Ok(step) => {
                answered = true;
                let progressed = !step.events.is_empty();
                let elsewhere =
                    step.position - step.events.len() as i64 > *head.borrow_and_update();
                if step.busy || elsewhere {
                    feed.refresh().await;
                } else {
                    feed.push(step.events);
                }
                match (step.full, step.more) {
                    (true, _) => None,
                    (false, true) => Some(HORIZON_INTERVAL),
                    (false, false) if progressed => Some(STEP_INTERVAL),
                    (false, false) => {
                        idle(&signals, &feed, step.busy, &shutdown).await;
                        None
                    }
                }
            }
            Err(error) => {
                if std::mem::take(&mut answered) {
                    tracing::warn!(%error, "sequencing paused: the database does not answer");
                }
                Some(RETRY_INTERVAL)
            }
        };
        if shutdown.is_cancelled() {
            return;
        }
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
    }
}

async fn idle(signals: &Signals, feed: &Feed, busy: bool, shutdown: &CancellationToken) {
    let jitter = Duration::from_millis(rand::random_range(0..50));
    let limit = if busy {
        STEP_INTERVAL * 5
    } else {
        POLL_INTERVAL
    };
    tokio::select! {
        () = signals.appended.notified() => {}
        () = tokio::time::sleep(limit + jitter) => feed.refresh().await,
        () = shutdown.cancelled() => {}
    }
}

/// One step: the next events below the horizon get their places, in one statement. At most `limit`
/// events, fewer if they are large, but always one if there is one.
///
/// `executor` commits without waiting for the disk: after a crash the same order and the
/// same hashes come out again, since both are functions of what the appends made durable.
///
/// # Errors
/// When the database does not answer; nothing was sequenced then.
pub async fn step(executor: impl PgExecutor<'_>, limit: i64) -> Result<Step, sqlx::Error> {
    let sql = format!(
        "with state as materialized (
             select position, cursor_tx, cursor_seq, floor_seq, time, hash
             from sequencer_state
             where id
             for update skip locked
         ), next as materialized (
             select e.tx_id, e.global_seq,
                    sum({PAYLOAD_BYTES})
                        over (order by e.tx_id, e.global_seq
                              rows between unbounded preceding and 1 preceding) as before
             from events e
             -- the pair: by either alone, events that commit late are lost
             where (e.tx_id, e.global_seq)
                       > ((select cursor_tx from state), (select cursor_seq from state))
               and e.global_seq > (select floor_seq from state)
               and e.tx_id < pg_snapshot_xmin(pg_current_snapshot())
             order by e.tx_id, e.global_seq
             limit $1
         ), cut as materialized (
             select tx_id, global_seq from next where coalesce(before, 0) < $2
             order by tx_id desc, global_seq desc
             limit 1
         ), batch as materialized (
             select e.*, event_digest(e) as digest
             from events e
             where (e.tx_id, e.global_seq)
                       > ((select cursor_tx from state), (select cursor_seq from state))
               and (e.tx_id, e.global_seq)
                       <= ((select tx_id from cut), (select global_seq from cut))
               and e.global_seq > (select floor_seq from state)
             order by e.tx_id, e.global_seq
             limit $1
         ), linked as materialized (
             select b.*,
                    s.position + row_number() over chain as position,
                    greatest(s.time, max(b.recorded_at) over chain) as time
             from batch b, state s
             window chain as (order by b.tx_id, b.global_seq rows unbounded preceding)
         ), chained as materialized (
             select l.*, chain_hash(s.hash, l.position, l.digest)
                         over (order by l.position rows unbounded preceding) as hash
             from linked l, state s
         ), last as materialized (
             (select tx_id, global_seq from chained order by position desc limit 1)
             union all
             select cursor_tx, cursor_seq from state
             limit 1
         ), logged as (
             insert into event_log
                 (position, global_seq, workspace_id, aggregate_type, aggregate_id, sequence, time, hash)
             select position, global_seq, workspace_id, aggregate_type, aggregate_id, sequence, time, hash
             from chained
         ), moved as (
             update sequencer_state st
             set cursor_tx = c.tx_id, cursor_seq = c.global_seq,
                 position = c.position, time = c.time, hash = c.hash
             from (select * from chained order by position desc limit 1) c
             where st.id
         )
         select c.position, c.global_seq, c.workspace_id, c.aggregate_type, c.aggregate_id,
                c.sequence, c.event_type, c.event_version,
                c.payload::text as payload, c.metadata::text as metadata,
                c.recorded_at, c.time, c.hash,
                -- an aggregate's events come one after the other, here as everywhere
                c.sequence > 1 and not exists (
                    select from events p
                    where p.aggregate_type = c.aggregate_type and p.aggregate_id = c.aggregate_id
                      and p.sequence = c.sequence - 1
                      and (p.tx_id, p.global_seq) < (c.tx_id, c.global_seq)
                ) as gap,
                exists (select from state) as held,
                (select count(*) from next) as found,
                (select position from state) as before,
                -- ordered, so that no plan reads the whole table for it
                (select true from events e
                 where (e.tx_id, e.global_seq) > ((select tx_id from last), (select global_seq from last))
                   and e.global_seq > (select floor_seq from state)
                 order by e.tx_id, e.global_seq
                 limit 1) is not null as more
         from (values (1)) always left join chained c on true
         order by c.position"
    );
    let rows = sqlx::query(&sql)
        .bind(limit)
        .bind(READ_BYTES)
        .fetch_all(executor)
        .await?;
    let Some(first) = rows.first() else {
        return Ok(Step::default());
    };
    let (held, more): (bool, bool) = (first.get("held"), first.get("more"));
    let events: Vec<_> = match first.get::<Option<i64>, _>("position") {
        Some(_) => rows
            .iter()
            .map(RecordedEvent::from_row)
            .collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let count = i64::try_from(events.len()).unwrap_or_default();
    let found: i64 = first.get("found");
    let mut gaps = 0;
    for row in &rows {
        if row.get::<Option<bool>, _>("gap") == Some(true) {
            let (kind, id): (&str, &str) = (row.get("aggregate_type"), row.get("aggregate_id"));
            let sequence: i64 = row.get("sequence");
            tracing::error!(
                kind,
                id,
                sequence,
                "an aggregate's events are not contiguous"
            );
            metrics::counter!("toolroom_sequence_gaps").increment(1);
            gaps += 1;
        }
    }
    Ok(Step {
        events,
        more,
        full: found == limit || found > count,
        position: first.get::<Option<i64>, _>("before").unwrap_or_default() + count,
        busy: !held,
        gaps,
    })
}
