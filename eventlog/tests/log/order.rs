//! Order: every committed event once, dense, whoever sequences.

use std::collections::{HashMap, HashSet};

use rand::RngExt as _;
use sqlx::{PgPool, Row};
use toolroom_eventlog::{log::Options, sequencer};

use crate::support::{PATIENCE, Started};

/// Inserts events by hand, in transactions that dawdle and sometimes roll back: what no well-meant
/// client does, and what a follower of `global_seq` alone would lose events to.
async fn dawdling_writer(pool: PgPool, writer: usize, transactions: usize) -> Vec<String> {
    let mut committed = Vec::new();
    let mut sequence = 0_i64;
    for n in 0..transactions {
        let (events, delay_ms, rolls_back) = {
            let mut rng = rand::rng();
            (
                rng.random_range(1..4),
                rng.random_range(0..12_u64),
                rng.random_bool(0.1),
            )
        };
        let mut tx = pool.begin().await.unwrap();
        let mut keys = Vec::new();
        for i in 0..events {
            let next = sequence + 1 + i;
            sqlx::query(
                r#"insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
                   values ('probe', $1, $2, 'Probed', '1.0', '{}', '{"workspace_id":"ws_00000000000000000000000000000000"}')"#,
            )
            .bind(format!("w{writer}"))
            .bind(next)
            .execute(&mut *tx).await.unwrap();
            keys.push(format!("w{writer}/{next}"));
            tokio::time::sleep(std::time::Duration::from_millis(delay_ms / 4)).await;
        }
        if rolls_back && n + 1 < transactions {
            tx.rollback().await.unwrap();
        } else {
            tx.commit().await.unwrap();
            sequence += events;
            committed.extend(keys);
        }
    }
    committed
}

async fn check_feed(app: &Started, committed: &[String]) {
    app.reaches(committed.len() as i64).await;
    let mut seen = Vec::new();
    let mut position = 0;
    let mut last_of = HashMap::new();
    loop {
        let events = app.log.feed.read(position, 500).await.unwrap();
        let Some(last) = events.last() else { break };
        for (i, event) in events.iter().enumerate() {
            assert_eq!(
                event.position,
                position + 1 + i as i64,
                "positions are dense"
            );
            let before = last_of
                .insert(event.aggregate_id.clone(), event.sequence)
                .unwrap_or(0);
            assert_eq!(event.sequence, before + 1, "per-aggregate order is kept");
            seen.push(format!("{}/{}", event.aggregate_id, event.sequence));
        }
        position = last.position;
    }
    let unique: HashSet<_> = seen.iter().collect();
    assert_eq!(unique.len(), seen.len(), "none twice");
    assert_eq!(
        unique,
        committed.iter().collect(),
        "every committed event, no rolled back one"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_four_dawdling_writers_lose_nothing() {
    let app = Started::new().await;
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(24)
        .connect_with(app.log.database.owner_options().clone())
        .await
        .unwrap();
    let writers = (0..24).map(|w| tokio::spawn(dawdling_writer(pool.clone(), w, 40)));
    let committed: Vec<String> = futures::future::join_all(writers)
        .await
        .into_iter()
        .flat_map(Result::unwrap)
        .collect();
    check_feed(&app, &committed).await;
    let report = toolroom_eventlog::verify::verify(&app.owner, None, |_| {})
        .await
        .unwrap();
    assert_eq!(report.events, committed.len() as i64);
    pool.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sequencers_at_once_leave_one_dense_order() {
    let app = Started::with(Options {
        sequence: true,
        other_nodes: true,
    })
    .await;
    let other = Started::on(app.log.database.owner_options().clone(), Options::default()).await;
    let pool = app.owner.clone();
    let extra = tokio::spawn({
        let sequencer_pool = app.log.database.sequencer_pool().clone();
        async move {
            for _ in 0..300 {
                sequencer::step(&sequencer_pool, 3).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let big = sqlx::postgres::PgPoolOptions::new()
        .max_connections(8)
        .connect_with(app.log.database.owner_options().clone())
        .await
        .unwrap();
    let writers = (0..8).map(|w| tokio::spawn(dawdling_writer(big.clone(), w, 30)));
    let committed: Vec<String> = futures::future::join_all(writers)
        .await
        .into_iter()
        .flat_map(Result::unwrap)
        .collect();
    extra.await.unwrap();
    check_feed(&app, &committed).await;
    check_feed(&other, &committed).await;
    toolroom_eventlog::verify::verify(&pool, None, |_| {})
        .await
        .unwrap();
    big.close().await;
    other.stop().await;
    app.stop().await;
}

#[tokio::test]
async fn an_event_waits_for_an_older_transaction_and_then_comes_in_order() {
    let app = Started::with(Options {
        sequence: false,
        other_nodes: false,
    })
    .await;
    let insert = r#"insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
                    values ('probe', $1, 1, 'Probed', '1.0', '{}', '{"workspace_id":"w"}')"#;
    let sequencer_pool = app.log.database.sequencer_pool();
    let mut early = app.log.database.committer_pool().begin().await.unwrap();
    sqlx::query(insert)
        .bind("early")
        .execute(&mut *early)
        .await
        .unwrap();
    sqlx::query(insert)
        .bind("late")
        .execute(app.log.database.committer_pool())
        .await
        .unwrap();
    let step = sequencer::step(sequencer_pool, 10).await.unwrap();
    assert!(
        step.events.is_empty() && step.more,
        "the later one is above the horizon"
    );
    early.commit().await.unwrap();
    let step = sequencer::step(sequencer_pool, 10).await.unwrap();
    let order: Vec<_> = step
        .events
        .iter()
        .map(|e| e.aggregate_id.as_str())
        .collect();
    assert_eq!(order, ["early", "late"]);
    app.stop().await;
}

#[tokio::test]
async fn a_gap_in_an_aggregates_sequence_is_noticed_as_such() {
    let app = Started::with(Options {
        sequence: false,
        other_nodes: false,
    })
    .await;
    for sequence in [1_i64, 3] {
        sqlx::query(
            r#"insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
               values ('probe', 'a', $1, 'Probed', '1.0', '{}', '{"workspace_id":"w"}')"#,
        )
        .bind(sequence).execute(&app.owner).await.unwrap();
    }
    let step = sequencer::step(app.log.database.sequencer_pool(), 10)
        .await
        .unwrap();
    assert_eq!(step.events.len(), 2);
    assert_eq!(step.gaps, 1);
    app.stop().await;
}

#[tokio::test]
async fn a_time_is_the_running_maximum() {
    let app = Started::with(Options {
        sequence: false,
        other_nodes: false,
    })
    .await;
    for (sequence, at) in [(1_i64, "2030-01-01T00:00:00Z"), (2, "2020-01-01T00:00:00Z")] {
        sqlx::query(
            r#"insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, recorded_at)
               values ('probe', 'a', $1, 'Probed', '1.0', '{}', '{"workspace_id":"w"}', $2::timestamptz)"#,
        )
        .bind(sequence).bind(at).execute(&app.owner).await.unwrap();
    }
    sequencer::step(app.log.database.sequencer_pool(), 10)
        .await
        .unwrap();
    let rows =
        sqlx::query("select (time = '2030-01-01T00:00:00Z'::timestamptz) as is_max from event_log")
            .fetch_all(&app.owner)
            .await
            .unwrap();
    assert!(rows.len() == 2 && rows.iter().all(|row| row.get("is_max")));
    app.stop().await;
}

/// Two writers commit out of the order of `global_seq`, so to wait for the highest alone is not
/// enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_until_all_is_placed_finds_what_was_answered() {
    let app = Started::new().await;
    let client = async |client: usize| {
        for n in 0..25 {
            let sent = app.register(&format!("tool_{client}_{n}")).await.unwrap();
            let placed = app.log.placed(PATIENCE).await.unwrap().expect("in time");
            let own: Option<i64> =
                sqlx::query_scalar("select position from event_log where global_seq = $1")
                    .bind(sent.global_seq)
                    .fetch_optional(&app.owner)
                    .await
                    .unwrap();
            assert!(own.is_some_and(|own| own <= placed), "{own:?} <= {placed}");
        }
    };
    futures::future::join_all((0..24).map(client)).await;
    app.stop().await;
}

#[tokio::test]
async fn a_step_of_large_events_is_cut_and_the_order_stays_dense() {
    let app = Started::with(Options {
        sequence: false,
        other_nodes: false,
    })
    .await;
    // Hex digits of random bytes, which do not compress; one event is larger than any step.
    for (sequence, megabytes) in [(1_i64, 1), (2, 1), (3, 1), (4, 9), (5, 1), (6, 0), (7, 1)] {
        sqlx::query(
            r#"insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
               select 'probe', 'a', $1, 'Probed', '1.0', to_json(coalesce(string_agg(uuid, ''), '')), '{"workspace_id":"w"}'
               from (select gen_random_uuid()::text as uuid from generate_series(1, $2 * 1024 * 1024 / 36)) random"#,
        )
        .bind(sequence)
        .bind(megabytes)
        .execute(&app.owner)
        .await
        .unwrap();
    }
    let mut steps = Vec::new();
    loop {
        let step = sequencer::step(app.log.database.sequencer_pool(), 5)
            .await
            .unwrap();
        steps.push((step.events.len(), step.full));
        if !step.more {
            break;
        }
    }
    // The fourth begins below the bound; with it the step is over.
    assert_eq!(steps, [(4, true), (3, false)]);
    let positions: Vec<(i64, i64)> =
        sqlx::query_as("select position, sequence from event_log order by position")
            .fetch_all(&app.owner)
            .await
            .unwrap();
    assert_eq!(positions, (1..=7).map(|n| (n, n)).collect::<Vec<_>>());
    toolroom_eventlog::verify::verify(&app.owner, None, |_| {})
        .await
        .unwrap();
    app.stop().await;
}
