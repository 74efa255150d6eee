//! All primary data in one file, and back.
//!
//! One consistent snapshot, read while the server goes on. The file is text: a header, for each
//! table a line with its columns and then its rows as `COPY` writes them, and an end with the
//! SHA-256 of everything before it. What is derived is not in it, and neither is the master key.

use std::io::{BufRead, Read as _, Write};

use aws_lc_rs::digest::{Context, SHA256};
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, PgConnection, PgPool, Row as _};

use crate::{
    recovery,
    verify::{self, Anchor, hex},
};

/// What cannot be derived, in the order in which it is written.
pub const PRIMARY_TABLES: [&str; 11] = [
    "sequencer_state",
    "events",
    "event_log",
    "vault",
    "master_key_rotations",
    "blobs",
    "claims",
    "command_log",
    "numbers",
    "key_hashes",
    "invitation_tokens",
];

/// Bytes of one row: twice the largest value, which is written in hexadecimal digits, and low enough
/// that a wrong file does no harm.
const ROW_LIMIT: u64 = 64 * 1024 * 1024;

/// Rows are sent to the server in pieces of about so many bytes.
const PIECE: usize = 256 * 1024;

/// What ends a table's rows; `COPY` escapes every backslash within them.
const END_OF_ROWS: &[u8] = b"\\.\n";

const FORMAT: &str = "toolroom-backup";
const VERSION: u32 = 1;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The log's last position in it.
    pub position: i64,
    /// The hash there, in hex.
    pub hash: String,
    /// Events in it, those without a position yet included.
    pub events: u64,
}

/// Why a backup could not be made or taken back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is no backup, was cut, or was changed.
    #[error("the file is not a whole backup: {0}")]
    Broken(String),
    /// It was made by a later version.
    #[error(
        "the backup was made at migration {backup}, this toolroom knows only up to {known}: use a toolroom as new as the one that made it"
    )]
    TooNew {
        /// Its last migration.
        backup: i64,
        /// Ours.
        known: i64,
    },
    /// Something is there already.
    #[error(
        "the table `{table}` is not empty: restore into a new data folder or an empty database"
    )]
    NotEmpty {
        /// Where.
        table: &'static str,
    },
    /// The data is back, but it is not what was written.
    #[error("the restored log is not sound; drop the database and use another backup: {0}")]
    NotSound(#[from] verify::Error),
    /// The file could not be read or written.
    #[error("the backup could not be read or written: {0}")]
    Io(#[from] std::io::Error),
    /// The database did not answer.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

fn broken(what: impl Into<String>) -> Error {
    Error::Broken(what.into())
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Line {
    Header(Header),
    Table(Table),
    End(End),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Header {
    format: String,
    version: u32,
    migration: i64,
    position: i64,
    hash: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    columns: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    sha256: String,
}

/// Writes a backup; `owner` is a connection of its own under the owner's role.
///
/// # Errors
/// When the database does not answer or the output cannot be written; what was written is no
/// backup then.
pub async fn write(owner: &mut PgConnection, out: &mut impl Write) -> Result<Report, Error> {
    let mut tx = owner
        .begin_with("begin isolation level repeatable read, read only")
        .await?;
    settle(&mut tx).await?;
    let state = sqlx::query("select position, hash from sequencer_state")
        .fetch_one(&mut *tx)
        .await?;
    let header = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        migration: last_migration(&mut tx).await?,
        position: state.get("position"),
        hash: hex(&state.get::<Vec<u8>, _>("hash")),
    };
    let mut report = Report {
        position: header.position,
        hash: header.hash.clone(),
        events: 0,
    };
    let mut out = Hashing {
        inner: out,
        context: Context::new(&SHA256),
    };
    put(&mut out, &Line::Header(header))?;
    for name in PRIMARY_TABLES {
        let columns = columns(&mut tx, name).await?;
        let statement = format!("copy {name} ({}) to stdout", columns.join(", "));
        put(
            &mut out,
            &Line::Table(Table {
                name: name.to_owned(),
                columns,
            }),
        )?;
        let mut rows = tx.copy_out_raw(&statement).await?;
        while let Some(piece) = rows.try_next().await? {
            out.write_all(&piece)?;
            if name == "events" {
                report.events += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
            }
        }
        out.write_all(END_OF_ROWS)?;
    }
    let sha256 = hex(out.context.clone().finish().as_ref());
    put(&mut out, &Line::End(End { sha256 }))?;
    out.flush()?;
    tx.rollback().await?;
    Ok(report)
}

/// Takes a backup into an empty, migrated database, gives the log a new epoch there, and proves
/// its chain. Nothing is changed unless the file is whole.
///
/// # Errors
/// See [`Error`]. After [`Error::NotSound`] the database holds what the file held.
pub async fn restore(
    owner: &PgPool,
    input: &mut impl BufRead,
    progress: impl FnMut(i64),
) -> Result<Report, Error> {
    let mut input = Input {
        inner: input,
        context: Context::new(&SHA256),
    };
    let header = match input.line()? {
        Line::Header(header) if header.format == FORMAT && header.version == VERSION => header,
        _ => {
            return Err(broken(
                "it does not begin with a header that this version knows",
            ));
        }
    };
    let mut tx = owner.begin().await?;
    settle(&mut tx).await?;
    let known = last_migration(&mut tx).await?;
    if header.migration > known {
        return Err(Error::TooNew {
            backup: header.migration,
            known,
        });
    }
    sqlx::query("lock table events in exclusive mode")
        .execute(&mut *tx)
        .await?;
    refuse_unless_empty(&mut tx).await?;
    sqlx::query("delete from sequencer_state")
        .execute(&mut *tx)
        .await?;
    force_row_security(&mut tx, false).await?;
    let mut events = 0;
    loop {
        let before = input.digest();
        match input.line()? {
            Line::Table(table) => {
                let rows = take_table(&mut tx, &table, &mut input).await?;
                if table.name == "events" {
                    events += rows;
                }
            }
            Line::End(end) if end.sha256 == before => break,
            Line::End(_) => return Err(broken("its checksum differs: it was changed")),
            Line::Header(_) => return Err(broken("there is a second header")),
        }
    }
    if !input.inner.fill_buf()?.is_empty() {
        return Err(broken("there is more after its end"));
    }
    // Of no cluster, so that the log is taken up anew even where the backup comes from this one:
    // what was appended after it is lost, and its positions must be known as stale.
    let states = sqlx::query("update sequencer_state set system_identifier = 0")
        .execute(&mut *tx)
        .await?
        .rows_affected();
    if states != 1 {
        return Err(broken("it has no state of the sequencer"));
    }
    sqlx::query(
        "select setval(pg_get_serial_sequence('vault', 'id'),
                       greatest((select max(id) from vault), 1),
                       exists (select from vault)),
                setval(pg_get_serial_sequence('master_key_rotations', 'id'),
                       greatest((select max(id) from master_key_rotations), 1),
                       exists (select from master_key_rotations))",
    )
    .execute(&mut *tx)
    .await?;
    force_row_security(&mut tx, true).await?;
    tx.commit().await?;
    recovery::resume(owner).await?;
    let anchor = Anchor {
        position: header.position,
        hash: header.hash,
    };
    let noted = (anchor.position > 0).then_some(&anchor);
    verify::verify(owner, noted, progress).await?;
    Ok(Report {
        position: anchor.position,
        hash: anchor.hash,
        events,
    })
}

/// Lets the owner of the tables pass their policies for the rest of the transaction, or holds it to
/// them again: PostgreSQL copies nothing into a table that has any.
async fn force_row_security(tx: &mut PgConnection, force: bool) -> Result<(), sqlx::Error> {
    let isolated: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class
         where oid = any($1::text[]::regclass[]) and relrowsecurity",
    )
    .bind(PRIMARY_TABLES.as_slice())
    .fetch_all(&mut *tx)
    .await?;
    let force = if force { "force" } else { "no force" };
    for table in isolated {
        sqlx::query(&format!("alter table {table} {force} row level security"))
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// One form of dates and bytes whatever the server's own, and time enough.
async fn settle(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(
        "select set_config('datestyle', 'ISO, YMD', true), set_config('timezone', 'UTC', true),
                set_config('bytea_output', 'hex', true), set_config('statement_timeout', '0', true),
                set_config('search_path', 'public', true)",
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn last_migration(tx: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select coalesce(max(version), 0) from _sqlx_migrations where success")
        .fetch_one(tx)
        .await
}

/// The columns that are written: not those that the database derives from others.
async fn columns(tx: &mut PgConnection, table: &str) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select attname::text from pg_attribute
         where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = ''
         order by attnum",
    )
    .bind(table)
    .fetch_all(tx)
    .await
}

async fn refuse_unless_empty(tx: &mut PgConnection) -> Result<(), Error> {
    for table in PRIMARY_TABLES {
        let filled: bool = if table == "sequencer_state" {
            sqlx::query_scalar("select exists (select from sequencer_state where position > 0)")
                .fetch_one(&mut *tx)
                .await?
        } else {
            sqlx::query_scalar(&format!("select exists (select from {table})"))
                .fetch_one(&mut *tx)
                .await?
        };
        if filled {
            return Err(Error::NotEmpty { table });
        }
    }
    Ok(())
}

async fn take_table(
    tx: &mut PgConnection,
    table: &Table,
    input: &mut Input<'_, impl BufRead>,
) -> Result<u64, Error> {
    let known = PRIMARY_TABLES.iter().find(|name| **name == table.name);
    let name = known.ok_or_else(|| broken(format!("it has an unknown table `{}`", table.name)))?;
    let ours = columns(tx, name).await?;
    if let Some(column) = table.columns.iter().find(|column| !ours.contains(column)) {
        return Err(broken(format!("`{name}` has no column `{column}`")));
    }
    let statement = format!("copy {name} ({}) from stdin", table.columns.join(", "));
    let mut rows = tx.copy_in_raw(&statement).await?;
    let mut piece = Vec::with_capacity(PIECE * 2);
    loop {
        let begin = piece.len();
        if let Err(error) = input.row(&mut piece) {
            rows.abort("the backup cannot be read further").await?;
            return Err(error);
        }
        let ended = &piece[begin..] == END_OF_ROWS;
        if ended {
            piece.truncate(begin);
        }
        if (ended || piece.len() >= PIECE) && !piece.is_empty() {
            rows.send(piece.as_slice()).await?;
            piece.clear();
        }
        if ended {
            return Ok(rows.finish().await?);
        }
    }
}

fn put(out: &mut impl Write, line: &Line) -> Result<(), Error> {
    serde_json::to_writer(&mut *out, line).map_err(std::io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(())
}

struct Hashing<'a, W> {
    inner: &'a mut W,
    context: Context,
}

impl<W: Write> Write for Hashing<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.context.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

struct Input<'a, R> {
    inner: &'a mut R,
    context: Context,
}

impl<R: BufRead> Input<'_, R> {
    /// Appends the next line with its line feed.
    fn row(&mut self, to: &mut Vec<u8>) -> Result<(), Error> {
        let begin = to.len();
        self.inner.by_ref().take(ROW_LIMIT).read_until(b'\n', to)?;
        if to[begin..].last() != Some(&b'\n') {
            return Err(broken("it was cut, or a line is too long"));
        }
        self.context.update(&to[begin..]);
        Ok(())
    }

    fn line(&mut self) -> Result<Line, Error> {
        let mut text = Vec::new();
        self.row(&mut text)?;
        serde_json::from_slice(&text)
            .map_err(|error| broken(format!("a line of its frame: {error}")))
    }

    fn digest(&self) -> String {
        hex(self.context.clone().finish().as_ref())
    }
}
