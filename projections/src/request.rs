//! What jobs were requested with, from the log itself: it never changes, so a copy in a read model
//! would only be one more thing to keep.

use std::collections::{BTreeSet, HashMap};

use sqlx::{PgConnection, Row};
use toolroom_domain::job::Event;
use toolroom_eventlog::upcast;

/// The requests of jobs by their ids; one that cannot be read is not among them.
pub(crate) async fn find_in_tx(
    tx: &mut PgConnection,
    jobs: BTreeSet<&str>,
) -> Result<HashMap<String, Event>, sqlx::Error> {
    if jobs.is_empty() {
        return Ok(HashMap::new());
    }
    let jobs: Vec<&str> = jobs.into_iter().collect();
    let rows = sqlx::query(
        // The limit keeps this a look-up by the whole key, whatever is known of the table: with
        // `= any($1)` a plan was seen that walks the index over all jobs.
        "select e.aggregate_id, e.event_type, e.event_version, e.payload
         from unnest($1::text[]) as job (id)
         cross join lateral (
             select aggregate_id, event_type, event_version, payload::text as payload
             from events
             where aggregate_type = 'job' and aggregate_id = job.id and sequence = 1
             limit 1
         ) e",
    )
    .bind(jobs)
    .fetch_all(tx)
    .await?;
    let mut requests = HashMap::with_capacity(rows.len());
    for row in rows {
        let (name, version) = (row.try_get("event_type")?, row.try_get("event_version")?);
        if let Ok(request) = upcast::decode(name, version, row.try_get("payload")?) {
            requests.insert(row.try_get("aggregate_id")?, request);
        }
    }
    Ok(requests)
}
