//! `toolroom replay`: events as JSON lines, in the order of the log.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sqlx::PgPool;
use toolroom_domain::{JobId, Sealed, WorkspaceId, job::seal_context};
use toolroom_eventlog::{Feed, Position, RecordedEvent, Vault, verify::hex};

use super::output;
use crate::{
    config::Config,
    database::{Access, Missing},
    master_key,
};

/// Events read at once: what bounds the memory, whatever the log's length.
const BATCH: usize = 500;

#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The first event: a position, or a time such as 2026-11-21T08:00:00Z.
    #[arg(long, value_name = "POSITION|TIME", value_parser = bound)]
    from: Option<Bound>,
    /// The last event, as `--from`.
    #[arg(long, value_name = "POSITION|TIME", value_parser = bound)]
    to: Option<Bound>,
    /// Only events of this type, such as ToolRegistered; may be given several times.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only events of this aggregate (an id) or kind (such as tool); may be given several times.
    #[arg(long = "aggregate", value_name = "ID|KIND")]
    aggregates: Vec<String>,
    /// Only events of this workspace.
    #[arg(long, value_name = "ID")]
    workspace: Option<WorkspaceId>,
    /// Leave job inputs and outputs encrypted, as the log holds them; needs no master key.
    #[arg(long)]
    sealed: bool,
}

/// Where to begin or end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    Position(Position),
    Time(Timestamp),
}

fn bound(text: &str) -> Result<Bound, String> {
    if let Ok(position) = text.parse() {
        return Ok(Bound::Position(position));
    }
    text.parse()
        .map(Bound::Time)
        .map_err(|_| "expected a position or a time such as 2026-11-21T08:00:00Z".to_owned())
}

/// Prints the events.
///
/// # Errors
/// When the database does not answer or the master key is missing. A reader that has had enough
/// is no error.
pub async fn run(config: &Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let access = Access::open(config, Missing::Refuse).await?;
    let pool = access.pool().await?;
    let printed = print(config, &arguments, &pool, &mut output::standard()).await;
    pool.close().await;
    access.close().await?;
    match printed {
        Err(error) if is_broken_pipe(&error) => {}
        Ok(0) => output::say("no event matches what was asked for"),
        printed => {
            printed?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints what is wanted; says how many events that were.
async fn print(
    config: &Config,
    arguments: &Arguments,
    pool: &PgPool,
    out: &mut impl Write,
) -> anyhow::Result<u64> {
    let vault = match (arguments.sealed, master_key::known(config).await?) {
        (true, _) => None,
        (false, Some(key)) => Some(Vault::new(pool.clone(), key)),
        (false, None) => bail!(
            "the master key is missing: name it with TOOLROOM_MASTER_KEY_FILE, or leave inputs and outputs encrypted with --sealed"
        ),
    };
    let feed = Feed::new(pool.clone());
    let head = feed.head().await?;
    let dense = |position: Position| position.value_in(head.epoch);
    let last = match arguments.to {
        None => head.position,
        Some(Bound::Position(position)) => dense(position)?.min(head.position),
        Some(Bound::Time(time)) => feed.position_at(time).await?,
    };
    let mut reached = match arguments.from {
        None => 0,
        Some(Bound::Position(position)) => dense(position)?.max(1) - 1,
        Some(Bound::Time(time)) => {
            // The log counts in microseconds: those of this very moment belong to it.
            feed.position_at(time - SignedDuration::from_micros(1))
                .await?
        }
    };
    let mut printed = 0;
    while reached < last {
        let events = feed.read(reached, BATCH).await?;
        let Some(newest) = events.last() else {
            bail!(
                "position {} cannot be read: `toolroom verify` tells more",
                reached + 1
            );
        };
        reached = newest.position;
        for event in events.iter().filter(|event| event.position <= last) {
            if arguments.wants(event) {
                let line = line(event, head.epoch, vault.as_ref()).await?;
                serde_json::to_writer(&mut *out, &line).map_err(io::Error::from)?;
                out.write_all(b"\n")?;
                printed += 1;
            }
        }
    }
    out.flush()?;
    Ok(printed)
}

impl Arguments {
    fn wants(&self, event: &RecordedEvent) -> bool {
        let among = |wanted: &[String], is: &dyn Fn(&str) -> bool| {
            wanted.is_empty() || wanted.iter().any(|wanted| is(wanted))
        };
        among(&self.types, &|wanted| wanted == event.event_type)
            && among(&self.aggregates, &|wanted| {
                wanted == event.aggregate_id || wanted == event.aggregate_type
            })
            && self
                .workspace
                .is_none_or(|workspace| workspace.to_string() == event.workspace_id)
    }
}

/// One event, with the names that the API gives to its parts.
async fn line(event: &RecordedEvent, epoch: i32, vault: Option<&Vault>) -> anyhow::Result<Value> {
    let unreadable = || format!("position {} cannot be read", event.position);
    let mut payload: Value = serde_json::from_str(&event.payload).with_context(unreadable)?;
    if let Some(vault) = vault {
        open_sealed(event, &mut payload, vault)
            .await
            .with_context(unreadable)?;
    }
    let metadata: Value = serde_json::from_str(&event.metadata).with_context(unreadable)?;
    Ok(json!({
        "position": Position::new(epoch, event.position).to_string(),
        "recordedAt": event.recorded_at,
        "loggedAt": event.logged_at,
        "hash": hex(&event.hash),
        "workspaceId": event.workspace_id,
        "aggregateType": event.aggregate_type,
        "aggregateId": event.aggregate_id,
        "sequence": event.sequence,
        "type": event.event_type,
        "eventVersion": event.event_version,
        "metadata": metadata,
        "payload": payload,
    }))
}

/// Where an event of a job holds something encrypted, and the name of the field it was bound to.
const SEALED: [(&str, &str, &str); 3] = [
    ("JobRequested", "/input", "input"),
    ("JobSucceeded", "/output", "output"),
    ("JobFailed", "/error/details", "error"),
];

async fn open_sealed(
    event: &RecordedEvent,
    payload: &mut Value,
    vault: &Vault,
) -> anyhow::Result<()> {
    for (event_type, pointer, field) in SEALED {
        if event_type != event.event_type {
            continue;
        }
        let Some(place) = payload
            .pointer_mut(pointer)
            .filter(|place| !place.is_null())
        else {
            continue;
        };
        let sealed: Sealed = serde_json::from_value(place.clone())?;
        let job: JobId = event.aggregate_id.parse()?;
        let workspace: WorkspaceId = event.workspace_id.parse()?;
        let opened = vault
            .open(workspace, &seal_context(job, field), &sealed)
            .await?;
        *place = opened.into_value();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_a_position_or_a_time() {
        assert_eq!(bound("41"), Ok(Bound::Position(Position::new(0, 41))));
        assert!(matches!(bound("2026-11-21T08:00:00Z"), Ok(Bound::Time(_))));
        assert!(bound("yesterday").is_err());
    }
}
