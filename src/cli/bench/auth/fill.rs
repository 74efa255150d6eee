//! Tools and jobs of two workspaces, so that lists have something to leave out.

use anyhow::Context as _;
use serde_json::json;
use sqlx::PgPool;
use toolroom_domain::WorkspaceId;
use toolroom_eventlog::ids;

use super::Side;
use crate::cli::bench::{
    http::{self, client::Client},
    log::WORKSPACE,
};

/// Tools of each workspace: several pages.
const TOOLS: u32 = 300;

/// Copies that one statement inserts.
const BATCH: u32 = 1_000;

/// Bytes that a job takes on the disk: three events, and what read models keep of them.
const JOB_BYTES: u64 = 8_000;

/// What jobs of two workspaces take on one server's disk.
pub fn bytes(jobs: u32) -> u64 {
    2 * u64::from(jobs) * JOB_BYTES
}

/// Registers the tool that is run later, runs it once, and copies both into this workspace and
/// another one until there are enough.
///
/// # Errors
/// When the server refuses, or an event cannot be applied in time.
pub async fn fill(side: &Side, jobs: u32) -> anyhow::Result<()> {
    let mut client = Client::connect(&side.operator).await?;
    http::register(&mut client, "echo").await?;
    let ran = client.ask(http::EXECUTE, json!({})).await?;
    let job = ran.data["executeTool"]["id"].as_str();
    let job = job.context("the server tells no id of a job")?;
    let tool: String = sqlx::query_scalar(
        "select aggregate_id from events where event_type = 'ToolRegistered' limit 1",
    )
    .fetch_one(&side.owner)
    .await?;
    let other = WorkspaceId::from_uuid(ids::new_uuid());
    for (sample, copies) in [(tool.as_str(), TOOLS), (job, jobs)] {
        copy(&side.owner, sample, copies, other).await?;
    }
    side.settle("the-fill").await?;
    // Otherwise the server's own vacuum would come in the middle of somebody's turn.
    sqlx::query("vacuum analyze").execute(&side.owner).await?;
    Ok(())
}

/// Copies all events of one aggregate, each copy a second older than the one before; the
/// workspaces' copies lie mixed, as they would in life.
async fn copy(owner: &PgPool, sample: &str, copies: u32, other: WorkspaceId) -> anyhow::Result<()> {
    let mut from = 1;
    while from <= copies {
        let to = copies.min(from + BATCH - 1);
        sqlx::query(
            "insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version,
                                 payload, metadata)
             select e.aggregate_type, i.id, e.sequence, e.event_type, e.event_version,
                    (p.payload
                     || jsonb_build_object(
                            'at', (p.payload ->> 'at')::timestamptz - n * interval '1 second')
                     || case when e.sequence = 1
                            then jsonb_build_object('id', i.id, 'workspace', w.id) else '{}' end
                     || case when e.event_type = 'ToolRegistered'
                            then jsonb_build_object('name', concat('copy', n),
                                                    -- Far from those that the server gives.
                                                    'number', 1000000 + n) else '{}' end)::json,
                    (e.metadata::jsonb || jsonb_build_object('workspace_id', w.id))::json
             from generate_series($2::bigint, $3::bigint) n
             cross join unnest($4::text[]) w (id)
             cross join lateral (
                 select split_part($1, '_', 1) || '_' || md5(concat(w.id, n)) as id
             ) i
             cross join events e
             cross join lateral (select e.payload::jsonb as payload) p
             where e.aggregate_id = $1
             order by n, w.id, e.sequence",
        )
        .bind(sample)
        .bind(i64::from(from))
        .bind(i64::from(to))
        .bind([WORKSPACE.to_string(), other.to_string()])
        .execute(owner)
        .await?;
        from = to + 1;
    }
    Ok(())
}
