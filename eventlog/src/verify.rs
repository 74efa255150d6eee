//! Proves that the log is what was written.
//!
//! A second implementation of the chain, in Rust, beside the sequencer's in SQL: the two must agree
//! on every link.

use aws_lc_rs::digest::{Context, SHA256, digest};
use sqlx::{PgPool, Row, postgres::PgRow};

/// Events read at once.
const BATCH: i64 = 5_000;

/// The hash before the first event.
pub fn seed() -> [u8; 32] {
    sha256(b"toolroom")
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes)
        .as_ref()
        .try_into()
        .unwrap_or_default()
}

/// What the chain covers of one event.
#[derive(Clone, Debug)]
pub struct DigestInput<'a> {
    /// As in the table `events`.
    pub aggregate_type: &'a str,
    /// As in the table `events`.
    pub aggregate_id: &'a str,
    /// As in the table `events`.
    pub sequence: i64,
    /// As in the table `events`.
    pub event_type: &'a str,
    /// As in the table `events`.
    pub event_version: &'a str,
    /// As in the table `events`.
    pub global_seq: i64,
    /// Microseconds since 1970.
    pub recorded_at_us: i64,
    /// The stored text.
    pub payload: &'a str,
    /// The stored text.
    pub metadata: &'a str,
}

/// SHA-256 of an event's stored text: its columns joined by U+001F, which occurs in none of them.
pub fn event_digest(event: &DigestInput<'_>) -> [u8; 32] {
    let numbers = [
        event.sequence.to_string(),
        event.global_seq.to_string(),
        event.recorded_at_us.to_string(),
    ];
    let text = [
        event.aggregate_type,
        event.aggregate_id,
        &numbers[0],
        event.event_type,
        event.event_version,
        &numbers[1],
        &numbers[2],
        event.payload,
        event.metadata,
    ]
    .join("\u{1f}");
    sha256(text.as_bytes())
}

/// The next link: SHA-256 of the previous hash, the position as 8 bytes big-endian, the digest.
pub fn link(previous: &[u8], position: i64, digest: &[u8; 32]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(previous);
    context.update(&position.to_be_bytes());
    context.update(digest);
    context.finish().as_ref().try_into().unwrap_or_default()
}

/// A link that was noted elsewhere, against which a cut tail shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The dense number of the event.
    pub position: i64,
    /// Its hash, in hex.
    pub hash: String,
}

/// What a sound log showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How many events were checked.
    pub events: i64,
    /// The log's epoch: what makes the number of an event its position.
    pub epoch: i32,
    /// The last hash, in hex.
    pub head: String,
    /// Committed events that have no place yet.
    pub unsequenced: i64,
}

/// Why the log is not sound.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The first place at which it is not what was written.
    #[error("position {position}: {what}")]
    Broken {
        /// Where.
        position: i64,
        /// What is wrong.
        what: String,
    },
    /// The database did not answer.
    #[error("the log could not be read: {0}")]
    Database(#[from] sqlx::Error),
}

fn broken(position: i64, what: impl Into<String>) -> Error {
    Error::Broken {
        position,
        what: what.into(),
    }
}

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Walks the chain from its seed, comparing it with `events` and `sequencer_state`; calls
/// `progress` with the position reached after each batch.
///
/// # Errors
/// [`Error::Broken`] with the first bad position.
pub async fn verify(
    pool: &PgPool,
    expect: Option<&Anchor>,
    mut progress: impl FnMut(i64),
) -> Result<Report, Error> {
    // Taken first: what is sequenced while this runs is not ours to check.
    let state = sqlx::query(
        "select log_epoch, position, hash,
                case when position > 0 then (extract(epoch from time) * 1000000)::bigint end as time_us,
                cursor_tx::text as cursor_tx, cursor_seq, floor_seq
         from sequencer_state",
    )
    .fetch_one(pool)
    .await?;
    let head: i64 = state.get("position");
    let mut hash = seed();
    let mut time_us = i64::MIN;
    let mut reached = 0;
    while reached < head {
        let rows = read(pool, reached, head.min(reached + BATCH)).await?;
        if rows.is_empty() {
            return Err(broken(reached + 1, "the event has no place in event_log"));
        }
        for row in &rows {
            let position: i64 = row.get("position");
            if position != reached + 1 {
                return Err(broken(reached + 1, "the event has no place in event_log"));
            }
            (hash, time_us) = check(row, position, &hash, time_us)?;
            reached = position;
            if let Some(anchor) = expect.filter(|a| a.position == position)
                && !anchor.hash.eq_ignore_ascii_case(&hex(&hash))
            {
                return Err(broken(position, "the hash is not the expected one"));
            }
        }
        progress(reached);
    }
    if hash.as_slice() != state.get::<Vec<u8>, _>("hash").as_slice() {
        return Err(broken(
            head,
            "sequencer_state holds another hash than the chain",
        ));
    }
    if head > 0 && Some(time_us) != state.get::<Option<i64>, _>("time_us") {
        return Err(broken(
            head,
            "sequencer_state holds another time than the chain",
        ));
    }
    if let Some(anchor) = expect.filter(|a| a.position > head) {
        return Err(broken(
            head + 1,
            format!(
                "the log ends before this, but event {} was noted: its tail was cut",
                anchor.position
            ),
        ));
    }
    covers_all_events(pool, &state, head).await?;
    let unsequenced = sqlx::query_scalar(
        "select count(*) from events e, sequencer_state s
         where (e.tx_id, e.global_seq) > (s.cursor_tx, s.cursor_seq) and e.global_seq > s.floor_seq",
    )
    .fetch_one(pool)
    .await?;
    Ok(Report {
        events: head,
        epoch: state.get("log_epoch"),
        head: hex(&hash),
        unsequenced,
    })
}

async fn read(pool: &PgPool, after: i64, to: i64) -> Result<Vec<PgRow>, sqlx::Error> {
    sqlx::query(
        "select l.position, l.hash, l.global_seq as logged_seq, l.workspace_id as logged_workspace,
                (extract(epoch from l.time) * 1000000)::bigint as time_us,
                l.aggregate_type, l.aggregate_id, l.sequence,
                e.global_seq, e.event_type, e.event_version, e.workspace_id,
                (extract(epoch from e.recorded_at) * 1000000)::bigint as recorded_at_us,
                e.payload::text as payload, e.metadata::text as metadata
         from event_log l
         left join events e using (aggregate_type, aggregate_id, sequence)
         where l.position > $1 and l.position <= $2
         order by l.position",
    )
    .bind(after)
    .bind(to)
    .fetch_all(pool)
    .await
}

fn check(
    row: &PgRow,
    position: i64,
    previous: &[u8; 32],
    previous_time_us: i64,
) -> Result<([u8; 32], i64), Error> {
    let Some(global_seq) = row.get::<Option<i64>, _>("global_seq") else {
        return Err(broken(position, "the event is missing from events"));
    };
    let recorded_at_us: i64 = row.get("recorded_at_us");
    let digest = event_digest(&DigestInput {
        aggregate_type: row.get("aggregate_type"),
        aggregate_id: row.get("aggregate_id"),
        sequence: row.get("sequence"),
        event_type: row.get("event_type"),
        event_version: row.get("event_version"),
        global_seq,
        recorded_at_us,
        payload: row.get("payload"),
        metadata: row.get("metadata"),
    });
    let hash = link(previous, position, &digest);
    if hash.as_slice() != row.get::<Vec<u8>, _>("hash").as_slice() {
        return Err(broken(
            position,
            "the event or its hash was changed: the chain does not continue",
        ));
    }
    if row.get::<i64, _>("logged_seq") != global_seq {
        return Err(broken(position, "event_log names another global_seq"));
    }
    if row.get::<&str, _>("logged_workspace") != row.get::<&str, _>("workspace_id") {
        return Err(broken(position, "event_log names another workspace"));
    }
    let time_us = recorded_at_us.max(previous_time_us);
    if row.get::<i64, _>("time_us") != time_us {
        return Err(broken(
            position,
            "the time is not the running maximum of recorded_at",
        ));
    }
    Ok((hash, time_us))
}

/// Every event at or before the cursor has a place. They are counted first, which needs no join.
async fn covers_all_events(pool: &PgPool, state: &PgRow, head: i64) -> Result<(), Error> {
    let condition = "(tx_id, global_seq) <= ($1::xid8, $2) or global_seq <= $3";
    let count: i64 = sqlx::query_scalar(&format!("select count(*) from events where {condition}"))
        .bind(state.get::<&str, _>("cursor_tx"))
        .bind(state.get::<i64, _>("cursor_seq"))
        .bind(state.get::<i64, _>("floor_seq"))
        .fetch_one(pool)
        .await?;
    if count == head {
        return Ok(());
    }
    let missed: Option<i64> = sqlx::query_scalar(&format!(
        "select min(global_seq) from events e
         where ({condition}) and not exists (select from event_log l where l.global_seq = e.global_seq)"
    ))
    .bind(state.get::<&str, _>("cursor_tx"))
    .bind(state.get::<i64, _>("cursor_seq"))
    .bind(state.get::<i64, _>("floor_seq"))
    .fetch_one(pool)
    .await?;
    Err(broken(
        head + 1,
        match missed {
            Some(seq) => {
                format!("the event with global_seq {seq} was passed over by the sequencer")
            }
            None => format!("{head} places for {count} events"),
        },
    ))
}
