//! A stretch of the log as a file that proves itself, without a database.
//!
//! JSON lines: a header with the hash before the stretch, one line a position, and an end with the
//! last hash. Events of other workspaces are carried as mere digests, so that a tenant can check
//! the chain without seeing what is not theirs. A value too large for the log follows the first event
//! that names it, sealed as it lies in the database.

use std::collections::HashSet;
use std::io::{BufRead, Write};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, Row, postgres::PgRow};

use crate::{
    vault::OVERHEAD,
    verify::{Anchor, DigestInput, event_digest, hex, link, seed},
    verify_blobs::named_in_text,
};

/// Events read at once: some megabytes at the most that events usually have.
const BATCH: i64 = 500;

/// Bytes of a line: far above the largest event, low enough that a wrong file does no harm.
const LINE_LIMIT: u64 = 64 * 1024 * 1024;

const FORMAT: &str = "toolroom-export";
const VERSION: u32 = 2;

/// The versions that can be read: the first had no large values.
const READABLE: [u32; 2] = [1, 2];

/// What to export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first position.
    pub from: i64,
    /// The last position.
    pub to: i64,
    /// Whose events to show; all if none.
    pub workspace: Option<String>,
}

/// What an export holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The first position.
    pub from: i64,
    /// The last position.
    pub to: i64,
    /// How many events are there with their text.
    pub events: i64,
    /// How many are there as digests.
    pub digests: i64,
    /// How many large values are there.
    pub blobs: i64,
    /// The hash at the last position, in hex.
    pub head: String,
}

/// Why an export could not be made, or does not hold.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such stretch.
    #[error("positions {from} to {to} are not all in the log, which ends at {head}")]
    NoSuchRange {
        /// The first position asked for.
        from: i64,
        /// The last position asked for.
        to: i64,
        /// The log's last position.
        head: i64,
    },
    /// The file is not an export, or was changed.
    #[error("line {line}: {what}")]
    Broken {
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        what: String,
    },
    /// The file could not be read or written.
    #[error("the export could not be read or written: {0}")]
    Io(#[from] std::io::Error),
    /// The database did not answer.
    #[error("the log could not be read: {0}")]
    Database(#[from] sqlx::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Line {
    Header(Header),
    Event(Box<Event>),
    Digest(Digest),
    Blob(Blob),
    End(End),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Header {
    format: String,
    version: u32,
    from: i64,
    to: i64,
    previous_hash: String,
    workspace: Option<String>,
}

/// The event's columns; `payload` and `metadata` are the stored text, byte for byte.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Event {
    position: i64,
    aggregate_type: String,
    aggregate_id: String,
    sequence: i64,
    event_type: String,
    event_version: String,
    global_seq: i64,
    recorded_at_us: i64,
    payload: String,
    metadata: String,
}

impl Event {
    fn digest(&self) -> [u8; 32] {
        event_digest(&DigestInput {
            aggregate_type: &self.aggregate_type,
            aggregate_id: &self.aggregate_id,
            sequence: self.sequence,
            event_type: &self.event_type,
            event_version: &self.event_version,
            global_seq: self.global_seq,
            recorded_at_us: self.recorded_at_us,
            payload: &self.payload,
            metadata: &self.metadata,
        })
    }
}

impl From<&PgRow> for Event {
    fn from(row: &PgRow) -> Self {
        Self {
            position: row.get("position"),
            aggregate_type: row.get("aggregate_type"),
            aggregate_id: row.get("aggregate_id"),
            sequence: row.get("sequence"),
            event_type: row.get("event_type"),
            event_version: row.get("event_version"),
            global_seq: row.get("global_seq"),
            recorded_at_us: row.get("recorded_at_us"),
            payload: row.get("payload"),
            metadata: row.get("metadata"),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Digest {
    position: i64,
    sha256: String,
}

/// A large value of the event before it; no data if its workspace was erased.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Blob {
    sha256: String,
    bytes: u64,
    data: Option<String>,
}

/// The large values that have been carried. Each has more than 64 KiB, so that their names are little
/// beside them.
type Carried = HashSet<String>;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    position: i64,
    hash: String,
}

/// Writes a stretch of the log, in bounded memory; calls `progress` with the position reached.
///
/// # Errors
/// When the stretch is not there, the log does not answer or the output cannot be written. The
/// links are not recomputed here: that is for whoever reads the export.
pub async fn write(
    pool: &PgPool,
    range: &Range,
    out: &mut impl Write,
    mut progress: impl FnMut(i64),
) -> Result<Report, Error> {
    let (from, to) = (range.from, range.to);
    let no_such_range = |head| Error::NoSuchRange { from, to, head };
    let head: i64 = sqlx::query_scalar("select position from sequencer_state")
        .fetch_one(pool)
        .await?;
    if from < 1 || to < from || to > head {
        return Err(no_such_range(head));
    }
    let mut last = hash_at(pool, from - 1).await?.ok_or(no_such_range(head))?;
    put(
        out,
        &Line::Header(Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            from,
            to,
            previous_hash: hex(&last),
            workspace: range.workspace.clone(),
        }),
    )?;
    let (mut events, mut digests, mut blobs) = (0, 0, 0);
    let mut carried = Carried::new();
    let mut reached = from - 1;
    while reached < to {
        let rows = read(pool, reached, to.min(reached + BATCH)).await?;
        if rows.is_empty() {
            return Err(no_such_range(head));
        }
        for row in &rows {
            let event = Event::from(row);
            if event.position != reached + 1 {
                return Err(no_such_range(head));
            }
            reached = event.position;
            last = row.get("hash");
            let workspace: &str = row.get("workspace_id");
            let shown = range.workspace.as_deref().is_none_or(|w| w == workspace);
            let line = if shown {
                events += 1;
                Line::Event(Box::new(event))
            } else {
                digests += 1;
                Line::Digest(Digest {
                    position: reached,
                    sha256: hex(&event.digest()),
                })
            };
            put(out, &line)?;
            if let Line::Event(event) = &line {
                blobs += put_blobs(pool, out, workspace, &event.payload, &mut carried).await?;
            }
        }
        progress(reached);
    }
    let head = hex(&last);
    put(
        out,
        &Line::End(End {
            position: to,
            hash: head.clone(),
        }),
    )?;
    out.flush()?;
    Ok(Report {
        from,
        to,
        events,
        digests,
        blobs,
        head,
    })
}

/// Writes the large values that an event is the first to name.
async fn put_blobs(
    pool: &PgPool,
    out: &mut impl Write,
    workspace: &str,
    payload: &str,
    carried: &mut Carried,
) -> Result<i64, Error> {
    let mut written = 0;
    for blob in named_in_text(payload) {
        if !carried.insert(blob.sha256.clone()) {
            continue;
        }
        let data: Option<Vec<u8>> =
            sqlx::query_scalar("select data from blobs where workspace_id = $1 and sha256 = $2")
                .bind(workspace)
                .bind(&blob.sha256)
                .fetch_optional(pool)
                .await?;
        written += i64::from(data.is_some());
        put(
            out,
            &Line::Blob(Blob {
                sha256: blob.sha256,
                bytes: blob.bytes,
                data: data.map(|data| STANDARD.encode(data)),
            }),
        )?;
    }
    Ok(written)
}

fn put(out: &mut impl Write, line: &Line) -> Result<(), Error> {
    serde_json::to_writer(&mut *out, line).map_err(std::io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(())
}

async fn hash_at(pool: &PgPool, position: i64) -> Result<Option<Vec<u8>>, sqlx::Error> {
    if position == 0 {
        return Ok(Some(seed().to_vec()));
    }
    sqlx::query_scalar("select hash from event_log where position = $1")
        .bind(position)
        .fetch_optional(pool)
        .await
}

async fn read(pool: &PgPool, after: i64, to: i64) -> Result<Vec<PgRow>, sqlx::Error> {
    sqlx::query(
        "select l.position, l.hash, l.workspace_id, l.aggregate_type, l.aggregate_id, l.sequence,
                e.global_seq, e.event_type, e.event_version,
                (extract(epoch from e.recorded_at) * 1000000)::bigint as recorded_at_us,
                e.payload::text as payload, e.metadata::text as metadata
         from event_log l
         join events e using (aggregate_type, aggregate_id, sequence)
         where l.position > $1 and l.position <= $2
         order by l.position",
    )
    .bind(after)
    .bind(to)
    .fetch_all(pool)
    .await
}

/// Recomputes every link of an export, and compares a noted one if it is given.
///
/// # Errors
/// [`Error::Broken`] with the first line that does not hold.
pub fn verify(input: &mut impl BufRead, expect: Option<&Anchor>) -> Result<Report, Error> {
    let mut lines = Lines { input, number: 0 };
    let Some(Line::Header(header)) = lines.next()? else {
        return Err(lines.broken("this is no export: it does not begin with its header"));
    };
    if header.format != FORMAT || !READABLE.contains(&header.version) {
        return Err(lines.broken(format!(
            "this is {} version {}, not {FORMAT} version {VERSION}",
            header.format, header.version
        )));
    }
    if header.from == 1 && !header.previous_hash.eq_ignore_ascii_case(&hex(&seed())) {
        return Err(lines.broken("the chain does not begin with its seed"));
    }
    let mut hash = unhex(&header.previous_hash)
        .ok_or_else(|| lines.broken("the previous hash is not 64 hexadecimal digits"))?;
    let mut position = header.from - 1;
    compare(&lines, expect, position, &hash)?;
    let (mut events, mut digests, mut blobs) = (0, 0, 0);
    let mut carried = Carried::new();
    let mut awaited = Vec::new();
    loop {
        let line = lines.next()?;
        if let Some(Line::Blob(blob)) = &line {
            blobs += take_blob(&lines, blob, &mut awaited)?;
            continue;
        }
        if let Some((sha256, _)) = awaited.first() {
            return Err(lines.broken(format!(
                "the large value {sha256} is expected here, which position {position} names"
            )));
        }
        let (found, digest) = match line {
            Some(Line::Event(event)) => {
                events += 1;
                let named = named_in_text(&event.payload).into_iter();
                let new = named.filter(|blob| carried.insert(blob.sha256.clone()));
                awaited.extend(new.map(|blob| (blob.sha256, blob.bytes)));
                (event.position, event.digest())
            }
            Some(Line::Blob(_)) => continue,
            Some(Line::Digest(line)) => {
                digests += 1;
                let digest = unhex(&line.sha256)
                    .ok_or_else(|| lines.broken("the digest is not 64 hexadecimal digits"))?;
                (line.position, digest)
            }
            Some(Line::End(end)) => {
                if end.position != position || position != header.to {
                    return Err(lines.broken(format!(
                        "the export ends at position {position}, its header says {}",
                        header.to
                    )));
                }
                if !end.hash.eq_ignore_ascii_case(&hex(&hash)) {
                    return Err(lines.broken(
                        "the events or their hashes were changed: the chain does not lead to its end",
                    ));
                }
                if lines.next()?.is_some() {
                    return Err(lines.broken("there is more after the end"));
                }
                break;
            }
            Some(Line::Header(_)) => return Err(lines.broken("there is a second header")),
            None => return Err(lines.broken("the export was cut: it has no end")),
        };
        if found != position + 1 {
            return Err(lines.broken(format!(
                "position {} is expected here, found {found}",
                position + 1
            )));
        }
        position = found;
        hash = link(&hash, position, &digest);
        compare(&lines, expect, position, &hash)?;
    }
    if let Some(anchor) = expect.filter(|a| a.position < header.from - 1 || a.position > position) {
        return Err(lines.broken(format!(
            "position {} is not in this export, which goes from {} to {position}",
            anchor.position, header.from
        )));
    }
    Ok(Report {
        from: header.from,
        to: position,
        events,
        digests,
        blobs,
        head: hex(&hash),
    })
}

/// Checks a large value against what the event before it says; what it holds nobody can tell without
/// the workspace's key.
fn take_blob<R: BufRead>(
    lines: &Lines<'_, R>,
    blob: &Blob,
    awaited: &mut Vec<(String, u64)>,
) -> Result<i64, Error> {
    let is_it = |(sha256, bytes): &(String, u64)| *sha256 == blob.sha256 && *bytes == blob.bytes;
    let Some(at) = awaited.iter().position(is_it) else {
        return Err(lines.broken("the event before it names no such large value"));
    };
    awaited.swap_remove(at);
    let Some(data) = &blob.data else {
        return Ok(0);
    };
    let length = STANDARD.decode(data).map(|data| data.len() as u64);
    match length {
        Ok(length) if length == blob.bytes + OVERHEAD as u64 => Ok(1),
        _ => Err(lines.broken("the large value is not as long as its event says")),
    }
}

fn compare<R: BufRead>(
    lines: &Lines<'_, R>,
    expect: Option<&Anchor>,
    position: i64,
    hash: &[u8; 32],
) -> Result<(), Error> {
    match expect {
        Some(anchor)
            if anchor.position == position && !anchor.hash.eq_ignore_ascii_case(&hex(hash)) =>
        {
            Err(lines.broken(format!("position {position} has not the expected hash")))
        }
        _ => Ok(()),
    }
}

struct Lines<'a, R> {
    input: &'a mut R,
    number: u64,
}

impl<R: BufRead> Lines<'_, R> {
    fn next(&mut self) -> Result<Option<Line>, Error> {
        let mut text = Vec::new();
        let read =
            std::io::Read::take(&mut *self.input, LINE_LIMIT).read_until(b'\n', &mut text)?;
        self.number += 1;
        if read == 0 {
            return Ok(None);
        }
        if text.last() != Some(&b'\n') {
            return Err(self.broken("the line was cut or is too long"));
        }
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| self.broken(format!("this is no line of an export: {error}")))
    }

    fn broken(&self, what: impl Into<String>) -> Error {
        Error::Broken {
            line: self.number,
            what: what.into(),
        }
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(bytes)
}
