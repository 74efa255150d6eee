//! Proves that the values which lie outside the log are there: each that an event names, and each as
//! its name says.

use std::collections::BTreeSet;

use serde::Deserialize as _;
use serde_json::Value;
use sqlx::{PgPool, Row};
use toolroom_domain::{Sealed, sealed::BlobRef};

use crate::{
    Vault,
    vault::{self, BlobCheck, check_blobs},
};

/// Positions that one statement looks through: some ten milliseconds.
const BATCH: i64 = 5_000;

/// Why the large values are not what was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The first that is not there, or not what its name says.
    #[error("{0}")]
    Broken(String),
    /// The vault did not answer, or its keys do not open.
    #[error(transparent)]
    Vault(#[from] vault::Error),
    /// The database did not answer.
    #[error("the large values could not be read: {0}")]
    Database(#[from] sqlx::Error),
}

/// What lies outside the log of what an event's text holds. Whatever kind of event it is: a value
/// that is sealed has the same form in all.
pub fn named_in(payload: &Value) -> Vec<BlobRef> {
    let mut found = Vec::new();
    let mut rest = vec![payload];
    while let Some(value) = rest.pop() {
        match value {
            Value::Object(fields) => {
                let blob = fields
                    .get("blob")
                    .filter(|_| fields.contains_key("key") && fields.contains_key("data"))
                    .and_then(|_| Sealed::deserialize(value).ok()?.blob);
                match blob {
                    Some(blob) => found.push(blob),
                    None => rest.extend(fields.values()),
                }
            }
            Value::Array(values) => rest.extend(values),
            _ => {}
        }
    }
    found
}

/// What lies outside the log of an event's text; most events name nothing, and are not parsed.
pub fn named_in_text(payload: &str) -> Vec<BlobRef> {
    if !payload.contains("\"blob\"") {
        return Vec::new();
    }
    serde_json::from_str(payload).map_or_else(|_| Vec::new(), |payload| named_in(&payload))
}

/// Looks whether each large value that the log names up to `head` is there, unless its workspace was
/// erased. Needs no key.
///
/// # Errors
/// [`Error::Broken`] with the first that is not.
pub async fn all_there(
    pool: &PgPool,
    head: i64,
    mut progress: impl FnMut(i64),
) -> Result<(), Error> {
    let mut reached = 0;
    while reached < head {
        let to = head.min(reached + BATCH);
        let rows = sqlx::query(
            "select l.position, l.workspace_id, e.payload::text as payload
             from event_log l
             join events e using (aggregate_type, aggregate_id, sequence)
             where l.position > $1 and l.position <= $2 and e.payload::text like '%\"blob\"%'
             order by l.position",
        )
        .bind(reached)
        .bind(to)
        .fetch_all(pool)
        .await?;
        let mut named = BTreeSet::new();
        for row in &rows {
            let workspace: String = row.get("workspace_id");
            for blob in named_in_text(row.get("payload")) {
                named.insert((
                    workspace.clone(),
                    blob.sha256,
                    row.get::<i64, _>("position"),
                ));
            }
        }
        if let Some((position, sha256)) = first_missing(pool, named).await? {
            return Err(Error::Broken(format!(
                "position {position}: the large value {sha256} that it names is missing in the table `blobs`"
            )));
        }
        reached = to;
        progress(reached);
    }
    Ok(())
}

async fn first_missing(
    pool: &PgPool,
    named: BTreeSet<(String, String, i64)>,
) -> Result<Option<(i64, String)>, sqlx::Error> {
    if named.is_empty() {
        return Ok(None);
    }
    let mut columns = (Vec::new(), Vec::new(), Vec::new());
    for (workspace, sha256, position) in named {
        columns.0.push(workspace);
        columns.1.push(sha256);
        columns.2.push(position);
    }
    sqlx::query_as(
        "select n.position, n.sha256
         from unnest($1::text[], $2::text[], $3::bigint[]) as n (workspace_id, sha256, position)
         where not exists (
                 select from blobs b
                 where b.workspace_id = n.workspace_id and b.sha256 = n.sha256)
           and not exists (
                 select from vault v
                 where v.workspace_id = n.workspace_id and v.kind = 'data-key'
                   and v.erased_at is not null)
         order by n.position limit 1",
    )
    .bind(columns.0)
    .bind(columns.1)
    .bind(columns.2)
    .fetch_optional(pool)
    .await
}

/// Whether there is any large value.
///
/// # Errors
/// When the database does not answer.
pub async fn any(pool: &PgPool) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from blobs)")
        .fetch_one(pool)
        .await
}

/// Opens every large value and compares it with its name; one is in memory at a time.
///
/// # Errors
/// [`Error::Broken`] with the first that is not what was written.
pub async fn all_open(pool: &PgPool, vault: &Vault) -> Result<BlobCheck, Error> {
    check_blobs(pool, vault).await?.map_err(Error::Broken)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_named_is_found_wherever_it_stands_and_nothing_else() {
        let blob = |sha256: &str| json!({"sha256": sha256, "bytes": 70_000});
        let payload = json!({
            "input": {"key": 1, "data": "", "blob": blob("a")},
            "error": {"details": {"key": 1, "data": "", "blob": blob("b")}},
            "lines": [{"key": 1, "data": "AAAA"}],
            "progress": {"blob": blob("c")},
        });
        let mut named: Vec<_> = named_in(&payload).into_iter().map(|b| b.sha256).collect();
        named.sort();
        assert_eq!(named, ["a", "b"]);
        assert!(named_in_text(&json!({"data": "no name"}).to_string()).is_empty());
    }
}
