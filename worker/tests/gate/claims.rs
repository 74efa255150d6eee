//! Who gets their jobs taken, and when.

use std::collections::HashMap;

use sqlx::Row as _;
use toolroom_domain::{ToolId, WorkspaceId};
use toolroom_worker::leasing::claim::{Claimed, Claims, Rooms};

use crate::support::{Bench, job, tool, workspace};

const BATCH: usize = 64;

fn claims(bench: &Bench, node: &str) -> Claims {
    Claims::new(bench.log.database.queue_pool().clone(), node.to_owned())
}

async fn take(claims: &mut Claims, rooms: &[(ToolId, usize)]) -> Vec<Claimed> {
    let rooms = Rooms {
        tools: rooms.to_vec(),
        full: Vec::new(),
    };
    claims.take(BATCH, &rooms).await.unwrap().jobs
}

fn by_workspace(jobs: &[Claimed]) -> HashMap<WorkspaceId, usize> {
    let mut counts = HashMap::new();
    for job in jobs {
        *counts.entry(job.workspace).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn a_deep_workspace_delays_nobody_elses_single_job() {
    let bench = Bench::start().await;
    bench.queue(1, 1, 100, 20_000).await;
    bench.queue(2, 2, 0, 1).await;
    let jobs = take(&mut claims(&bench, "a"), &[]).await;
    let counts = by_workspace(&jobs);
    assert_eq!(counts[&workspace(2)], 1);
    assert_eq!(counts[&workspace(1)], BATCH / 2);
}

#[tokio::test]
async fn however_many_wait_a_batch_reads_few_pages() {
    let bench = Bench::start().await;
    bench.queue(1, 1, 0, 20_000).await;
    bench.queue(1, 2, 0, 20_000).await;
    bench.queue(2, 3, 0, 1).await;
    // not to be due for a day, and stepped over by a full tool
    sqlx::query(
        "update projections.queue set run_at = clock_timestamp() + interval '1 day', priority = 9
         where tool_id = $1 and position <= 10000",
    )
    .bind(tool(1).to_string())
    .execute(&bench.owner)
    .await
    .unwrap();
    let read = async || -> i64 {
        sqlx::query_scalar(
            "select sum(idx_tup_fetch + seq_tup_read)::bigint from pg_stat_all_tables
             where relname like 'queue%'",
        )
        .fetch_one(&bench.owner)
        .await
        .unwrap()
    };
    // on each connection: it is not known which one took, and which one laid the jobs there
    let told = async |pool: &sqlx::PgPool| {
        let mut kept = Vec::new();
        for _ in 0..pool.size() {
            let mut connection = pool.acquire().await.unwrap();
            sqlx::query("select pg_stat_force_next_flush()")
                .execute(&mut *connection)
                .await
                .unwrap();
            kept.push(connection);
        }
    };
    let mut claims = claims(&bench, "a");
    assert_eq!(
        take(&mut claims, &[(tool(1), 0)]).await.len(),
        BATCH / 2 + 1
    );
    told(&bench.owner).await;
    told(bench.log.database.queue_pool()).await;
    let before = read().await;
    assert_eq!(take(&mut claims, &[(tool(1), 0)]).await.len(), BATCH / 2);
    told(bench.log.database.queue_pool()).await;
    let rows = read().await - before;
    assert!(
        (1..1_000).contains(&rows),
        "read {rows} rows for {BATCH} jobs"
    );
}

#[tokio::test]
async fn within_a_workspace_the_highest_priority_goes_first_then_the_oldest() {
    let bench = Bench::start().await;
    bench.queue(1, 1, 0, 40).await;
    bench.queue(1, 2, 7, 30).await;
    bench.queue(1, 3, 7, 10).await;
    let jobs = take(&mut claims(&bench, "a"), &[]).await;
    let tools: Vec<_> = jobs.iter().map(|job| job.tool).collect();
    let expected: Vec<_> = [(tool(2), 30), (tool(3), 10), (tool(1), 24)]
        .into_iter()
        .flat_map(|(tool, jobs)| std::iter::repeat_n(tool, jobs))
        .collect();
    assert_eq!(tools, expected);
}

#[tokio::test]
async fn a_full_tool_is_stepped_over_and_another_filled_as_far_as_it_has_room() {
    let bench = Bench::start().await;
    bench.queue(1, 1, 9, 5_000).await;
    bench.queue(1, 2, 5, 5_000).await;
    bench.queue(1, 3, 0, 3).await;
    let jobs = take(&mut claims(&bench, "a"), &[(tool(1), 0), (tool(2), 5)]).await;
    let of = |tool| jobs.iter().filter(|job| job.tool == tool).count();
    assert_eq!([of(tool(1)), of(tool(2)), of(tool(3))], [0, 5, 3]);
}

#[tokio::test]
async fn a_full_workspace_is_stepped_over() {
    let bench = Bench::start().await;
    bench.queue(1, 1, 9, 5_000).await;
    bench.queue(2, 2, 0, 3).await;
    let rooms = Rooms {
        full: vec![workspace(1)],
        ..Rooms::default()
    };
    let jobs = claims(&bench, "a").take(BATCH, &rooms).await.unwrap().jobs;
    assert_eq!(by_workspace(&jobs), HashMap::from([(workspace(2), 3)]));
}

#[tokio::test]
async fn more_workspaces_and_tools_than_a_batch_looks_at_all_have_their_turn() {
    let bench = Bench::start().await;
    for n in 0..100 {
        bench.queue(1_000 + n, n, 0, 2).await;
    }
    for n in 0..50 {
        bench.queue(1, 500 + n, 0, 3).await;
    }
    let mut claims = claims(&bench, "a");
    let (mut jobs, mut batches) = (Vec::new(), 0);
    loop {
        let batch = claims.take(BATCH, &Rooms::default()).await.unwrap();
        jobs.extend(batch.jobs);
        batches += 1;
        if batches == 4 {
            // Each has been looked at by now.
            assert_eq!(by_workspace(&jobs).len(), 101);
        }
        if !batch.more {
            break;
        }
    }
    assert_eq!(jobs.len(), 2 * 100 + 3 * 50);
    assert!(batches < 100, "{batches} batches");
}

#[tokio::test]
async fn nodes_that_take_at_once_take_each_job_once() {
    let bench = Bench::start().await;
    bench.queue(1, 1, 0, 500).await;
    let node = async |name: &str| {
        let mut claims = claims(&bench, name);
        let mut jobs = Vec::new();
        loop {
            let batch = claims.take(BATCH, &Rooms::default()).await.unwrap();
            if batch.jobs.is_empty() {
                return jobs;
            }
            jobs.extend(batch.jobs.iter().map(|job| job.job));
        }
    };
    let (a, b) = tokio::join!(node("a"), node("b"));
    let mut all: Vec<_> = a.into_iter().chain(b).collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count, "a job was taken twice");
    let mut rest = claims(&bench, "c");
    let mut left = 0;
    while let n @ 1.. = take(&mut rest, &[]).await.len() {
        left += n;
    }
    assert_eq!(count + left, 500);
}

#[tokio::test]
async fn a_job_is_taken_when_it_comes_due_and_not_before() {
    let bench = Bench::start().await;
    for (n, due) in [(1, "-1 second"), (2, "1 day")] {
        sqlx::query(
            "insert into projections.queue
                 (job_id, workspace_id, tool_id, position, priority, run_at, attempt, running)
             values ($1, $2, $3, $4, 0, clock_timestamp() + $5::text::interval, 0, false)",
        )
        .bind(job(n).to_string())
        .bind(workspace(1).to_string())
        .bind(tool(1).to_string())
        .bind(i64::try_from(n).unwrap())
        .bind(due)
        .execute(&bench.owner)
        .await
        .unwrap();
    }
    let mut claims = claims(&bench, "a");
    let jobs = take(&mut claims, &[]).await;
    assert_eq!(jobs.iter().map(|j| j.job).collect::<Vec<_>>(), [job(1)]);
    assert!(!jobs[0].is_silent);
    let later: i64 = sqlx::query("select count(*) from projections.queue where run_at is not null")
        .fetch_one(&bench.owner)
        .await
        .unwrap()
        .get(0);
    assert_eq!(later, 1);
}

#[tokio::test]
async fn a_job_whose_node_fell_silent_is_taken_over() {
    let bench = Bench::start().await;
    bench.queue(1, 1, 0, 1).await;
    sqlx::query(
        "update projections.queue
         set running = true, attempt = 2, lease_until = clock_timestamp() - interval '1 second'",
    )
    .execute(&bench.owner)
    .await
    .unwrap();
    let jobs = take(&mut claims(&bench, "a"), &[]).await;
    assert_eq!(jobs.len(), 1);
    assert_eq!((jobs[0].is_silent, jobs[0].attempt), (true, 2));
    assert!(take(&mut claims(&bench, "b"), &[]).await.is_empty());
}
